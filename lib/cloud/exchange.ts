import { E2dError } from "../errors.ts";
import type { Clock, Http } from "../ports.ts";
import { withDeadline } from "./with_deadline.ts";

export interface Question {
  /** Continues «Cannot …»: `list the pods`. */
  action: string;
  url: URL;
  method?: "GET" | "PUT" | "POST";
  headers?: Readonly<Record<string, string>>;
  body?: string;
  timeoutMs: number;
}

/** An answer of any status, its text whole. */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
}

const answerBytesMax = 16 * 1024 * 1024;
const detailLengthMax = 200;

/**
 * One question over HTTP and its answer, bounded in time and size. Follows no redirect: it would carry the credential to
 * whoever it names. Throws E2dError `cloud_unreachable`, `cloud_timeout` or `cloud_answer` (cut or too long).
 */
export async function exchange(
  { action, url, method = "GET", headers = {}, body, timeoutMs }: Question,
  { http, clock }: { http: Http; clock: Clock },
  signal: AbortSignal,
): Promise<Answer> {
  const at = `${url.origin}${url.pathname}`;
  const late = () => new E2dError("cloud_timeout", `Cannot ${action} at "${at}": no answer within ${timeoutMs} ms`);
  return await withDeadline({ ms: timeoutMs, clock, signal, late }, async (limited) => {
    let response: Response;
    try {
      response = await http(url, { method, headers, body: body ?? null, redirect: "manual", signal: limited });
    } catch (cause) {
      limited.throwIfAborted();
      throw new E2dError("cloud_unreachable", `Cannot ${action} at "${at}": ${connectionState(cause)}`, {
        hint: "check the network of this machine, its proxy settings and its firewall",
      });
    }
    const text = await readText(response, action, limited);
    return { status: response.status, headers: response.headers, text };
  });
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

/** The system's words, without what a library puts around them. */
function connectionState(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const last = text.split(": ").at(-1)!.replace(/ \(os error \d+\)$/, "");
  return last.charAt(0).toLowerCase() + last.slice(1, detailLengthMax);
}

/** What an answer says, on one line: masks secrets first and shortens then, since half a secret is one, too. */
export function shownDetail(text: string, secrets: readonly (string | undefined)[] = []): string {
  let plain = text;
  for (const secret of secrets) if (secret) plain = plain.replaceAll(secret, "…");
  // deno-lint-ignore no-control-regex
  plain = plain.replace(/[\x00-\x20\x7f]+/g, " ").trim();
  return plain.length > detailLengthMax ? `${plain.slice(0, detailLengthMax - 1)}…` : plain;
}
