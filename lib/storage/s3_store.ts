/**
 * Snapshots in a bucket of S3, or of what speaks as it does. A small client on fetch: the SDK's uploads hang or end the
 * process on Deno 2.6. Requests are signed by aws4fetch; a request that fails in passing is made again, a part of an
 * upload too, and an upload that cannot be ended is taken back.
 */
import { AwsClient } from "aws4fetch";
import { XMLParser } from "fast-xml-parser";
import { AwsClock } from "../cloud/aws_clock.ts";
import type { AwsCredentialSource } from "../cloud/aws_credential_source.ts";
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock, Http, Random } from "../ports.ts";
import { ByteReader } from "../streams/byte_reader.ts";
import { isPlainKey } from "./key.ts";
import { progressTimeoutMs, type Store, type StoredInfo, type StoredObject, type WriteOptions } from "./store.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface S3Options {
  /** For people: "s3://bucket". */
  readonly name: string;
  readonly bucket: string;
  readonly region: string;
  /** Undefined: AWS itself. Others are asked in path style. */
  readonly endpoint?: string;
  readonly credentials: AwsCredentialSource;
  /** Waiting time between two bytes; default a minute. */
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
/** S3 takes no signature that is more than 15 minutes from its own clock; nearer than this the clock is not what it minds. */
const skewMinMs = 5 * 60_000;
const passing = new Set([408, 429, 500, 502, 503, 504]);

interface Ask {
  readonly action: string;
  readonly method: string;
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Bytes;
  readonly signal?: AbortSignal | undefined;
}

export class S3Store implements Store {
  readonly name: string;
  readonly #options: S3Options;
  readonly #ports: S3Ports;
  readonly #xml = new XMLParser({
    ignoreAttributes: true,
    parseTagValue: false,
    isArray: (name) => name === "Contents",
  });

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
    const size = Number(response.headers.get("content-length"));
    return { size, stream: this.#watched(response.body ?? new ReadableStream(), key, size) };
  }

  async info(key: string, signal?: AbortSignal): Promise<StoredInfo | undefined> {
    const response = await this.#ask({ action: `look at "${key}"`, method: "HEAD", key, signal });
    if (response === undefined) return undefined;
    await response.body?.cancel();
    return {
      key,
      size: Number(response.headers.get("content-length")),
      modifiedMs: Date.parse(response.headers.get("last-modified") ?? "") || 0,
    };
  }

  async list(prefix: string, signal?: AbortSignal): Promise<StoredInfo[]> {
    const found: StoredInfo[] = [];
    let token: string | undefined;
    for (;;) {
      const query = { "list-type": "2", prefix, ...(token === undefined ? {} : { "continuation-token": token }) };
      const response = await this.#require({ action: `list "${prefix}"`, method: "GET", query, signal });
      const { ListBucketResult: page } = this.#xml.parse(await response.text()) as {
        ListBucketResult?: {
          Contents?: { Key: string; Size: string; LastModified: string }[];
          IsTruncated?: string;
          NextContinuationToken?: string;
        };
      };
      if (page === undefined) throw this.#error("store_broken", `list "${prefix}"`, "its answer is no listing");
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        // Nobody can ask for such a key without asking for another one's: it is not ours.
        if (isPlainKey(Key)) found.push({ key: Key, size: Number(Size), modifiedMs: Date.parse(LastModified) || 0 });
      }
      if (page.IsTruncated !== "true" || page.NextContinuationToken === undefined) break;
      token = page.NextContinuationToken;
    }
    return found.sort((a, b) => a.key < b.key ? -1 : 1);
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
    const begun = await this.#require({ action, method: "POST", key, query: { uploads: "" }, signal });
    const text = await begun.text();
    const parsed = this.#xml.parse(text) as { InitiateMultipartUploadResult?: { UploadId?: string } };
    const uploadId = parsed.InitiateMultipartUploadResult?.UploadId;
    if (uploadId === undefined) throw this.#error("store_broken", action, "it gave no id for the upload");
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
      const xml = tags.map((tag, at) =>
        `<Part><PartNumber>${at + 1}</PartNumber><ETag>${escapeXml(tag)}</ETag></Part>`
      );
      const body = new TextEncoder().encode(`<CompleteMultipartUpload>${xml.join("")}</CompleteMultipartUpload>`);
      const done = await this.#require({ action, method: "POST", key, query: { uploadId }, body, signal });
      // S3 begins its answer with 200 before it knows: an error may still come in the body.
      const answer = await done.text();
      if (answer.includes("<Error>")) throw this.#error("store_broken", action, errorWords(answer));
      return { size };
    } catch (error) {
      // Parts of an upload that nobody ends are paid for until somebody finds them.
      await this.#ask({ action: "take an upload back", method: "DELETE", key, query: { uploadId } })
        .then((answer) => answer?.body?.cancel(), () => {});
      throw error;
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

  /** Undefined for a key that is not there. */
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
        if (response.ok) return response;
        const text = await boundedText(response);
        const refused = this.#refusal(ask, response.status, text);
        if (refused === undefined) return undefined;
        if (!passing.has(response.status)) throw refused;
        failure = refused;
      } catch (error) {
        ask.signal?.throwIfAborted();
        if (isE2dError(error) && error.code !== "store_timeout" && error.code !== "store_unreachable") throw error;
        failure = error;
      }
    }
    throw failure;
  }

  /** Asks again, by the store's time, where this machine's clock may be why it is refused. */
  async #inTime(ask: Ask): Promise<Response> {
    const response = await this.#once(ask);
    if (response.status !== 403 && response.status !== 400) return response;
    if (this.#time.takeOver(response.headers.get("date")) === undefined) return response;
    await response.body?.cancel();
    return await this.#once(ask);
  }

  async #once({ action, method, key = "", query = {}, headers = {}, body, signal }: Ask): Promise<Response> {
    const { bucket, region, endpoint, credentials, timeoutMs = progressTimeoutMs } = this.#options;
    const path = key.split("/").map(encodeURIComponent).join("/");
    const base = endpoint === undefined
      ? bucket.includes(".")
        ? `https://s3.${region}.amazonaws.com/${bucket}/`
        : `https://${bucket}.s3.${region}.amazonaws.com/`
      : `${endpoint.replace(/\/+$/, "")}/${bucket}/`;
    const url = new URL(`${base}${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
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

  #refusal({ action, key, method }: Ask, status: number, text: string): E2dError | undefined {
    const code = /<Code>([^<]{1,100})<\/Code>/.exec(text)?.[1];
    const words = errorWords(text) || `status ${status}`;
    // HEAD has no body: a bucket that is missing looks like a key that is.
    if (status === 404 && code === "NoSuchBucket") {
      return this.#error("store_missing", action, "there is no such bucket", "make the bucket, or mend the URL");
    }
    if (status === 404 && key !== undefined) return undefined;
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

  #watched(body: ReadableStream<Uint8Array>, key: string, size: number): ReadableStream<Bytes> {
    const { timeoutMs = progressTimeoutMs } = this.#options;
    const { clock } = this.#ports;
    const reader = body.getReader();
    const fail = (code: string, why: string, cause?: unknown) =>
      this.#error(code, `read "${key}"`, why, undefined, cause);
    let received = 0;
    return new ReadableStream<Bytes>({
      async pull(controller) {
        const done = new AbortController();
        const overdue = clock.sleep(timeoutMs, done.signal).then(() => "overdue" as const, () => "overdue" as const);
        let next: ReadableStreamReadResult<Uint8Array> | "overdue";
        try {
          next = await Promise.race([reader.read(), overdue]);
        } catch (cause) {
          throw fail("store_unreachable", `it broke off after ${received} of ${size} bytes`, cause);
        } finally {
          done.abort();
        }
        if (next === "overdue") {
          reader.cancel().catch(() => {});
          throw fail("store_timeout", `no byte in ${timeoutMs} ms, after ${received} of ${size}`);
        }
        if (next.done) {
          if (received !== size) throw fail("store_unreachable", `it ended after ${received} of ${size} bytes`);
          return controller.close();
        }
        received += next.value.length;
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

async function boundedText(response: Response): Promise<string> {
  const reader = new ByteReader(response.body ?? new ReadableStream({ start: (controller) => controller.close() }));
  const text = new TextDecoder().decode(await reader.read(errorBodyMaxBytes));
  await reader.cancel();
  return text;
}

const escapeXml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
