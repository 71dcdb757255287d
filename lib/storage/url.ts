/** Parses `--snapshot-backup-url` by the rules of the Go original, and `--s3-endpoint`. */
import { E2dError } from "../errors.ts";
import { isPlainKey } from "./key.ts";

export type StoreUrl =
  | { readonly kind: "file"; readonly folder: string; readonly key: string }
  | { readonly kind: "s3"; readonly bucket: string; readonly key: string; readonly settings?: S3Settings }
  | { readonly kind: "spaces"; readonly region: string; readonly bucket: string; readonly key: string };

/** The parameters of an S3 URL, all optional. docs/snapshots.md lists them. */
export interface S3Settings {
  readonly region?: string | undefined;
  readonly addressing?: "path" | "virtual" | undefined;
  readonly dualStack?: boolean | undefined;
  readonly fips?: boolean | undefined;
  readonly requesterPays?: boolean | undefined;
  /** Encryption by the store. */
  readonly encryption?: "AES256" | "aws:kms" | "aws:kms:dsse" | undefined;
  readonly kmsKey?: string | undefined;
  /** A file of 32 bytes: the key of SSE-C. */
  readonly customerKeyPath?: string | undefined;
  readonly storageClass?: string | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
}

export const defaultKey = "etcd.snapshot";

/**
 * A path that ends in "/" or is empty gets the default key. Throws E2dError `store_url`.
 *
 * @param absolute makes relative file paths absolute, which the Go original allows ("file://file")
 */
export function parseStoreUrl(text: string, absolute: (path: string) => string): StoreUrl {
  const match = /^(file|s3|https?):\/\/(.*)$/i.exec(text);
  const [, scheme, whole] = match ?? [];
  if (scheme === undefined || whole === undefined) throw refuse(text, "it is of no known kind");
  const [rest, query] = scheme.toLowerCase() === "s3" ? splitQuery(whole) : [whole, undefined];
  if (/[?#]/.test(rest)) throw refuse(text, "it is of no known kind");
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(rest)) throw refuse(text, "it has characters that nobody can see");
  switch (scheme.toLowerCase()) {
    case "file": {
      if (rest === "" || rest === "/") throw refuse(text, "it names no file");
      const path = absolute(withKey(rest));
      if (path.split("/").includes("..")) throw refuse(text, '".." leads out of the folder');
      const slash = path.lastIndexOf("/");
      const key = path.slice(slash + 1);
      if (!isPlainKey(key)) throw refuse(text, "it names no file");
      return { kind: "file", folder: path.slice(0, slash) || "/", key };
    }
    case "s3": {
      const { bucket, key } = split(text, rest);
      if (query === undefined) return { kind: "s3", bucket, key };
      return { kind: "s3", bucket, key, settings: parseSettings(text, query, absolute) };
    }
    default: {
      const host = /^([a-z0-9-]+)\.digitaloceanspaces\.com(?:\/(.*))?$/i.exec(rest);
      if (host === null) throw refuse(text, "it is no Spaces URL");
      return { kind: "spaces", region: host[1]!.toLowerCase(), ...split(text, host[2] ?? "") };
    }
  }
}

const withKey = (path: string) => path === "" || path.endsWith("/") ? `${path}${defaultKey}` : path;

const bucketForm = /^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$/;
const accessPointForm = /^arn:aws[a-z-]*:s3:([a-z0-9-]+):\d{12}:accesspoint[:/][a-z0-9-]{3,50}(?=\/|$)/;

/** The region in the ARN of an access point; undefined for the name of a bucket. */
export const accessPointRegion = (bucket: string): string | undefined => accessPointForm.exec(bucket)?.[1];

function split(text: string, rest: string): { bucket: string; key: string } {
  const slash = rest.indexOf("/");
  const bucket = accessPointForm.exec(rest)?.[0] ?? (slash < 0 ? rest : rest.slice(0, slash));
  if (!bucketForm.test(bucket) && !accessPointForm.test(bucket)) throw refuse(text, "it names no bucket");
  const key = withKey(rest.slice(bucket.length).replace(/^\/+/, ""));
  if (!isPlainKey(key)) throw refuse(text, '"." and ".." are no names, and a name has 1,024 bytes at most');
  return { bucket, key };
}

function splitQuery(rest: string): [string, string | undefined] {
  const mark = rest.indexOf("?");
  return mark < 0 ? [rest, undefined] : [rest.slice(0, mark), rest.slice(mark + 1)];
}

class NotAllowed extends Error {}

function oneOf<T extends string>(...allowed: readonly T[]): (value: string) => T {
  return (value) => {
    if ((allowed as readonly string[]).includes(value)) return value as T;
    throw new NotAllowed(allowed.join(", "));
  };
}

function matching(form: RegExp, allowed: string): (value: string) => string {
  return (value) => {
    if (form.test(value)) return value;
    throw new NotAllowed(allowed);
  };
}

const yesOrNo = (value: string) => oneOf("true", "false")(value) === "true";
/** Objects of these two classes must be restored by S3 for hours before they can be read. */
const storageClass = matching(
  /^(?!GLACIER$|DEEP_ARCHIVE$)[A-Z][A-Z0-9_]{2,40}$/,
  "a class whose objects can be read at once",
);

const parameters: Readonly<Record<string, (value: string) => S3Settings>> = {
  "region": (value) => ({ region: matching(/^[a-z0-9-]{2,40}$/, "a name such as eu-central-1")(value) }),
  "addressing": (value) => ({ addressing: oneOf("path", "virtual")(value) }),
  "dual-stack": (value) => ({ dualStack: yesOrNo(value) }),
  "fips": (value) => ({ fips: yesOrNo(value) }),
  "requester-pays": (value) => ({ requesterPays: yesOrNo(value) }),
  "sse": (value) => ({ encryption: oneOf("AES256", "aws:kms", "aws:kms:dsse")(value) }),
  "kms-key": (value) => ({ kmsKey: matching(/^[\w:/-]{1,2048}$/, "a key id, an alias or an ARN")(value) }),
  "sse-c-key": (value) => ({ customerKeyPath: matching(/./, "a file of 32 bytes")(value) }),
  "storage-class": (value) => ({ storageClass: storageClass(value) }),
};
const tagForm = /^tag\.([\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128})$/u;

function parseSettings(text: string, query: string, absolute: (path: string) => string): S3Settings {
  let settings: S3Settings = {};
  const tags: Record<string, string> = {};
  // A plus sign is part of a value here, as in a key.
  for (const [name, value] of new URLSearchParams(query.replaceAll("+", "%2B"))) {
    const parse = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    const tag = tagForm.exec(name)?.[1];
    try {
      if (tag !== undefined) tags[tag] = matching(/^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u, "a value of a tag")(value);
      else if (parse !== undefined) settings = { ...settings, ...parse(value) };
      else {
        const names = [...Object.keys(parameters), "tag.NAME"].join(", ");
        throw refuse(text, `it has an unknown parameter "${name}"; allowed are ${names}`);
      }
    } catch (error) {
      if (!(error instanceof NotAllowed)) throw error;
      throw refuse(text, `its parameter "${name}" is not allowed; allowed is ${error.message}`);
    }
  }
  const { encryption, kmsKey, customerKeyPath } = settings;
  if (customerKeyPath !== undefined && (encryption ?? kmsKey) !== undefined) {
    throw refuse(text, '"sse-c-key" excludes "sse" and "kms-key"');
  }
  if (kmsKey !== undefined && encryption === "AES256") throw refuse(text, '"kms-key" needs "sse=aws:kms"');
  return {
    ...settings,
    ...(kmsKey === undefined ? {} : { encryption: encryption ?? "aws:kms" }),
    ...(customerKeyPath === undefined ? {} : { customerKeyPath: absolute(customerKeyPath) }),
    ...(Object.keys(tags).length === 0 ? {} : { tags }),
  };
}

/**
 * The endpoint of an S3 store other than AWS, without a trailing "/". Throws E2dError `store_url`, also for credentials in
 * the endpoint, because logs contain it.
 */
export function parseS3Endpoint(text: string): string {
  const refuseEndpoint = (why: string) =>
    new E2dError("store_url", `Cannot use S3 endpoint ${JSON.stringify(withoutCredentials(text))}: ${why}`, {
      hint: "write https://HOST:PORT; credentials have flags of their own",
    });
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) throw refuseEndpoint("it is no address");
  if (url.username !== "" || url.password !== "") throw refuseEndpoint("it has a user name or password in it");
  if (url.search !== "" || url.hash !== "") throw refuseEndpoint('it has a part behind "?" or "#"');
  return url.href.replace(/\/+$/, "");
}

const withoutCredentials = (text: string) => text.replace(/\/\/[^/]*@/, "//(secret)@");

function refuse(url: string, why: string): E2dError {
  const text = withoutCredentials(url);
  return new E2dError("store_url", `Cannot use snapshot URL ${JSON.stringify(text)}: ${why}`, {
    hint: "write file:///folder/etcd.snapshot, s3://bucket/key or https://REGION.digitaloceanspaces.com/bucket/key",
  });
}
