/**
 * The client of the AWS SDK for one bucket, and the parameters that its options add to requests. Loaded with the S3 store
 * alone. The SDK resolves the host (region, partition, dual stack, FIPS, access point), signs, and computes checksums; the
 * store retries, so that every error passes its rules.
 */
import { withoutUndefined } from "../without_undefined.ts";
import { S3Client, type S3ClientConfig, type ServerSideEncryption, type StorageClass } from "@aws-sdk/client-s3";
import type { AwsCredentials, AwsCredentialSource } from "../cloud/aws/credential_source.ts";
import { encodePart, type S3Handler } from "./s3_handler.ts";
import type { S3Settings } from "./url.ts";

export interface S3Options extends Omit<S3Settings, "customerKeyPath" | "region"> {
  /** For messages: "s3://bucket". */
  readonly name: string;
  /** A name, or the ARN of an access point. */
  readonly bucket: string;
  /** The first region to ask; the store follows the bucket's answer. */
  readonly region: string;
  /** Undefined: AWS. Other endpoints get path-style requests, unless `addressing` says otherwise. */
  readonly endpoint?: string;
  readonly credentials: AwsCredentialSource;
  /** 32 bytes: the store encrypts with this key and does not keep it (SSE-C). */
  readonly customerKey?: Uint8Array<ArrayBuffer> | undefined;
  /** Timeout between two bytes; default one minute. */
  readonly timeoutMs?: number;
  /** Larger objects are copied in parts of this size; default 5 GiB, the limit of S3. */
  readonly copyMaxBytes?: number;
}

/** Asked before each request: all of it may change while the store is open. */
export interface S3Identity {
  /** The store's clock, milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  readonly region: () => string;
  readonly credentials: () => Promise<AwsCredentials>;
}

export function openS3Client(options: S3Options, identity: S3Identity, handler: S3Handler): S3Client {
  const { endpoint, addressing = endpoint === undefined ? "virtual" : "path", dualStack, fips } = options;
  // With an endpoint both are invalid; the environment may set them for AWS.
  const ofHost = endpoint === undefined
    ? {
      ...withoutUndefined({ useDualstackEndpoint: dualStack }),
      ...withoutUndefined({ useFipsEndpoint: fips }),
    }
    : { endpoint, useDualstackEndpoint: false, useFipsEndpoint: false };
  const client = new S3Client({
    ...ofHost,
    region: () => Promise.resolve(identity.region()),
    // The SDK keeps credentials until they expire. The source has its own cache, which also detects rewritten files.
    credentials: async () => ({ ...await identity.credentials(), expiration: new Date(0) }),
    forcePathStyle: addressing === "path",
    // An access point is in the region of its ARN.
    useArnRegion: true,
    maxAttempts: 1,
    retryMode: "standard",
    expectContinueHeader: false,
    // The readers of snapshots compute a SHA-256 of every byte.
    responseChecksumValidation: "WHEN_REQUIRED",
    // Names this program alone: the SDK's text also has the system and its version.
    defaultUserAgentProvider: () => Promise.resolve([["e2d"]]),
    requestHandler: handler as S3ClientConfig["requestHandler"] & object,
  });
  const { signer } = client.config;
  client.config.signer = async (scheme) => {
    const inner = await signer(scheme);
    const sign: typeof inner.sign = (request, options) =>
      inner.sign(request, { ...options, signingDate: new Date(identity.nowMs()) });
    return { sign };
  };
  // The checksum header, which is signed, covers the body. A second hash would block the event loop for each part.
  client.middlewareStack.add((next) => (args) => {
    const request = args.request as { headers: Record<string, string> };
    request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
    return next(args);
  }, { step: "build", name: "unsignedPayload" });
  return client;
}

/** Of every request for an object or a listing. */
export function accessFields({ bucket, requesterPays }: S3Options): { Bucket: string; RequestPayer?: "requester" } {
  return { Bucket: bucket, ...(requesterPays ? { RequestPayer: "requester" } : {}) };
}

interface CustomerKey {
  SSECustomerAlgorithm?: string;
  SSECustomerKey?: string;
}

/** Of every request that reads or writes the content of an object. The SDK adds the key's MD5. */
export function keyFields({ customerKey }: S3Options): CustomerKey {
  if (customerKey === undefined) return {};
  return { SSECustomerAlgorithm: "AES256", SSECustomerKey: customerKey.toBase64() };
}

/** Of a copy: how the store decrypts the source. */
export function sourceFields({ bucket, ...options }: S3Options, key: string) {
  const { SSECustomerAlgorithm, SSECustomerKey } = keyFields({ bucket, ...options });
  const path = key.split("/").map(encodePart).join("/");
  return {
    CopySource: bucket.startsWith("arn:") ? `${bucket}/object/${path}` : `${bucket}/${path}`,
    ...(SSECustomerKey === undefined
      ? {}
      : { CopySourceSSECustomerAlgorithm: SSECustomerAlgorithm, CopySourceSSECustomerKey: SSECustomerKey }),
  };
}

/** Of every request that begins an object. */
export function objectFields({ encryption, kmsKey, storageClass, tags }: S3Options) {
  const tagging = new URLSearchParams(Object.entries(tags ?? {})).toString().replaceAll("+", "%20");
  return {
    ...(encryption === undefined ? {} : { ServerSideEncryption: encryption as ServerSideEncryption }),
    ...withoutUndefined({ SSEKMSKeyId: kmsKey }),
    ...(storageClass === undefined ? {} : { StorageClass: storageClass as StorageClass }),
    ...(tagging === "" ? {} : { Tagging: tagging }),
  };
}
