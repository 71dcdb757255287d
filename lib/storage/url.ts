/** Parses `--snapshot-backup-url` by the rules of the Go original, and `--s3-endpoint`. */
import { E2dError } from "../errors.ts";
import { isPlainKey } from "./key.ts";

export type StoreUrl =
  | { readonly kind: "file"; readonly folder: string; readonly key: string }
  | { readonly kind: "s3"; readonly bucket: string; readonly key: string }
  | { readonly kind: "spaces"; readonly region: string; readonly bucket: string; readonly key: string };

export const defaultKey = "etcd.snapshot";

/**
 * A path that ends in "/" or is empty gets the default key. Throws E2dError `store_url`.
 *
 * @param absolute makes relative file paths absolute, which the Go original allows ("file://file")
 */
export function parseStoreUrl(text: string, absolute: (path: string) => string): StoreUrl {
  const match = /^(file|s3|https?):\/\/(.*)$/i.exec(text);
  const [, scheme, rest] = match ?? [];
  if (scheme === undefined || rest === undefined || /[?#]/.test(rest)) throw refuse(text, "it is of no known kind");
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
      return { kind: "s3", bucket, key };
    }
    default: {
      const host = /^([a-z0-9-]+)\.digitaloceanspaces\.com(?:\/(.*))?$/i.exec(rest);
      if (host === null) throw refuse(text, "it is no Spaces URL");
      return { kind: "spaces", region: host[1]!.toLowerCase(), ...split(text, host[2] ?? "") };
    }
  }
}

const withKey = (path: string) => path === "" || path.endsWith("/") ? `${path}${defaultKey}` : path;

function split(text: string, rest: string): { bucket: string; key: string } {
  const slash = rest.indexOf("/");
  const bucket = slash < 0 ? rest : rest.slice(0, slash);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$/.test(bucket)) throw refuse(text, "it names no bucket");
  const key = withKey(slash < 0 ? "" : rest.slice(slash + 1).replace(/^\/+/, ""));
  if (!isPlainKey(key)) throw refuse(text, '"." and ".." are no names, and a name has 1,024 bytes at most');
  return { bucket, key };
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
