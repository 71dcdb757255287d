/**
 * What a failed request to an S3 store means: the code, the words and the next command of its error, and whether another
 * try may succeed. Must never take anything but `NoSuchKey` for absence.
 */
import { wordsOf } from "../errors.ts";
import { S3Interruption, S3Refusal } from "./s3_handler.ts";

export interface S3Failure {
  readonly code: string;
  readonly state: string;
  readonly hint?: string | undefined;
  readonly cause?: unknown;
  /** True: temporary. */
  readonly passing?: boolean;
}

const passingStatus = new Set([408, 429, 500, 502, 503, 504]);
/** Codes of temporary errors, also with status 400 or in the body of a 200. */
const passingCodes = new Set([
  "RequestTimeout",
  "InternalError",
  "SlowDown",
  "ServiceUnavailable",
  "OperationAborted",
  "ConditionalRequestConflict",
]);

export const endpointHint = "check that the endpoint is that of an S3 store";

/** Undefined: the store itself answered that the key is absent. */
export function explainFailure(error: unknown, ask: { method: string; key?: string }): S3Failure | undefined {
  if (error instanceof S3Interruption) {
    const hint = error.code === "store_unreachable" ? "check the network and the endpoint" : undefined;
    return { code: error.code, state: error.message, hint, cause: error.cause, passing: true };
  }
  if (error instanceof S3Refusal) {
    const refusal = explainRefusal(error, ask);
    return refusal && { ...refusal, passing: passingStatus.has(error.status) || passingCodes.has(error.s3Code ?? "") };
  }
  // Of the SDK: it cannot parse the answer, or calls an empty one an aborted request of status 503.
  const { httpStatusCode } = (error as { $metadata?: { httpStatusCode?: number } }).$metadata ?? {};
  const [state = ""] = wordsOf(error).text.split("\n");
  return { code: "store_broken", state, cause: error, passing: passingStatus.has(httpStatusCode ?? 0) };
}

function explainRefusal(refusal: S3Refusal, { method, key }: { method: string; key?: string }): S3Failure | undefined {
  const { status, s3Code: code, message: state, body } = refusal;
  if (status === 404) {
    // HEAD has no body: `info` asks again by GET.
    if (key !== undefined && (code === "NoSuchKey" || method === "HEAD" && body === "")) return undefined;
    return explainMissing(code, state);
  }
  if (refusal.redirects) {
    const region = refusal.region === undefined ? "" : ` to ${refusal.region}`;
    return { code: "store_region", state, hint: `set AWS_REGION${region}` };
  }
  if (code === "RequestTimeTooSkewed") return { code: "store_clock", state, hint: "set this machine's clock" };
  if (status === 403 || status === 401) {
    const permission = permissions[method] ?? `${method} here`;
    return {
      code: "store_forbidden",
      state,
      hint: `check the credentials, and that they allow ${permission}`,
    };
  }
  if (status === 412 && method === "PUT") return { code: "store_exists", state: "there is an object already" };
  if (status === 412) return { code: "store_broken", state: "it was replaced while it was read" };
  if (status === 501 || status === 405) {
    const hint = "a store without checksums needs AWS_REQUEST_CHECKSUM_CALCULATION=when_required";
    return { code: "store_unsupported", state, ...(method === "PUT" ? { hint } : {}) };
  }
  return { code: "store_broken", state };
}

function explainMissing(code: string | undefined, state: string): S3Failure {
  if (code === "NoSuchBucket") {
    return { code: "store_missing", state: "there is no such bucket", hint: "make the bucket, or mend the URL" };
  }
  if (code === "NoSuchUpload") return { code: "store_upload_gone", state };
  const why = code === undefined ? "status 404, and not as an S3 store answers it" : state;
  return { code: "store_broken", state: why, hint: endpointHint };
}

const permissions: Readonly<Record<string, string>> = {
  GET: "s3:GetObject and s3:ListBucket",
  HEAD: "s3:GetObject and s3:ListBucket",
  PUT: "s3:PutObject",
};
