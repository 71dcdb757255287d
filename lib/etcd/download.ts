/**
 * Fetches one file over HTTP into a folder that may hold the beginning of it from an earlier try. The sum is taken as
 * the bytes arrive; the file counts only when it matches. Ends by itself when no bytes come any more.
 */
import type { Hash } from "node:crypto";
import { E2dError, isE2dError } from "../errors.ts";
import type { AppendFile, Clock, Files, Http, Staging } from "../ports.ts";

export interface DownloadRequest {
  url: string;
  /** Lower-case hexadecimal SHA-256 that the file must have. */
  sha256: string;
  /** A folder that nobody else writes: the file is `archive` in it, what it came from is `origin.json`. */
  folder: string;
  sizeMaxBytes: number;
  /** A mirror that sends next to nothing for this long has stalled. */
  stallTimeoutMs: number;
  /** Tries in a row that bring nothing new before it gives up. At least 1. */
  triesMax: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

export interface DownloadProgress {
  /** Bytes on the disk, those of an earlier try included. */
  receivedBytes: number;
  /** Undefined while the server has not said. */
  totalBytes: number | undefined;
}

export interface DownloadPorts {
  http: Http;
  clock: Clock;
  files: Pick<Files, "readText" | "writeAtomic">;
  staging: Pick<Staging, "read" | "append">;
}

/** Less than this in one stall time-out is no progress: it would take weeks. */
const progressMinBytes = 1024;
const retryDelayMs = 500;
const retryable = ["download_stalled", "download_interrupted", "mirror_unreachable", "mirror_busy"];

/** The address as messages may show it: without a password that a mirror's address may carry. */
export function shownUrl(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null || (parsed.username === "" && parsed.password === "")) return url;
  parsed.username = "";
  parsed.password = "";
  return parsed.href;
}

/**
 * Resolves with the path of the whole, checked file. Throws E2dError `release_missing` (404), `mirror_status`,
 * `mirror_busy` (429, 5xx), `mirror_unreachable`, `download_stalled`, `download_interrupted`, `download_too_big`,
 * `checksum_mismatch`, or what the disk says (`disk_full`). What has arrived stays in the folder, for the next try.
 */
export async function download(request: DownloadRequest, ports: DownloadPorts): Promise<string> {
  const file = await PartialFile.open(request, ports);
  try {
    // A process that was stopped after the last byte left a whole file.
    if (file.size > 0 && file.sum() === request.sha256) return file.path;
    const resumed = file.size > 0;
    await fetchAll(request, ports, file);
    if (file.sum() === request.sha256) {
      await file.sync();
      return file.path;
    }
    // The bytes of an earlier try may be to blame: what counts is a download in one piece.
    if (!resumed) throw await mismatch(request, file);
    await file.restart();
    await fetchAll(request, ports, file);
    if (file.sum() !== request.sha256) throw await mismatch(request, file);
    await file.sync();
    return file.path;
  } finally {
    file.close();
  }
}

async function mismatch(request: DownloadRequest, file: PartialFile): Promise<E2dError> {
  const found = file.sum();
  await file.restart();
  return new E2dError(
    "checksum_mismatch",
    `Cannot use "${shownUrl(request.url)}": its SHA-256 is ${found}, not ${request.sha256}`,
    { hint: "the mirror serves another file or a proxy changes it; nothing was unpacked or run" },
  );
}

async function fetchAll(request: DownloadRequest, ports: DownloadPorts, file: PartialFile): Promise<void> {
  for (let tries = 1;; tries++) {
    const before = file.size;
    try {
      return await fetchRest(request, ports, file);
    } catch (error) {
      request.signal?.throwIfAborted();
      if (!retryable.some((code) => isE2dError(error, code))) throw error;
      if (file.size - before >= progressMinBytes * 64) tries = 1;
      if (tries >= request.triesMax) throw error;
      await ports.clock.sleep(retryDelayMs * tries, request.signal);
    }
  }
}

/** One request: from where the file ends to the end of what the server has. */
async function fetchRest(request: DownloadRequest, ports: DownloadPorts, file: PartialFile): Promise<void> {
  const stop = new AbortController();
  const signal = request.signal ? AbortSignal.any([stop.signal, request.signal]) : stop.signal;
  const watching = watchProgress(request, ports, file, stop);
  let answered = false;
  try {
    const from = file.resumable() ? file.size : 0;
    const headers: Record<string, string> = { "accept-encoding": "identity", accept: "application/octet-stream, */*" };
    if (from > 0) Object.assign(headers, { range: `bytes=${from}-`, "if-range": file.etag! });
    const response = await ports.http(request.url, { headers, signal, redirect: "follow" });
    answered = true;
    const totalBytes = await acceptResponse(request, response, file, from);
    if (totalBytes !== undefined && totalBytes > request.sizeMaxBytes) throw tooBig(request, totalBytes);
    request.onProgress?.({ receivedBytes: file.size, totalBytes });
    for await (const chunk of response.body ?? []) {
      signal.throwIfAborted();
      if (file.size + chunk.length > request.sizeMaxBytes) throw tooBig(request, file.size + chunk.length);
      await file.append(chunk);
      request.onProgress?.({ receivedBytes: file.size, totalBytes });
    }
    if (totalBytes !== undefined && file.size < totalBytes) {
      throw interrupted(request, file, `it ended after ${file.size} of ${totalBytes} bytes`);
    }
  } catch (error) {
    if (stop.signal.aborted) throw stop.signal.reason;
    if (request.signal?.aborted || isE2dError(error)) throw error;
    if (answered) throw interrupted(request, file, `it broke off after ${file.size} bytes`, error);
    throw new E2dError("mirror_unreachable", `Cannot download "${shownUrl(request.url)}": no answer`, {
      cause: error,
      hint: "check the network and E2D_ETCD_MIRROR, or pass a folder with etcd in it with --etcd-dir",
    });
  } finally {
    stop.abort();
    await watching;
  }
}

/** Makes the file fit what the server is going to send; gives the size of the whole when the server says it. */
async function acceptResponse(
  request: DownloadRequest,
  response: Response,
  file: PartialFile,
  from: number,
): Promise<number | undefined> {
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  if (response.status === 206 && range !== null && Number(range[1]) === from && from > 0) {
    return Number(range[2]);
  }
  if (response.status === 206 || response.status === 416) {
    // The server has another idea of the file than ours: begin again.
    await response.body?.cancel();
    await file.restart();
    throw interrupted(request, file, `the mirror cannot go on at byte ${from}`);
  }
  if (response.status !== 200) {
    await response.body?.cancel();
    throw statusError(request, response.status);
  }
  const length = response.headers.get("content-length");
  const decoded = response.headers.has("content-encoding");
  await file.restart(response.headers.get("etag") ?? undefined);
  return length === null || decoded || !/^\d{1,15}$/.test(length) ? undefined : Number(length);
}

function statusError(request: DownloadRequest, status: number): E2dError {
  const action = `Cannot download "${shownUrl(request.url)}": the server answers ${status}`;
  if (status === 404 || status === 410) {
    return new E2dError("release_missing", action, {
      hint: "check the version, and that E2D_ETCD_MIRROR holds v<version>/etcd-v<version>-linux-<arch>.tar.gz",
    });
  }
  if (status === 408 || status === 429 || status >= 500) {
    return new E2dError("mirror_busy", action, {
      hint: "run it again later, or set E2D_ETCD_MIRROR to another mirror",
    });
  }
  return new E2dError("mirror_status", action, { hint: "check E2D_ETCD_MIRROR and what the mirror asks for" });
}

const tooBig = (request: DownloadRequest, size: number) =>
  new E2dError(
    "download_too_big",
    `Cannot download "${shownUrl(request.url)}": it has ${size} bytes, at most ${request.sizeMaxBytes} allowed`,
    { hint: "that is not an etcd release: check E2D_ETCD_MIRROR" },
  );

const interrupted = (request: DownloadRequest, file: PartialFile, state: string, cause?: unknown) =>
  new E2dError("download_interrupted", `Cannot download "${shownUrl(request.url)}": ${state}`, {
    cause,
    hint: file.resumable() ? "run it again: it goes on where it stopped" : "run it again",
  });

/** Aborts `stop` when a whole stall time-out brings next to nothing. Resolves when `stop` is aborted. */
async function watchProgress(
  request: DownloadRequest,
  { clock }: DownloadPorts,
  file: PartialFile,
  stop: AbortController,
): Promise<void> {
  try {
    for (;;) {
      const before = file.receivedBytes;
      await clock.sleep(request.stallTimeoutMs, stop.signal);
      if (file.receivedBytes - before >= progressMinBytes) continue;
      stop.abort(
        new E2dError(
          "download_stalled",
          `Cannot download "${shownUrl(request.url)}": nothing came for ${request.stallTimeoutMs} ms, ` +
            `after ${file.size} bytes`,
          { hint: "check the network, or set E2D_ETCD_MIRROR to another mirror; running it again goes on from there" },
        ),
      );
      return;
    }
  } catch {
    // The sleep was cut short: the request is over.
  }
}

/** The beginning of a download on the disk, with the running sum of its bytes and the tag of the file it is from. */
class PartialFile {
  readonly path: string;
  etag: string | undefined;
  /** Bytes that came over the network in this process. */
  receivedBytes = 0;
  readonly #originPath: string;
  readonly #url: string;
  readonly #file: AppendFile;
  readonly #ports: DownloadPorts;
  readonly #createHash: () => Hash;
  #hash: Hash;

  private constructor(request: DownloadRequest, ports: DownloadPorts, file: AppendFile, createHash: () => Hash) {
    this.path = `${request.folder}/archive`;
    this.#originPath = `${request.folder}/origin.json`;
    this.#url = shownUrl(request.url);
    this.#file = file;
    this.#ports = ports;
    this.#createHash = createHash;
    this.#hash = createHash();
  }

  static async open(request: DownloadRequest, ports: DownloadPorts): Promise<PartialFile> {
    // Loaded here and not at the top: most commands never download, and this costs 20 ms.
    const { createHash } = await import("node:crypto");
    const file = await ports.staging.append(`${request.folder}/archive`, { mode: 0o600 });
    const partial = new PartialFile(request, ports, file, () => createHash("sha256"));
    try {
      partial.etag = strongTag(parseOrigin(await ports.files.readText(partial.#originPath), partial.#url));
      if (partial.size > request.sizeMaxBytes || (partial.size > 0 && partial.etag === undefined)) {
        await partial.restart();
      }
      if (partial.size > 0) {
        for await (const chunk of await ports.staging.read(partial.path) ?? []) partial.#hash.update(chunk);
      }
      return partial;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  get size(): number {
    return this.#file.size;
  }

  /** True when the next request can ask for the rest alone. */
  resumable(): boolean {
    return this.size > 0 && this.etag !== undefined;
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.#file.append(chunk);
    this.#hash.update(chunk);
    this.receivedBytes += chunk.length;
  }

  /** Empties the file; what comes next has this tag. */
  async restart(etag?: string): Promise<void> {
    await this.#file.empty();
    this.#hash = this.#createHash();
    this.etag = strongTag(etag);
    await this.#ports.files.writeAtomic(this.#originPath, JSON.stringify({ url: this.#url, etag: this.etag }));
  }

  sum(): string {
    return this.#hash.copy().digest("hex");
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }
}

/** Only a strong tag promises the same bytes (RFC 9110, section 13.1.5). */
function strongTag(etag: string | undefined): string | undefined {
  return etag !== undefined && /^"[\x21\x23-\x7e]{1,256}"$/.test(etag) ? etag : undefined;
}

/** The tag that an earlier try wrote down for this very address; anything else means: begin again. */
function parseOrigin(text: string | undefined, url: string): string | undefined {
  try {
    const origin: unknown = JSON.parse(text ?? "null");
    if (typeof origin !== "object" || origin === null) return undefined;
    const { url: from, etag } = origin as { url?: unknown; etag?: unknown };
    return from === url && typeof etag === "string" ? etag : undefined;
  } catch {
    return undefined;
  }
}
