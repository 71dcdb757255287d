/**
 * One question to a cloud's HTTP interface: bounded in time and size, its answer held against a schema, and each way it
 * can go wrong told from the others. A credential is never in what it throws.
 */
import * as v from "valibot";
import { E2dError } from "../errors.ts";
import type { Clock, Http } from "../ports.ts";
import { type Answer, exchange, shownDetail } from "./exchange.ts";
import { ThrottledError } from "./throttled_error.ts";

export interface CloudPorts {
  readonly http: Http;
  readonly clock: Clock;
}

export interface CloudQuestion<Schema extends v.GenericSchema> {
  /** Continues «Cannot …»: `list the droplets`. */
  action: string;
  url: URL;
  headers?: Readonly<Record<string, string>>;
  schema: Schema;
  /** What an operator has to grant, when it is refused: `compute.instances.list`. */
  permission: string;
  /** What an operator checks when the credential is refused. */
  credential: string;
  /** Masked wherever an answer repeats them. */
  secrets?: readonly string[];
  /** The text of the answer as a value; JSON where not given. */
  parse?: (text: string) => unknown;
  timeoutMs?: number;
}

const timeoutMs = 10_000;
const retryAfterMaxMs = 300_000;

/**
 * Throws E2dError `cloud_unreachable`, `cloud_timeout`, `cloud_unauthorized`, `cloud_forbidden`, `cloud_not_found`,
 * `cloud_throttled` (a ThrottledError), `cloud_failed` (the cloud's own fault), `cloud_refused` (another status) or
 * `cloud_answer` (cut, too long, or not what the cloud documents).
 */
export async function askJson<Schema extends v.GenericSchema>(
  question: CloudQuestion<Schema>,
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
    throw new E2dError("cloud_answer", `Cannot ${action}: the answer of "${at}" is cut or garbled`);
  }
  const parsed = v.safeParse(question.schema, value);
  if (parsed.success) return parsed.output;
  const where = v.getDotPath(parsed.issues[0]) ?? "its top";
  throw new E2dError("cloud_answer", `Cannot ${action}: the answer of "${at}" is not what is documented, at ${where}`);
}

function refused(question: CloudQuestion<v.GenericSchema>, { status, headers, text }: Answer): E2dError {
  const { action, credential, permission, secrets } = question;
  const detail = shownDetail(detailOf(text), secrets);
  const prefix = `Cannot ${action}: `;
  const suffix = detail === "" ? "" : `: ${detail}`;
  if (status === 429) {
    return new ThrottledError(`${prefix}there were too many questions (429)${suffix}`, retryAfter(headers));
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
  if (status === 404) return new E2dError("cloud_not_found", `${prefix}there is no such thing (404)${suffix}`);
  if (status >= 500) return new E2dError("cloud_failed", `${prefix}the cloud fails (${status})${suffix}`);
  return new E2dError("cloud_refused", `${prefix}the answer is ${status}${suffix}`);
}

/** The sentence for people in the error formats of DigitalOcean, Hetzner, Google, Azure and OAuth. */
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

/** RFC 9110, in seconds. A moment, as some clouds name, would be one of their clocks and not of ours. */
function retryAfter(headers: Headers): number | undefined {
  const seconds = Number(headers.get("retry-after") ?? NaN);
  return seconds >= 0 ? Math.min(seconds * 1000, retryAfterMaxMs) : undefined;
}
