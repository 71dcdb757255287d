/**
 * One question to a cloud's HTTP interface: bounded in time and size, its answer held against a schema, and each way it
 * can go wrong told from the others. A credential is never in what it throws.
 */
import * as v from "valibot";
import { E2dError } from "../errors.ts";
import type { Clock, Http } from "../ports.ts";
import { ThrottledError } from "./throttled_error.ts";
import { withDeadline } from "./with_deadline.ts";

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
const answerBytesMax = 16 * 1024 * 1024;
const detailLengthMax = 200;
const retryAfterMaxMs = 300_000;

/**
 * Throws E2dError `cloud_unreachable`, `cloud_timeout`, `cloud_unauthorized`, `cloud_forbidden`, `cloud_not_found`,
 * `cloud_throttled` (a ThrottledError), `cloud_failed` (the cloud's own fault), `cloud_refused` (another status) or
 * `cloud_answer` (cut, too long, or not what the cloud documents).
 */
export async function askJson<Schema extends v.GenericSchema>(
  question: CloudQuestion<Schema>,
  { http, clock }: CloudPorts,
  signal: AbortSignal,
): Promise<v.InferOutput<Schema>> {
  const { action, url } = question;
  const at = `${url.origin}${url.pathname}`;
  const ms = question.timeoutMs ?? timeoutMs;
  const late = () => new E2dError("cloud_timeout", `Cannot ${action} at "${at}": no answer within ${ms} ms`);
  return await withDeadline({ ms, clock, signal, late }, async (limited) => {
    let response: Response;
    try {
      // A redirect would carry the credential to whoever it names.
      response = await http(url, { headers: { ...question.headers }, redirect: "manual", signal: limited });
    } catch (cause) {
      limited.throwIfAborted();
      throw new E2dError("cloud_unreachable", `Cannot ${action} at "${at}": ${connectionState(cause)}`, {
        hint: "check the network of this machine, its proxy settings and its firewall",
      });
    }
    const text = await readText(response, action, limited);
    if (response.status !== 200) throw refused(question, response, text);
    let value: unknown;
    try {
      value = (question.parse ?? JSON.parse)(text);
    } catch {
      throw new E2dError("cloud_answer", `Cannot ${action}: the answer of "${at}" is cut or garbled`);
    }
    const parsed = v.safeParse(question.schema, value);
    if (parsed.success) return parsed.output;
    const where = v.getDotPath(parsed.issues[0]) ?? "its top";
    throw new E2dError(
      "cloud_answer",
      `Cannot ${action}: the answer of "${at}" is not what is documented, at ${where}`,
    );
  });
}

/** The system's words, without what a library puts around them. */
function connectionState(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const last = text.split(": ").at(-1)!.replace(/ \(os error \d+\)$/, "");
  return last.charAt(0).toLowerCase() + last.slice(1, detailLengthMax);
}

async function readText(response: Response, action: string, signal: AbortSignal): Promise<string> {
  if (response.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  try {
    for await (const chunk of response.body) {
      signal.throwIfAborted();
      bytes += chunk.length;
      if (bytes > answerBytesMax) break;
      text += decoder.decode(chunk, { stream: true });
    }
  } catch {
    signal.throwIfAborted();
    throw new E2dError("cloud_answer", `Cannot ${action}: the connection broke within the answer`);
  }
  if (bytes > answerBytesMax) {
    throw new E2dError("cloud_answer", `Cannot ${action}: the answer is longer than ${answerBytesMax} bytes`);
  }
  return text + decoder.decode();
}

function refused(question: CloudQuestion<v.GenericSchema>, response: Response, text: string): E2dError {
  const { action, credential, permission, secrets = [] } = question;
  const detail = masked(detailOf(text), secrets);
  const { status } = response;
  const prefix = `Cannot ${action}: `;
  const suffix = detail === "" ? "" : `: ${detail}`;
  if (status === 429) {
    return new ThrottledError(`${prefix}there were too many questions (429)${suffix}`, retryAfter(response));
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
  // deno-lint-ignore no-control-regex
  return (sentence ?? "").replace(/[\x00-\x1f\x7f]+/g, " ").trim();
}

/** Masks first and shortens then: half a secret is one, too. */
function masked(text: string, secrets: readonly string[]): string {
  let plain = text;
  for (const secret of secrets) if (secret !== "") plain = plain.replaceAll(secret, "…");
  return plain.length > detailLengthMax ? `${plain.slice(0, detailLengthMax - 1)}…` : plain;
}

/** RFC 9110 in seconds, or the moment DigitalOcean and Hetzner name; clocks differ, so that is not relied on. */
function retryAfter(response: Response): number | undefined {
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  return seconds >= 0 ? Math.min(seconds * 1000, retryAfterMaxMs) : undefined;
}
