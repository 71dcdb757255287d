/**
 * A store in a bucket of S3 or a compatible service, by the AWS SDK. Owns the rules of a store: only `NoSuchKey` is
 * absence, an answer that is not what was asked for is an error. Retries requests and parts of uploads after temporary
 * failures, follows the store's clock and region, continues a download that was cut, and aborts an upload that it cannot
 * complete.
 */
import { withoutUndefined } from "../without_undefined.ts";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type PutObjectCommand,
  type S3Client,
  type UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { AwsClock } from "../cloud/aws/clock.ts";
import type { AwsCredentials } from "../cloud/aws/credential_source.ts";
import { E2dError, isE2dError } from "../errors.ts";
import type { Clock, Http, Random } from "../ports.ts";
import { ByteReader } from "../streams/byte_reader.ts";
import { observe } from "../streams/observe.ts";
import { isPlainKey } from "./key.ts";
import {
  type CutUpload,
  type ListingPage,
  parseListing,
  parseUploads,
  requireWhole,
  type UploadsPage,
} from "./s3_answer.ts";
import { accessFields, keyFields, objectFields, openS3Client, type S3Options, sourceFields } from "./s3_client.ts";
import { resumedBody } from "./s3_download.ts";
import { endpointHint, explainFailure, type S3Failure } from "./s3_failure.ts";
import { type HandlerOptions, S3Handler, S3Refusal } from "./s3_handler.ts";
import { progressTimeoutMs, type Store, type StoredInfo, type StoredObject, type WriteOptions } from "./store.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export type { S3Options } from "./s3_client.ts";

export interface S3Ports {
  readonly http: Http;
  readonly clock: Clock;
  readonly random: Random;
}

const triesMax = 5;
/** S3 has 10,000 parts at most: this size allows 117 GiB, above the largest quota of etcd. */
const partBytes = 12 * 1_048_576;
/** Two of them fill a line; each one more delays what counts as progress. */
const partsAtOnce = 2;
const copyMaxBytes = 5 * 1024 ** 3;
/** S3 refuses signatures that differ more than 15 minutes from its clock. Below this difference the clock is not the cause. */
const skewMinMs = 5 * 60_000;
/** S3 dates an object by the start of its upload, in seconds. */
const uploadTimeSlackMs = 2_000;
const expiredCodes = new Set(["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"]);
/** How often at most the uploads of a store are listed: only those that are a day old are removed. */
const sweepEveryMs = 3_600_000;

type UploadCommand =
  | AbortMultipartUploadCommand
  | CompleteMultipartUploadCommand
  | CreateMultipartUploadCommand
  | PutObjectCommand
  | UploadPartCommand;

interface Ask extends Omit<HandlerOptions, "abortSignal"> {
  readonly action: string;
  /** "GET", for the hint about permissions. */
  readonly method: string;
  readonly key?: string;
  readonly signal?: AbortSignal | undefined;
  /** Called before a request is repeated because an earlier one may have succeeded without an answer. */
  readonly onRepeat?: () => void;
  /** True: the request has a condition, unless the store has none. */
  readonly conditional?: boolean;
}

export class S3Store implements Store {
  readonly name: string;
  readonly #options: S3Options;
  readonly #ports: S3Ports;
  readonly #time: AwsClock;
  readonly #client: S3Client;
  #region: string;
  /** The credentials of the last request, and those that the store refused. */
  #used: AwsCredentials | undefined;
  #refused: AwsCredentials | undefined;
  /** False once the store has answered that it has no conditional writes. */
  #conditional = true;
  #swept: { readonly prefix: string; readonly atMs: number } | undefined;

  constructor(options: S3Options, ports: S3Ports) {
    this.name = options.name;
    this.#options = options;
    this.#ports = ports;
    this.#region = options.region;
    this.#time = new AwsClock(ports.clock, { minMs: skewMinMs });
    const { timeoutMs = progressTimeoutMs } = options;
    const identity = {
      nowMs: () => this.#time.nowMs(),
      region: () => this.#region,
      credentials: async () => this.#used = await options.credentials(undefined, this.#refused),
    };
    this.#client = openS3Client(options, identity, new S3Handler({ ...ports, timeoutMs }));
  }

  async read(key: string, signal?: AbortSignal): Promise<StoredObject | undefined> {
    const action = `read "${key}"`;
    const object = await this.#get(action, key, signal);
    if (object === undefined) return undefined;
    let size: number;
    try {
      size = object.size ?? await this.#listedSize(key, signal);
    } catch (error) {
      await object.body.cancel().catch(() => {});
      throw error;
    }
    const { etag } = object;
    const stream = resumedBody(object.body, {
      size,
      cutsMax: triesMax,
      pause: (cuts) => this.#pause(cuts, signal),
      fail: (code, state, cause) => this.#error({ code, state, cause }, action),
      // Without an ETag the rest of another object might follow.
      reopen: async (offset) => {
        if (etag === undefined) return undefined;
        const rest = await this.#get(action, key, signal, { Range: `bytes=${offset}-`, IfMatch: etag });
        if (rest?.range === `bytes ${offset}-${size - 1}/${size}`) return rest.body;
        await rest?.body.cancel().catch(() => {});
        return undefined;
      },
    });
    return { size, stream };
  }

  async #get(action: string, key: string, signal?: AbortSignal, part: { Range?: string; IfMatch?: string } = {}) {
    const input = { ...this.#access, ...keyFields(this.#options), Key: key, ...part };
    const answer = await this.#ask(
      { action, method: "GET", key, signal },
      (options) => this.#client.send(new GetObjectCommand(input), options),
    );
    return answer && {
      body: answer.Body as unknown as ReadableStream<Uint8Array>,
      size: answer.ContentLength,
      etag: answer.ETag,
      range: answer.ContentRange,
    };
  }

  async info(key: string, signal?: AbortSignal): Promise<StoredInfo | undefined> {
    const action = `look at "${key}"`;
    const input = { ...this.#access, ...keyFields(this.#options), Key: key };
    const head = () =>
      this.#ask(
        { action, method: "HEAD", key, signal },
        (options) => this.#client.send(new HeadObjectCommand(input), options),
      );
    let answer = await head();
    if (answer === undefined) {
      // HEAD has no body, so a page of a proxy and a missing bucket look like a missing key. GET has one.
      const whole = await this.#get(action, key, signal);
      if (whole === undefined) return undefined;
      await whole.body.cancel();
      answer = await head();
    }
    if (answer === undefined) {
      throw this.#error({ code: "store_broken", state: "GET finds it and HEAD does not" }, action);
    }
    return {
      key,
      size: answer.ContentLength ?? await this.#listedSize(key, signal),
      modifiedMs: answer.LastModified?.getTime() ?? 0,
    };
  }

  /** For answers without Content-Length (proxies, chunked encoding). */
  async #listedSize(key: string, signal?: AbortSignal): Promise<number> {
    const listed = (await this.list(key, signal)).find((info) => info.key === key);
    if (listed !== undefined) return listed.size;
    const state = "it is there, but no listing has it and no answer has its length";
    throw this.#error({ code: "store_broken", state }, `read "${key}"`);
  }

  async list(prefix: string, signal?: AbortSignal): Promise<StoredInfo[]> {
    const action = `list "${prefix}"`;
    const found: StoredInfo[] = [];
    for await (const page of this.#pages(action, prefix, signal)) {
      // e2d writes no other keys, and a request for one of them would reach another key.
      found.push(...page.objects.filter(({ key }) => isPlainKey(key) && key.startsWith(prefix)));
    }
    return found.sort((a, b) => a.key < b.key ? -1 : 1);
  }

  async *#pages(action: string, prefix: string, signal?: AbortSignal): AsyncGenerator<ListingPage> {
    const tokens = new Set<string>();
    let token: string | undefined;
    for (;;) {
      const input = { ...this.#access, Prefix: prefix, EncodingType: "url" as const, ContinuationToken: token };
      let page: ListingPage = { objects: [] };
      const document = (text: string) => {
        page = this.#parse(action, "listing", text, parseListing);
        return "";
      };
      await this.#require(
        { action, method: "GET", document, signal },
        (options) => this.#client.send(new ListObjectsV2Command(input), options),
      );
      yield page;
      token = page.next;
      if (token === undefined) return;
      if (tokens.has(token)) throw this.#circle(action, tokens.size + 1);
      tokens.add(token);
    }
  }

  #circle(action: string, page: number): E2dError {
    const state = `its listing goes in a circle: page ${page} has a continuation token of a page before it`;
    return this.#error({ code: "store_broken", state, hint: endpointHint }, action);
  }

  #parse<T>(action: string, what: string, text: string, parse: (text: string) => T): T {
    try {
      return parse(text);
    } catch (cause) {
      const state = `its answer is no ${what}: ${(cause as Error).message}`;
      throw this.#error({ code: "store_broken", state, hint: endpointHint, cause }, action);
    }
  }

  async write(
    key: string,
    content: ReadableStream<Bytes>,
    { signal, onProgress, ifAbsent }: WriteOptions = {},
  ): Promise<{ size: number }> {
    const source = new ByteReader(content);
    const action = `write "${key}"`;
    const { clock } = this.#ports;
    const startMs = clock.monotonicMs();
    let begunMs = NaN;
    let repeated = false;
    let size = 0;
    const body = observe(source.rest(), (chunk) => size += chunk.length);
    const ask: Ask = {
      action,
      method: "PUT",
      key,
      signal,
      onHead: (headers) => {
        if (!Number.isNaN(begunMs)) return;
        begunMs = Date.parse(headers.get("date") ?? "") - (clock.monotonicMs() - startMs);
      },
      onRepeat: () => repeated = true,
      conditional: ifAbsent === true,
    };
    const upload = new Upload({
      client: this.#uploadClient(ask),
      partSize: partBytes,
      queueSize: partsAtOnce,
      params: {
        ...this.#access,
        ...keyFields(this.#options),
        ...objectFields(this.#options),
        Key: key,
        Body: body,
        ...(ifAbsent ? { IfNoneMatch: "*" } : {}),
      },
    });
    upload.on("httpUploadProgress", ({ loaded = 0 }) => onProgress?.(loaded));
    try {
      await upload.done();
      return { size };
    } catch (error) {
      await source.cancel(error).catch(() => {});
      signal?.throwIfAborted();
      // The answer to an earlier try was lost, and that try had succeeded: then the object is there.
      const lost = isE2dError(error, "store_upload_gone") || repeated && isE2dError(error, "store_exists");
      if (!lost) throw error;
      const there = await this.info(key, signal);
      if (there?.size !== size || !(there.modifiedMs >= begunMs - uploadTimeSlackMs)) throw error;
      return { size };
    }
  }

  /** What lib-storage uses of a client: each of its commands is retried, and aborted with the signal of the write. */
  #uploadClient(ask: Ask): S3Client {
    const send = async (command: UploadCommand) => {
      const make = () => {
        const { IfNoneMatch, ...input } = command.input as { IfNoneMatch?: string };
        const Command = command.constructor as new (input: object) => UploadCommand;
        return new Command({ ...input, ...(this.#conditional && IfNoneMatch ? { IfNoneMatch } : {}) });
      };
      const request = (options: HandlerOptions) => this.#client.send(make() as CreateMultipartUploadCommand, options);
      if (command instanceof AbortMultipartUploadCommand) return await this.#abortUpload(() => request({}));
      const isDocument = command instanceof CreateMultipartUploadCommand ||
        command instanceof CompleteMultipartUploadCommand;
      const document = (text: string) => text === "" ? text : this.#parse(ask.action, "upload", text, requireWhole);
      const answer = await this.#require({ ...ask, ...(isDocument ? { document } : {}) }, request);
      if (command instanceof CreateMultipartUploadCommand && !answer.UploadId) {
        const state = "its answer is no upload: it names no upload";
        throw this.#error({ code: "store_broken", state, hint: endpointHint }, ask.action);
      }
      return answer;
    };
    return Object.create(this.#client, { send: { value: send } });
  }

  /** Parts of an incomplete upload cost money until they are removed. `removeCutWrites` removes what this cannot. */
  async #abortUpload(request: () => Promise<unknown>): Promise<Record<string, never>> {
    await this.#ask({ action: "abort an upload", method: "DELETE" }, request).catch(() => {});
    return {};
  }

  /** An object above the limit of one request is copied in parts. */
  async copy(from: string, to: string, signal?: AbortSignal): Promise<boolean> {
    const action = `copy "${from}" to "${to}"`;
    const source = await this.info(from, signal);
    if (source === undefined) return false;
    const { copyMaxBytes: limit = copyMaxBytes } = this.#options;
    const target = { ...this.#access, ...keyFields(this.#options), Key: to };
    try {
      if (source.size > limit) {
        await this.#copyParts(action, source, target, signal);
        return true;
      }
      const input = { ...target, ...objectFields(this.#options), ...sourceFields(this.#options, from) };
      // Tags come with the source unless they are replaced.
      const tagging = input.Tagging === undefined ? {} : { TaggingDirective: "REPLACE" as const };
      const answer = await this.#ask(
        { action, method: "PUT", key: to, document: (text) => text, movedBytes: source.size, signal },
        (options) => this.#client.send(new CopyObjectCommand({ ...input, ...tagging }), options),
      );
      return answer !== undefined;
    } catch (error) {
      if (isE2dError(error, "store_unsupported")) return false;
      throw error;
    }
  }

  async #copyParts(
    action: string,
    source: StoredInfo,
    target: { Bucket: string; Key: string },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { copyMaxBytes: limit = copyMaxBytes } = this.#options;
    const ask: Ask = { action, method: "PUT", key: target.Key, document: (text) => text, signal };
    const { UploadId } = await this.#require(ask, (options) =>
      this.#client.send(
        new CreateMultipartUploadCommand({ ...target, ...objectFields(this.#options) }),
        options,
      ));
    const upload = { ...target, UploadId };
    try {
      const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
      for (let at = 0; at < source.size; at += limit) {
        const PartNumber = Parts.length + 1;
        const end = Math.min(at + limit, source.size) - 1;
        const range = { ...sourceFields(this.#options, source.key), CopySourceRange: `bytes=${at}-${end}`, PartNumber };
        const part = await this.#require(
          { ...ask, movedBytes: end - at },
          (options) => this.#client.send(new UploadPartCopyCommand({ ...upload, ...range }), options),
        );
        Parts.push({ PartNumber, ETag: part.CopyPartResult?.ETag });
      }
      await this.#require(
        ask,
        (options) =>
          this.#client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }), options),
      );
    } catch (error) {
      await this.#abortUpload(() => this.#client.send(new AbortMultipartUploadCommand(upload)));
      throw error;
    }
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    await this.#ask(
      { action: `remove "${key}"`, method: "DELETE", key, signal },
      (options) => this.#client.send(new DeleteObjectCommand({ ...this.#access, Key: key }), options),
    );
  }

  async removeCutWrites(prefix: string, beforeMs: number, signal?: AbortSignal): Promise<number> {
    const nowMs = this.#ports.clock.monotonicMs();
    const { prefix: swept, atMs } = this.#swept ?? { prefix: undefined, atMs: 0 };
    if (swept !== undefined && prefix.startsWith(swept) && nowMs - atMs < sweepEveryMs) return 0;
    const action = `list the uploads of "${prefix}"`;
    const old: CutUpload[] = [];
    try {
      for await (const { uploads } of this.#uploadPages(action, prefix, signal)) {
        old.push(...uploads.filter(({ key, begunMs }) => key.startsWith(prefix) && begunMs < beforeMs));
      }
    } catch (error) {
      // Some stores have no such listing, and credentials that may write need not be allowed to list uploads.
      if (!isE2dError(error, "store_unsupported") && !isE2dError(error, "store_forbidden")) throw error;
    }
    for (const { key, uploadId } of old) {
      const input = { ...this.#access, Key: key, UploadId: uploadId };
      await this.#ask(
        { action: `remove an upload of "${key}"`, method: "DELETE", key, signal },
        (options) => this.#client.send(new AbortMultipartUploadCommand(input), options),
      ).catch((error) => {
        // Its writer, or another node, has ended it.
        if (!isE2dError(error, "store_upload_gone")) throw error;
      });
    }
    this.#swept = { prefix, atMs: nowMs };
    return old.length;
  }

  async *#uploadPages(action: string, prefix: string, signal?: AbortSignal): AsyncGenerator<UploadsPage> {
    const seen = new Set<string>();
    let next: UploadsPage["next"];
    for (;;) {
      const markers = next === undefined ? {} : { KeyMarker: next.key, UploadIdMarker: next.uploadId };
      const input = { ...this.#access, Prefix: prefix, EncodingType: "url" as const, ...markers };
      let page: UploadsPage = { uploads: [] };
      const document = (text: string) => {
        page = this.#parse(action, "listing", text, parseUploads);
        return "";
      };
      await this.#require(
        { action, method: "GET", document, signal },
        (options) => this.#client.send(new ListMultipartUploadsCommand(input), options),
      );
      yield page;
      next = page.next;
      if (next === undefined) return;
      const mark = `${next.key}\n${next.uploadId}`;
      if (seen.has(mark)) throw this.#circle(action, seen.size + 1);
      seen.add(mark);
    }
  }

  get #access() {
    return accessFields(this.#options);
  }

  async #require<T>(ask: Ask, send: (options: HandlerOptions) => Promise<T>): Promise<T> {
    const answer = await this.#ask(ask, send);
    if (answer !== undefined) return answer;
    const hint = "check the bucket and the endpoint";
    throw this.#error({ code: "store_missing", state: "the store knows nothing of it", hint }, ask.action);
  }

  /** Undefined: the key is absent. `send` makes a new command for each try. */
  async #ask<T>(ask: Ask, send: (options: HandlerOptions) => Promise<T>): Promise<T | undefined> {
    if (ask.key !== undefined && !isPlainKey(ask.key)) {
      throw this.#error({ code: "store_broken", state: "it is no plain name" }, `use key ${JSON.stringify(ask.key)}`);
    }
    let failure: S3Failure | undefined;
    for (let attempt = 0; attempt < triesMax; attempt++) {
      if (attempt > 0) await this.#pause(attempt, ask.signal);
      ask.signal?.throwIfAborted();
      try {
        return await this.#adapted(ask, send);
      } catch (error) {
        ask.signal?.throwIfAborted();
        if (isE2dError(error)) throw error;
        failure = explainFailure(error, ask);
        if (failure === undefined) return undefined;
        if (!failure.passing) break;
        ask.onRepeat?.();
      }
    }
    throw this.#error(failure!, ask.action);
  }

  async #pause(attempt: number, signal?: AbortSignal): Promise<void> {
    await this.#ports.clock.sleep(200 * 2 ** attempt * (0.5 + this.#ports.random.float()), signal);
  }

  /** Repeats a request at once with what its refusal tells about the store: its clock, its region, an expired key. */
  async #adapted<T>({ signal, ...ask }: Ask, send: (options: HandlerOptions) => Promise<T>): Promise<T> {
    for (let left = 3;; left--) {
      try {
        return await send({ ...ask, ...withoutUndefined({ abortSignal: signal }) });
      } catch (error) {
        if (left === 0 || !(error instanceof S3Refusal) || !this.#adapt(error, ask.conditional)) throw error;
      }
    }
  }

  /** True: a new request may succeed. */
  #adapt({ status, s3Code = "", headers, region }: S3Refusal, conditional = false): boolean {
    if ((status === 403 || status === 400) && this.#time.adopt(headers.get("date")) !== undefined) return true;
    if (region !== undefined && region !== this.#region) {
      this.#region = region;
      return true;
    }
    if (expiredCodes.has(s3Code) && this.#used?.accessKeyId !== this.#refused?.accessKeyId) {
      this.#refused = this.#used;
      return true;
    }
    if (status !== 501 || !conditional || !this.#conditional) return false;
    this.#conditional = false;
    return true;
  }

  #error({ code, state, hint, cause }: Omit<S3Failure, "passing">, action: string): E2dError {
    return new E2dError(code, `Cannot ${action} in ${this.name}: ${state}`, {
      ...withoutUndefined({ hint }),
      ...withoutUndefined({ cause }),
    });
  }
}
