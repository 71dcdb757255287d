/**
 * Opens the store that `--snapshot-backup-url` names, with the credentials of the flags and this machine, and reads the
 * keys of `--snapshot-recipient` and `--snapshot-identity`.
 */
import { E2dError } from "../errors.ts";
import type { Http, Logger } from "../ports.ts";
import type { CredentialConfig } from "../manager/node_config.ts";
import type { SnapshotPlace } from "../snapshot/lookup.ts";
import { isAgeRecipient, parseIdentities } from "../snapshot/format/age_keys.ts";
import { keyBytes } from "../snapshot/format/keys.ts";
import type { SnapshotKeys } from "../snapshot/format/unseal.ts";
import { FileStore } from "../storage/file_store.ts";
import type { Store } from "../storage/store.ts";
import { accessPointRegion, parseS3Endpoint, parseStoreUrl, type StoreUrl } from "../storage/url.ts";
import { systemClock } from "../sys/clock.ts";
import { systemFiles } from "../sys/files.ts";
import { systemHttp, trustingHttp } from "../sys/http/http.ts";
import { systemRandom } from "../sys/random.ts";
import { systemStaging } from "../sys/staging.ts";

export interface PlaceOptions {
  readonly url: string;
  readonly s3Endpoint?: string | undefined;
  readonly credentials: CredentialConfig;
}

export const absolutePath = (path: string): string =>
  path.startsWith("/") ? path : `${Deno.cwd()}/${path.replace(/^\.\//, "")}`;

/**
 * Throws E2dError `store_url`, `store_credentials`, `store_ca_bundle`, `recipient_key` (of `sse-c-key`) or
 * `aws_credentials`. Sends no request yet.
 */
export async function openPlace(options: PlaceOptions, log: Logger): Promise<SnapshotPlace> {
  const url = parseStoreUrl(options.url, absolutePath);
  const { key } = url;
  if (url.kind === "file") {
    const token = () => crypto.randomUUID().slice(0, 8);
    return { store: new FileStore(url.folder, { files: systemFiles, staging: systemStaging, token }), key };
  }
  return { store: await (url.kind === "spaces" ? openSpaces(url, options) : openS3(url, options, log)), key };
}

const environment = (name: string) => Deno.env.get(name);

async function openSpaces(
  url: Extract<StoreUrl, { kind: "spaces" }>,
  { url: text, s3Endpoint, credentials: { doSpacesKey, doSpacesSecret } }: PlaceOptions,
): Promise<Store> {
  if (doSpacesKey === undefined || doSpacesSecret === undefined) {
    throw new E2dError("store_credentials", `Cannot use "${text}": no Spaces key is set`, {
      hint: "pass --do-spaces-key and --do-spaces-secret",
    });
  }
  const { S3Store } = await import("../storage/s3_store.ts");
  return new S3Store({
    name: `Spaces ${url.region}/${url.bucket}`,
    bucket: url.bucket,
    region: url.region,
    endpoint: s3Endpoint ? parseS3Endpoint(s3Endpoint) : `https://${url.region}.digitaloceanspaces.com`,
    credentials: () => Promise.resolve({ accessKeyId: doSpacesKey, secretAccessKey: doSpacesSecret }),
  }, { http: systemHttp, clock: systemClock, random: systemRandom });
}

async function openS3(
  { bucket, settings: { region, customerKeyPath, ...settings } = {} }: Extract<StoreUrl, { kind: "s3" }>,
  { s3Endpoint, credentials }: PlaceOptions,
  log: Logger,
): Promise<Store> {
  const [{ S3Store }, { awsCredentials }, { configuredRegion }] = await Promise.all([
    import("../storage/s3_store.ts"),
    import("../cloud/aws/credentials.ts"),
    import("../cloud/aws/profile_files.ts"),
  ]);
  const ports = { http: await httpWithBundle(), clock: systemClock, random: systemRandom };
  const awsPorts = { ...ports, files: systemFiles, log, environment };
  const endpoint = s3Endpoint || environment("AWS_ENDPOINT_URL_S3") || environment("AWS_ENDPOINT_URL");
  return new S3Store({
    ...settings,
    name: `s3://${bucket}`,
    bucket,
    region: accessPointRegion(bucket) ?? region ?? await configuredRegion(awsPorts),
    ...(endpoint ? { endpoint: parseS3Endpoint(endpoint) } : {}),
    ...(customerKeyPath === undefined ? {} : { customerKey: await readKey("sse-c-key", customerKeyPath, "", log) }),
    credentials: awsCredentials({
      accessKey: credentials.awsAccessKey,
      secretKey: credentials.awsSecretKey,
      roleSessionName: credentials.awsRoleSessionName,
    }, awsPorts),
  }, ports);
}

/** AWS_CA_BUNDLE: authorities that are trusted beside those of the system. Throws E2dError `store_ca_bundle`. */
async function httpWithBundle(): Promise<Http> {
  const path = environment("AWS_CA_BUNDLE");
  if (!path) return systemHttp;
  const text = await systemFiles.readText(path);
  const state = text === undefined ? "no such file" : "it has no certificate";
  if (text?.includes("-----BEGIN CERTIFICATE-----")) return trustingHttp([text]).http;
  throw new E2dError("store_ca_bundle", `Cannot use AWS_CA_BUNDLE "${path}": ${state}`, {
    hint: "name a PEM file with the certificates of the authorities",
  });
}

/**
 * The keys of `--snapshot-recipient`: public ones of age as they are, others from their files. Throws E2dError
 * `recipient_key`.
 */
export async function readRecipients(
  values: readonly string[],
  log?: Logger,
): Promise<Required<Pick<SnapshotKeys, "recipients" | "publicRecipients">>> {
  const publicRecipients = values.filter(isAgeRecipient);
  const paths = values.filter((value) => !isAgeRecipient(value));
  const hint = "; or pass a public key of age-keygen (age1…)";
  const recipients = await Promise.all(paths.map((path) => readKey("--snapshot-recipient", path, hint, log)));
  return { recipients, publicRecipients };
}

/** A file of one secret key. Throws E2dError `recipient_key`. */
async function readKey(name: string, path: string, hint: string, log?: Logger): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await systemFiles.read(path);
  await warnIfReadable(path, log);
  if (bytes?.length === keyBytes) return bytes;
  const state = bytes === undefined ? "no such file" : `the file has ${bytes.length} bytes`;
  throw new E2dError("recipient_key", `Cannot use ${name} "${path}": ${state}`, {
    hint: `create a key of ${keyBytes} bytes: head -c ${keyBytes} /dev/urandom > FILE, and store it outside the ` +
      `cluster${hint}`,
  });
}

/** The identities in files of age-keygen. Throws E2dError `identity_key`. */
export async function readIdentities(paths: readonly string[], log?: Logger): Promise<string[]> {
  const all = await Promise.all(paths.map(async (path) => {
    const text = await systemFiles.readText(path);
    await warnIfReadable(path, log);
    try {
      if (text === undefined) throw new Error("no such file");
      return await parseIdentities(text);
    } catch (cause) {
      const state = cause instanceof Error ? cause.message : String(cause);
      throw new E2dError("identity_key", `Cannot use --snapshot-identity "${path}": ${state}`, {
        hint: "pass a file that age-keygen wrote: a line AGE-SECRET-KEY-1… for each identity",
      });
    }
  }));
  return all.flat();
}

async function warnIfReadable(path: string, log: Logger | undefined): Promise<void> {
  if (log === undefined) return;
  const { readableWarning } = await import("../pki/tls_files.ts");
  const warning = await readableWarning(systemFiles, path);
  if (warning !== undefined) log.warn(warning);
}
