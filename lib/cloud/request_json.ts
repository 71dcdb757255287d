/**
 * One request to a cloud's HTTP API: bounded in time and size, its response checked against a schema, with one error
 * code for each kind of failure. No error may contain a credential.
 */
import * as v from "valibot";
import { E2dError } from "../errors.ts";
import type { Clock, Http } from "../ports.ts";
import { errorDetail, exchange, type HttpAnswer } from "./exchange.ts";
import { ThrottledError } from "./throttled_error.ts";

export interface CloudPorts {
  readonly http: Http;
  readonly clock: Clock;
}

export interface CloudRequest<Schema extends v.GenericSchema> {
  /** The verb and object after "Cannot": `list the droplets`. */
  action: string;
  url: URL;
  headers?: Readonly<Record<string, string>>;
  schema: Schema;
  /** The permission that an operator must grant after a 403: `compute.instances.list`. */
  permission: string;
  /** The credential that an operator must check after a 401. */
  credential: string;
  /** Masked in the text of a response. */
  secrets?: readonly string[];
  /** Parses the text of the response. Default: JSON. */
  parse?: (text: string) => unknown;
  timeoutMs?: number;
}

const timeoutMs = 10_000;
const retryAfterMaxMs = 300_000;

/**
 * Throws E2dError `cloud_unreachable`, `cloud_timeout`, `cloud_unauthorized`, `cloud_forbidden`, `cloud_not_found`,
 * `cloud_throttled` (a ThrottledError), `cloud_failed` (status 5xx), `cloud_refused` (another status) or `cloud_answer`
 * (truncated, too long, or different from the cloud's documentation).
 */
export async function requestJson<Schema extends v.GenericSchema>(
  question: CloudRequest<Schema>,
  ports: CloudPorts,
  signal: AbortSignal,
): Promise<v.InferOutput<Schema>> {
  const { action, url, headers = {} } = question;
  const asked = { action, url, headers, timeoutMs: question.timeoutMs ?? timeoutMs };
  const answer = await exchange(asked, ports, signal);
  if (answer.status !== 200) throw refused(question, answer);
  const at = `${url.origin}${url.pathname}`;
  let value: unknown;
  try {
    value = (question.parse ?? JSON.parse)(answer.text);
  } catch {
    throw new E2dError("cloud_answer", `Cannot ${action}: the response of "${at}" is truncated or malformed`);
  }
  const parsed = v.safeParse(question.schema, value);
  if (parsed.success) return parsed.output;
  const field = v.getDotPath(parsed.issues[0]) ?? "the top level";
  throw new E2dError(
    "cloud_answer",
    `Cannot ${action}: the response of "${at}" differs from its documentation at ${field}`,
  );
}

function refused(question: CloudRequest<v.GenericSchema>, { status, headers, text }: HttpAnswer): E2dError {
  const { action, credential, permission, secrets } = question;
  const detail = errorDetail(detailOf(text), secrets);
  const prefix = `Cannot ${action}: `;
  const suffix = detail === "" ? "" : `: ${detail}`;
  if (status === 429) {
    return new ThrottledError(`${prefix}the cloud throttles requests (429)${suffix}`, retryAfter(headers));
  }
  if (status === 401) {
    return new E2dError("cloud_unauthorized", `${prefix}the credential is refused (401)${suffix}`, {
      hint: `check ${credential}`,
    });
  }
  if (status === 403) {
    return new E2dError("cloud_forbidden", `${prefix}"${permission}" is not permitted (403)${suffix}`, {
      hint: `grant "${permission}" to ${credential}`,
    });
  }
  if (status === 404) return new E2dError("cloud_not_found", `${prefix}the resource does not exist (404)${suffix}`);
  if (status >= 500) {
    return new E2dError("cloud_failed", `${prefix}the cloud reports an internal error (${status})${suffix}`);
  }
  return new E2dError("cloud_refused", `${prefix}the response status is ${status}${suffix}`);
}

/** The message in the error formats of DigitalOcean, Hetzner, Google, Azure and OAuth; "" when there is none. */
function detailOf(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "";
  }
  const at = (object: unknown, key: string) =>
    typeof object === "object" && object !== null ? (object as Record<string, unknown>)[key] : undefined;
  const found = [at(value, "message"), at(at(value, "error"), "message"), at(value, "error_description")];
  const sentence = found.find((part) => typeof part === "string") as string | undefined;
  return sentence ?? "";
}

/** Retry-After (RFC 9110) in milliseconds. A date is ignored: it refers to the cloud's clock, not to this machine's. */
function retryAfter(headers: Headers): number | undefined {
  const seconds = Number(headers.get("retry-after") ?? NaN);
  return seconds >= 0 ? Math.min(seconds * 1000, retryAfterMaxMs) : undefined;
}
