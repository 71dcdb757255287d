/**
 * The HTTP handler of the AWS SDK: sends its requests through the project's own `fetch`, whose authorities and connections
 * it shares, and ends a transfer after a time of silence. The SDK's own handlers do not: uploads of the one on node:http
 * hang on Deno 2.6, and neither it nor FetchHttpHandler detects a body that stalls. Must never follow a redirect.
 */
import { describeError } from "../errors.ts";
import type { Clock, Http } from "../ports.ts";
import { ByteReader } from "../streams/byte_reader.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** No answer came, or it ended before its end. */
export class S3Interruption extends Error {
  constructor(readonly code: "store_timeout" | "store_unreachable", message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** An answer other than success, with the start of its body. */
export class S3Refusal extends Error {
  /** Of the XML document; undefined: the body is no error document of S3. */
  readonly s3Code: string | undefined;
  /** True: the request went to another region than the bucket's. */
  readonly redirects: boolean;
  /** The region of the bucket, if the answer names it. */
  readonly region: string | undefined;

  constructor(readonly status: number, readonly body: string, readonly headers: Headers) {
    super(wordsOf(body) || `status ${status}`);
    this.s3Code = codeOf(body);
    const named = headers.get("x-amz-bucket-region") ?? /<Region>([a-z0-9-]{1,40})</.exec(body)?.[1] ??
      /expecting '([a-z0-9-]{1,40})'/.exec(this.message)?.[1];
    this.redirects = status === 301 || status === 307 || redirectCodes.has(this.s3Code ?? "") ||
      // HEAD has no body that names the reason.
      status === 400 && body === "" && headers.has("x-amz-bucket-region");
    this.region = this.redirects ? named : undefined;
  }
}

const redirectCodes = new Set(["AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"]);

/** What a caller passes beside a command, through `S3Client.send`. */
export interface HandlerOptions {
  readonly abortSignal?: AbortSignal;
  /** Called with the head of every answer. */
  readonly onHead?: ((headers: Headers) => void) | undefined;
  /**
   * The answer is a document: it is read completely first, and an error document is a refusal despite status 200. Gets
   * the text; returns what the SDK parses.
   */
  readonly document?: ((text: string) => string) | undefined;
  /** Bytes that the store moves before it answers. */
  readonly movedBytes?: number | undefined;
}

/** The fields of the SDK's HttpRequest that are used here. */
interface SdkRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | string[] | null>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Bytes | string;
}

interface SdkResponse {
  statusCode: number;
  headers: Record<string, string>;
  body: ReadableStream<Uint8Array>;
}

export interface HandlerPorts {
  readonly http: Http;
  readonly clock: Clock;
  /** Timeout between two bytes. */
  readonly timeoutMs: number;
}

const errorBodyMaxBytes = 65_536;
/** A page of a listing has a thousand keys of 1,024 bytes at most, each byte of three characters. */
const documentMaxBytes = 16 * 1_048_576;
/** The body of a request is one piece: the time for it grows with it, at the pace of a slow line. */
const slowBytesPerMs = 16;
/** A store answers a copy when it has made it; this is slow for a copy within one service. */
const slowMovedBytesPerMs = 8_192;

export class S3Handler {
  readonly #ports: HandlerPorts;

  constructor(ports: HandlerPorts) {
    this.#ports = ports;
  }

  /** Throws S3Interruption, S3Refusal, the signal's reason, or what `document` throws. */
  async handle(request: SdkRequest, options: HandlerOptions = {}): Promise<{ response: SdkResponse }> {
    const response = await this.#head(request, options);
    options.onHead?.(response.headers);
    if (!response.ok) throw new S3Refusal(response.status, await this.#text(response), response.headers);
    const { document } = options;
    if (document === undefined) return answer(response, silenceWatched(response.body, this.#ports));
    const text = await this.#text(response, documentMaxBytes);
    if (isErrorDocument(text)) throw new S3Refusal(response.status, text, response.headers);
    return answer(response, new Response(document(text)).body);
  }

  async #head(request: SdkRequest, { abortSignal, movedBytes = 0 }: HandlerOptions): Promise<Response> {
    const { http, clock, timeoutMs } = this.#ports;
    const { method, body } = request;
    const headers = new Headers(request.headers);
    // `fetch` sets both. A compressed answer would come without its length; proxies change the header, so it is unsigned.
    headers.delete("host");
    headers.delete("content-length");
    headers.set("accept-encoding", "identity");
    const waitMs = timeoutMs + (body?.length ?? 0) / slowBytesPerMs + movedBytes / slowMovedBytesPerMs;
    const answered = new AbortController();
    const late = new AbortController();
    const timer = clock.sleep(waitMs, answered.signal).then(() => late.abort(), () => {});
    try {
      return await http(urlOf(request), {
        method,
        headers,
        ...(body === undefined || method === "GET" || method === "HEAD" ? {} : { body }),
        redirect: "manual",
        signal: abortSignal ? AbortSignal.any([abortSignal, late.signal]) : late.signal,
      });
    } catch (cause) {
      abortSignal?.throwIfAborted();
      if (late.signal.aborted) throw new S3Interruption("store_timeout", `no answer in ${Math.round(waitMs)} ms`);
      throw new S3Interruption("store_unreachable", describeError(cause), cause);
    } finally {
      answered.abort();
      await timer;
    }
  }

  /** The start of an answer's body. */
  async #text({ body }: Response, maxBytes = errorBodyMaxBytes): Promise<string> {
    if (body === null) return "";
    const reader = new ByteReader(silenceWatched(body, this.#ports));
    const text = new TextDecoder().decode(await reader.read(maxBytes));
    await reader.cancel();
    return text;
  }

  /** The SDK configures its handlers by these; this one has nothing to configure. */
  updateHttpClientConfig(): void {}
  httpHandlerConfigs(): Record<string, never> {
    return {};
  }
  destroy(): void {}
}

function answer(response: Response, body: ReadableStream<Uint8Array> | null): { response: SdkResponse } {
  const headers = Object.fromEntries(response.headers);
  // Some proxies write what the SDK refuses to parse. The store does without these values.
  if (Number.isNaN(Date.parse(headers["last-modified"] ?? ""))) delete headers["last-modified"];
  if (!/^\d+$/.test(headers["content-length"] ?? "")) delete headers["content-length"];
  delete headers["expires"];
  return { response: { statusCode: response.status, headers, body: body ?? new Blob([]).stream() } };
}

/** Blanks as %20: "+" is a rule of forms, and some stores take it for a plus sign. */
function urlOf({ protocol, hostname, port, path, query = {} }: SdkRequest): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value ?? ""].flat().map((one) => `${encodePart(name)}=${encodePart(one)}`)
  );
  const search = pairs.length === 0 ? "" : `?${pairs.join("&")}`;
  return `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}${search}`;
}

/** RFC 3986, as signatures need it; encodeURIComponent does not encode these five characters. */
export const encodePart = (part: string) =>
  encodeURIComponent(part).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** Errors with S3Interruption after `timeoutMs` without a byte, and when the connection breaks. */
function silenceWatched(
  body: ReadableStream<Uint8Array> | null,
  { clock, timeoutMs }: HandlerPorts,
): ReadableStream<Uint8Array> {
  const reader = (body ?? new Blob([]).stream()).getReader();
  return new ReadableStream({
    async pull(controller) {
      const done = new AbortController();
      const overdue = clock.sleep(timeoutMs, done.signal).then(() => "overdue" as const, () => "overdue" as const);
      let next: ReadableStreamReadResult<Uint8Array> | "overdue";
      try {
        next = await Promise.race([reader.read(), overdue]);
      } catch (cause) {
        throw new S3Interruption("store_unreachable", "it broke off", cause);
      } finally {
        done.abort();
      }
      if (next === "overdue") {
        reader.cancel().catch(() => {});
        throw new S3Interruption("store_timeout", `no byte in ${timeoutMs} ms`);
      }
      if (next.done) return controller.close();
      controller.enqueue(next.value);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

function wordsOf(text: string): string {
  const [code, message] = ["Code", "Message"].map((tag) => new RegExp(`<${tag}>([^<]{1,300})`).exec(text)?.[1]);
  return [code, message].filter((part) => part !== undefined).join(": ");
}

const codeOf = (text: string) => /<Code>([^<]{1,100})<\/Code>/.exec(text)?.[1];

const isErrorDocument = (text: string) => /^\s*(?:<\?xml[^>]*>\s*)?<Error[\s>]/.test(text);
