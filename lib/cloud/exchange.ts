import { E2dError } from "../errors.ts";
import type { Clock, Http } from "../ports.ts";
import { withDeadline } from "./with_deadline.ts";

export interface HttpRequest {
  /** The verb and object after "Cannot": `list the pods`. */
  action: string;
  url: URL;
  method?: "GET" | "PUT" | "POST";
  headers?: Readonly<Record<string, string>>;
  body?: string;
  timeoutMs: number;
}

/** A complete response of any status. */
export interface HttpAnswer {
  status: number;
  headers: Headers;
  text: string;
}

const answerBytesMax = 16 * 1024 * 1024;
const detailLengthMax = 200;

/**
 * One HTTP request and its response, bounded in time and size. Follows no redirect: it would send the credential to
 * another server. Throws E2dError `cloud_unreachable`, `cloud_untrusted`, `cloud_timeout` or `cloud_answer` (truncated or
 * too long).
 */
export async function exchange(
  { action, url, method = "GET", headers = {}, body, timeoutMs }: HttpRequest,
  { http, clock }: { http: Http; clock: Clock },
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const at = `${url.origin}${url.pathname}`;
  const timeoutError = () =>
    new E2dError("cloud_timeout", `Cannot ${action} at "${at}": no answer within ${timeoutMs} ms`);
  return await withDeadline({ ms: timeoutMs, clock, signal, timeoutError }, async (limited) => {
    let response: Response;
    try {
      response = await http(url, { method, headers, body: body ?? null, redirect: "manual", signal: limited });
    } catch (cause) {
      limited.throwIfAborted();
      throw connectionError(`Cannot ${action} at "${at}"`, cause);
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
    throw new E2dError("cloud_answer", `Cannot ${action}: the connection broke during the response`);
  }
  if (bytes > answerBytesMax) {
    throw new E2dError("cloud_answer", `Cannot ${action}: the response is longer than ${answerBytesMax} bytes`);
  }
  return text + decoder.decode();
}

/** The error of a failed `fetch`: `cloud_untrusted` for a certificate of an unknown authority, else `cloud_unreachable`. */
export function connectionError(cannot: string, cause: unknown): E2dError {
  const text = cause instanceof Error ? cause.message : String(cause);
  // The operating system's message without the prefixes of libraries.
  const last = text.split(": ").at(-1)!.replace(/ \(os error \d+\)$/, "").slice(0, detailLengthMax);
  if (/certificate/i.test(text)) {
    return new E2dError("cloud_untrusted", `${cannot}: the server certificate is not trusted (${last})`, {
      hint: "check which server answers at this address, and that this machine trusts its authority",
    });
  }
  const state = last.charAt(0).toLowerCase() + last.slice(1);
  return new E2dError("cloud_unreachable", `${cannot}: ${state}`, {
    hint: "check the network of this machine, its proxy settings and its firewall",
  });
}

/** The text of a response on one line. Masks secrets before it shortens: a part of a secret must not appear either. */
export function errorDetail(text: string, secrets: readonly (string | undefined)[] = []): string {
  let plain = text;
  for (const secret of secrets) if (secret) plain = plain.replaceAll(secret, "…");
  // deno-lint-ignore no-control-regex
  plain = plain.replace(/[\x00-\x20\x7f]+/g, " ").trim();
  return plain.length > detailLengthMax ? `${plain.slice(0, detailLengthMax - 1)}…` : plain;
}
