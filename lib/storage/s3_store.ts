/**
 * A store in a bucket of S3 or a compatible service. A small client on fetch, because uploads of the AWS SDK hang or end
 * the process on Deno 2.6. aws4fetch signs the requests. Retries requests and parts of uploads after temporary failures,
 * and aborts an upload that it cannot complete.
 */
import { AwsClient } from "aws4fetch";
import { AwsClock } from "../cloud/aws/clock.ts";
import type { AwsCredentialSource } from "../cloud/aws/credential_source.ts";
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock, Http, Random } from "../ports.ts";
import { ByteReader } from "../streams/byte_reader.ts";
import { isPlainKey } from "./key.ts";
import { parseListing, parseUploadId } from "./s3_answer.ts";
import { progressTimeoutMs, type Store, type StoredInfo, type StoredObject, type WriteOptions } from "./store.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface S3Options {
  /** For messages: "s3://bucket". */
  readonly name: string;
  readonly bucket: string;
  readonly region: string;
  /** Undefined: AWS. Other endpoints get path-style requests. */
  readonly endpoint?: string;
  readonly credentials: AwsCredentialSource;
  /** Timeout between two bytes; default one minute. */
  readonly timeoutMs?: number;
}

export interface S3Ports {
  readonly http: Http;
  readonly clock: Clock;
  readonly random: Random;
}

const triesMax = 5;
const partMinBytes = 8 * 1_048_576;
/** S3 has 10,000 parts at most: each thousand is twice as large, which makes 8 TiB of them. */
const partGrowsEvery = 1_000;
const partMaxBytes = 512 * 1_048_576;
const errorBodyMaxBytes = 65_536;
/** A page of a listing has a thousand keys of 1,024 bytes at most, each byte of three characters. */
const answerMaxBytes = 16 * 1_048_576;
/** S3 refuses signatures that differ more than 15 minutes from its clock. Below this difference the clock is not the cause. */
const skewMinMs = 5 * 60_000;
const passing = new Set([408, 429, 500, 502, 503, 504]);
/** Codes of temporary errors, also with status 400 or in the body of a 200. */
const passingCodes = new Set(["RequestTimeout", "InternalError", "SlowDown", "ServiceUnavailable", "OperationAborted"]);
/** S3 dates an object by the start of its upload, in seconds. */
const uploadTimeSlackMs = 2_000;

interface Ask {
  readonly action: string;
  readonly method: string;
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Bytes;
  /** The answer is XML and may be an error despite status 200, so it is read completely first. */
  readonly xml?: true;
  readonly signal?: AbortSignal | undefined;
}

export class S3Store implements Store {
  readonly name: string;
  readonly #options: S3Options;
  readonly #ports: S3Ports;
  readonly #time: AwsClock;

  constructor(options: S3Options, ports: S3Ports) {
    this.name = options.name;
    this.#options = options;
    this.#ports = ports;
    this.#time = new AwsClock(ports.clock, { minMs: skewMinMs });
  }

  async read(key: string, signal?: AbortSignal): Promise<StoredObject | undefined> {
    const response = await this.#ask({ action: `read "${key}"`, method: "GET", key, signal });
    if (response === undefined) return undefined;
    const body = response.body ?? new ReadableStream();
    let size: number;
    try {
      size = lengthOf(response) ?? await this.#listedSize(key, signal);
    } catch (error) {
      await body.cancel().catch(() => {});
      throw error;
    }
    return { size, stream: this.#watched(body, `read "${key}"`, size) };
  }

  async info(key: string, signal?: AbortSignal): Promise<StoredInfo | undefined> {
    const action = `look at "${key}"`;
    const head = { action, method: "HEAD", key, signal };
    let response = await this.#ask(head);
    if (response === undefined) {
      // HEAD has no body, so a page of a proxy and a missing bucket look like a missing key. GET has one.
      const whole = await this.#ask({ action, method: "GET", key, signal });
      if (whole === undefined) return undefined;
      await whole.body?.cancel();
      response = await this.#ask(head);
    }
    if (response === undefined) throw this.#error("store_broken", action, "GET finds it and HEAD does not");
    await response.body?.cancel();
    return {
      key,
      size: lengthOf(response) ?? await this.#listedSize(key, signal),
      modifiedMs: Date.parse(response.headers.get("last-modified") ?? "") || 0,
    };
  }

  /** For answers without Content-Length (proxies, chunked encoding). */
  async #listedSize(key: string, signal?: AbortSignal): Promise<number> {
    const listed = (await this.list(key, signal)).find((info) => info.key === key);
    if (listed !== undefined) return listed.size;
    throw this.#error(
      "store_broken",
      `read "${key}"`,
      "it is there, but no listing has it and no answer has its length",
    );
  }

  async list(prefix: string, signal?: AbortSignal): Promise<StoredInfo[]> {
    const action = `list "${prefix}"`;
    const found: StoredInfo[] = [];
    let token: string | undefined;
    const tokens = new Set<string>();
    do {
      const query = {
        "list-type": "2",
        "encoding-type": "url",
        prefix,
        ...(token === undefined ? {} : { "continuation-token": token }),
      };
      const response = await this.#require({ action, method: "GET", query, xml: true, signal });
      const page = this.#parse(action, "listing", await response.text(), parseListing);
      if (page.next !== undefined && tokens.has(page.next)) {
        const why = `its listing goes in a circle: page ${
          tokens.size + 1
        } has a continuation token of a page before it`;
        throw this.#error("store_broken", action, why, "check that the endpoint is that of an S3 store");
      }
      if (page.next !== undefined) tokens.add(page.next);
      // e2d writes no other keys, and a request for one of them would reach another key.
      found.push(...page.objects.filter(({ key }) => isPlainKey(key) && key.startsWith(prefix)));
      token = page.next;
    } while (token !== undefined);
    return found.sort((a, b) => a.key < b.key ? -1 : 1);
  }

  #parse<T>(action: string, what: string, text: string, parse: (text: string) => T): T {
    try {
      return parse(text);
    } catch (cause) {
      const why = `its answer is no ${what}: ${(cause as Error).message}`;
      throw this.#error("store_broken", action, why, "check that the endpoint is that of an S3 store", cause);
    }
  }

  async write(
    key: string,
    content: ReadableStream<Bytes>,
    { signal, onProgress }: WriteOptions = {},
  ): Promise<{ size: number }> {
    const reader = new ByteReader(content);
    try {
      const first = await reader.read(partMinBytes);
      if (await reader.atEnd()) {
        const written = await this.#require({ action: `write "${key}"`, method: "PUT", key, body: first, signal });
        await written.body?.cancel();
        onProgress?.(first.length);
        return { size: first.length };
      }
      return await this.#writeParts(key, first, reader, {
        signal,
        ...(onProgress === undefined ? {} : { onProgress }),
      });
    } catch (error) {
      await reader.cancel(error).catch(() => {});
      throw error;
    }
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    const removed = await this.#ask({ action: `remove "${key}"`, method: "DELETE", key, signal });
    await removed?.body?.cancel();
  }

  async #writeParts(key: string, first: Bytes, reader: ByteReader, options: WriteOptions): Promise<{ size: number }> {
    const { signal, onProgress } = options;
    const action = `write "${key}"`;
    const begun = await this.#require({ action, method: "POST", key, query: { uploads: "" }, xml: true, signal });
    const uploadId = this.#parse(action, "upload", await begun.text(), parseUploadId);
    try {
      const tags: string[] = [];
      let size = 0;
      for (let body = first; body.length > 0; body = await reader.read(partBytes(tags.length))) {
        const query = { partNumber: String(tags.length + 1), uploadId };
        const part = await this.#require({ action, method: "PUT", key, query, body, signal });
        await part.body?.cancel();
        const tag = part.headers.get("etag");
        if (tag === null) throw this.#error("store_broken", action, "it gave no ETag for a part");
        tags.push(tag);
        size += body.length;
        onProgress?.(size);
      }
      const begunMs = Date.parse(begun.headers.get("date") ?? "");
      await this.#completeUpload({ key, uploadId, tags, size, begunMs, signal });
      return { size };
    } catch (error) {
      // Parts of an incomplete upload cost money until they are removed.
      await this.#ask({ action: "take an upload back", method: "DELETE", key, query: { uploadId } })
        .then((answer) => answer?.body?.cancel(), () => {});
      throw error;
    }
  }

  async #completeUpload({ key, uploadId, tags, size, begunMs, signal }: {
    key: string;
    uploadId: string;
    tags: readonly string[];
    size: number;
    /** By the store's clock; NaN: unknown. */
    begunMs: number;
    signal: AbortSignal | undefined;
  }): Promise<void> {
    const xml = tags.map((tag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${escapeXml(tag)}</ETag></Part>`);
    const body = new TextEncoder().encode(`<CompleteMultipartUpload>${xml.join("")}</CompleteMultipartUpload>`);
    try {
      // S3 begins its answer with 200 before it knows the outcome: an error may still come in the body.
      const ask = {
        action: `write "${key}"`,
        method: "POST",
        key,
        query: { uploadId },
        body,
        xml: true,
        signal,
      } as const;
      await this.#require(ask);
    } catch (error) {
      if (!isE2dError(error, "store_upload_gone")) throw error;
      // The answer to an earlier try was lost, and that try had succeeded: then the object is there.
      const there = await this.info(key, signal);
      if (there === undefined || there.size !== size || !(there.modifiedMs >= begunMs - uploadTimeSlackMs)) throw error;
    }
  }

  async #require(ask: Ask): Promise<Response> {
    const response = await this.#ask(ask);
    if (response !== undefined) return response;
    throw this.#error(
      "store_missing",
      ask.action,
      "the store knows nothing of it",
      "check the bucket and the endpoint",
    );
  }

  /** Undefined: the key is absent. */
  async #ask(ask: Ask): Promise<Response | undefined> {
    if (ask.key !== undefined && !isPlainKey(ask.key)) {
      throw this.#error("store_broken", `use key ${JSON.stringify(ask.key)}`, "it is no plain name");
    }
    let failure: unknown;
    for (let attempt = 0; attempt < triesMax; attempt++) {
      if (attempt > 0) {
        const pauseMs = 200 * 2 ** attempt * (0.5 + this.#ports.random.float());
        await this.#ports.clock.sleep(pauseMs, ask.signal);
      }
      try {
        const response = await this.#inTime(ask);
        if (response.ok && ask.xml === undefined) return response;
        const text = await this.#text(ask.action, response, response.ok ? answerMaxBytes : errorBodyMaxBytes);
        if (response.ok && !isErrorDocument(text)) return new Response(text, { headers: response.headers });
        const refused = this.#refusal(ask, response.status, text);
        if (refused === undefined) return undefined;
        if (!passing.has(response.status) && !passingCodes.has(errorCode(text) ?? "")) throw refused;
        failure = refused;
      } catch (error) {
        ask.signal?.throwIfAborted();
        if (isE2dError(error) && error.code !== "store_timeout" && error.code !== "store_unreachable") throw error;
        failure = error;
      }
    }
    throw failure;
  }

  /** Retries with the store's time if the clock of this machine may be the cause of a refusal. */
  async #inTime(ask: Ask): Promise<Response> {
    const response = await this.#once(ask);
    if (response.status !== 403 && response.status !== 400) return response;
    if (this.#time.adopt(response.headers.get("date")) === undefined) return response;
    await response.body?.cancel();
    return await this.#once(ask);
  }

  async #once({ action, method, key = "", query = {}, headers = {}, body, signal }: Ask): Promise<Response> {
    const { bucket, region, endpoint, credentials, timeoutMs = progressTimeoutMs } = this.#options;
    const path = key.split("/").map(encodePart).join("/");
    const base = endpoint === undefined
      ? bucket.includes(".")
        ? `https://s3.${region}.amazonaws.com/${bucket}/`
        : `https://${bucket}.s3.${region}.amazonaws.com/`
      : `${endpoint.replace(/\/+$/, "")}/${bucket}/`;
    const url = new URL(`${base}${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    // A blank as "+" is a rule of forms; some stores take it for a plus sign.
    url.search = url.search.replaceAll("+", "%20");
    const { accessKeyId, secretAccessKey, sessionToken } = await credentials(signal);
    const client = new AwsClient({
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      service: "s3",
      region,
      retries: 0,
    });
    const signed = await client.sign(url.href, {
      method,
      headers,
      aws: { datetime: this.#time.signingTime() },
      ...(body === undefined ? {} : { body }),
    });
    // Not signed, because proxies change it. A compressed answer would come without its length.
    signed.headers.set("accept-encoding", "identity");
    // The body is one piece of bounded size: the time for it grows with it, at the pace of a slow line.
    const waitMs = timeoutMs + (body?.length ?? 0) / 16;
    const answered = new AbortController();
    const late = new AbortController();
    const timer = this.#ports.clock.sleep(waitMs, answered.signal).then(() => late.abort(), () => {});
    try {
      return await this.#ports.http(signed.url, {
        method,
        headers: signed.headers,
        ...(body === undefined ? {} : { body }),
        redirect: "manual",
        signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      if (late.signal.aborted) throw this.#error("store_timeout", action, `no answer in ${Math.round(waitMs)} ms`);
      throw this.#error("store_unreachable", action, describeError(cause), "check the network and the endpoint", cause);
    } finally {
      answered.abort();
      await timer;
    }
  }

  /** Undefined: the store itself answered that the key is absent. */
  #refusal({ action, key, method }: Ask, status: number, text: string): E2dError | undefined {
    const code = errorCode(text);
    const words = errorWords(text) || `status ${status}`;
    if (status === 404 && code === "NoSuchBucket") {
      return this.#error("store_missing", action, "there is no such bucket", "make the bucket, or mend the URL");
    }
    if (status === 404 && code === "NoSuchUpload") return this.#error("store_upload_gone", action, words);
    if (status === 404) {
      // HEAD has no body: `info` asks again by GET.
      if (key !== undefined && (code === "NoSuchKey" || method === "HEAD" && text === "")) return undefined;
      const why = code === undefined ? "status 404, and not as an S3 store answers it" : words;
      return this.#error("store_broken", action, why, "check that the endpoint is that of an S3 store");
    }
    if (status === 301 || status === 307 || code === "AuthorizationHeaderMalformed" || code === "PermanentRedirect") {
      const region = /<Region>([^<]+)</.exec(text)?.[1] ?? /region '?([a-z0-9-]+)'?[^']*$/.exec(words)?.[1];
      return this.#error("store_region", action, words, `set AWS_REGION${region === undefined ? "" : ` to ${region}`}`);
    }
    if (code === "RequestTimeTooSkewed") {
      return this.#error("store_clock", action, words, "set this machine's clock");
    }
    if (status === 403 || status === 401) {
      const permission =
        { GET: "s3:GetObject and s3:ListBucket", HEAD: "s3:GetObject and s3:ListBucket", PUT: "s3:PutObject" }[
          method
        ];
      return this.#error(
        "store_forbidden",
        action,
        words,
        `check the credentials, and that they allow ${permission ?? `${method} here`}`,
      );
    }
    return this.#error("store_broken", action, words);
  }

  /** The start of an answer's body as text. */
  async #text(action: string, { body }: Response, maxBytes: number): Promise<string> {
    if (body === null) return "";
    const reader = new ByteReader(this.#watched(body, action));
    const text = new TextDecoder().decode(await reader.read(maxBytes));
    await reader.cancel();
    return text;
  }

  /** Errors after `timeoutMs` without a byte, and if the number of bytes differs from `size`. */
  #watched(body: ReadableStream<Uint8Array>, action: string, size?: number): ReadableStream<Bytes> {
    const { timeoutMs = progressTimeoutMs } = this.#options;
    const { clock } = this.#ports;
    const reader = body.getReader();
    const fail = (code: string, why: string, cause?: unknown) => this.#error(code, action, why, undefined, cause);
    let received = 0;
    const progress = () => size === undefined ? `${received} bytes` : `${received} of ${size} bytes`;
    return new ReadableStream<Bytes>({
      async pull(controller) {
        const done = new AbortController();
        const overdue = clock.sleep(timeoutMs, done.signal).then(() => "overdue" as const, () => "overdue" as const);
        let next: ReadableStreamReadResult<Uint8Array> | "overdue";
        try {
          next = await Promise.race([reader.read(), overdue]);
        } catch (cause) {
          throw fail("store_unreachable", `it broke off after ${progress()}`, cause);
        } finally {
          done.abort();
        }
        if (next === "overdue") {
          reader.cancel().catch(() => {});
          throw fail("store_timeout", `no byte in ${timeoutMs} ms, after ${progress()}`);
        }
        if (next.done) {
          if (size !== undefined && received !== size) throw fail("store_unreachable", `it ended after ${progress()}`);
          return controller.close();
        }
        received += next.value.length;
        if (size !== undefined && received > size) {
          reader.cancel().catch(() => {});
          throw fail("store_broken", `it has more than its ${size} bytes`);
        }
        controller.enqueue(next.value as Bytes);
      },
      cancel: (reason) => reader.cancel(reason),
    }, { highWaterMark: 0 });
  }

  #error(code: string, action: string, why: string, hint?: string, cause?: unknown): E2dError {
    return new E2dError(code, `Cannot ${action} in ${this.name}: ${why}`, {
      ...(hint === undefined ? {} : { hint }),
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

function partBytes(parts: number): number {
  return Math.min(partMaxBytes, partMinBytes * 2 ** Math.floor(parts / partGrowsEvery));
}

function errorWords(text: string): string {
  const [code, message] = ["Code", "Message"].map((tag) => new RegExp(`<${tag}>([^<]{1,300})`).exec(text)?.[1]);
  return [code, message].filter((part) => part !== undefined).join(": ");
}

const errorCode = (text: string) => /<Code>([^<]{1,100})<\/Code>/.exec(text)?.[1];

const isErrorDocument = (text: string) => /^\s*(?:<\?xml[^>]*>\s*)?<Error[\s>]/.test(text);

function lengthOf(response: Response): number | undefined {
  const text = response.headers.get("content-length");
  return text !== null && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** RFC 3986, as signatures need it; encodeURIComponent does not encode these five characters. */
const encodePart = (part: string) =>
  encodeURIComponent(part).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

const escapeXml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
