/**
 * Downloads one file over HTTP, continuing what an earlier attempt left in the folder. The file counts only when its
 * SHA-256 matches. A download that stalls ends with an error.
 */
import { E2dError, isE2dError } from "../../errors.ts";
import type { Clock, Http } from "../../ports.ts";
import { PartialFile, type PartialFilePorts } from "./partial_file.ts";

export interface DownloadRequest {
  url: string;
  /** Lower-case hexadecimal SHA-256 that the file must have. */
  sha256: string;
  /** No other process writes to it. The file in it is `archive`. */
  folder: string;
  sizeMaxBytes: number;
  /** A download that makes no progress for this long has stalled. */
  stallTimeoutMs: number;
  /** Consecutive attempts without progress before the download fails. At least 1. */
  triesMax: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

export interface DownloadProgress {
  /** Bytes on disk, including those of earlier attempts. */
  receivedBytes: number;
  /** Undefined until the server has reported it. */
  totalBytes: number | undefined;
}

export interface DownloadPorts extends PartialFilePorts {
  http: Http;
  clock: Clock;
}

/** Fewer bytes in one stall time-out are not progress: the download would take weeks. */
const progressMinBytes = 1024;
const retryDelayMs = 500;
const retryable = ["download_stalled", "download_interrupted", "mirror_unreachable", "mirror_busy"];

/** The URL for messages, without the user name and password that a mirror's URL may contain. */
export function shownUrl(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null || (parsed.username === "" && parsed.password === "")) return url;
  parsed.username = "";
  parsed.password = "";
  return parsed.href;
}

/**
 * Resolves with the path of the complete, verified file. Throws E2dError `release_missing` (404), `mirror_status`,
 * `mirror_busy` (429, 5xx), `mirror_unreachable`, `download_stalled`, `download_interrupted`, `download_too_big`,
 * `checksum_mismatch`, or the error of the disk (`disk_full`). Received bytes stay in the folder for the next attempt.
 */
export async function download(request: DownloadRequest, ports: DownloadPorts): Promise<string> {
  const file = await PartialFile.open({ ...request, shownUrl: shownUrl(request.url) }, ports);
  try {
    // The file is complete when an earlier process was stopped after the last byte.
    if (file.size > 0 && file.sum() === request.sha256) return file.path;
    const resumed = file.size > 0;
    await fetchAll(request, ports, file);
    if (file.sum() === request.sha256) {
      await file.sync();
      return file.path;
    }
    // The bytes of an earlier attempt may be wrong, so the verdict is that of one uninterrupted download.
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
    { hint: "the mirror serves another file, or a proxy changes it; nothing was unpacked or run" },
  );
}

async function fetchAll(request: DownloadRequest, ports: DownloadPorts, file: PartialFile): Promise<void> {
  for (let attempt = 1;; attempt++) {
    const before = file.size;
    try {
      return await fetchRest(request, ports, file);
    } catch (error) {
      request.signal?.throwIfAborted();
      if (!retryable.some((code) => isE2dError(error, code))) throw error;
      if (file.size - before >= progressMinBytes * 64) attempt = 1;
      if (attempt >= request.triesMax) throw error;
      await ports.clock.sleep(retryDelayMs * attempt, request.signal);
    }
  }
}

/** One request, for everything after the end of the partial file. */
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
      throw interrupted(request, file, `the answer ended after ${file.size} of ${totalBytes} bytes`);
    }
  } catch (error) {
    if (stop.signal.aborted) throw stop.signal.reason;
    if (request.signal?.aborted || isE2dError(error)) throw error;
    if (answered) throw interrupted(request, file, `the connection was lost after ${file.size} bytes`, error);
    throw new E2dError("mirror_unreachable", `Cannot download "${shownUrl(request.url)}": no answer`, {
      cause: error,
      hint: "check the network and E2D_ETCD_MIRROR, or pass a folder that has etcd with --etcd-dir",
    });
  } finally {
    stop.abort();
    await watching;
  }
}

/** Prepares the file for the body that follows. Returns the size of the complete file if the server reports it. */
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
    // The server's file is not the one that the partial file came from: begin again.
    await response.body?.cancel();
    await file.restart();
    throw interrupted(request, file, `the mirror cannot continue at byte ${from}`);
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
      hint: "check the version, and that E2D_ETCD_MIRROR has v<version>/etcd-v<version>-linux-<arch>.tar.gz",
    });
  }
  if (status === 408 || status === 429 || status >= 500) {
    return new E2dError("mirror_busy", action, {
      hint: "run the command again later, or set E2D_ETCD_MIRROR to another mirror",
    });
  }
  return new E2dError("mirror_status", action, {
    hint: "check E2D_ETCD_MIRROR and the credentials that the mirror requires",
  });
}

const tooBig = (request: DownloadRequest, size: number) =>
  new E2dError(
    "download_too_big",
    `Cannot download "${shownUrl(request.url)}": it has ${size} bytes, at most ${request.sizeMaxBytes} are allowed`,
    { hint: "that is not an etcd release: check E2D_ETCD_MIRROR" },
  );

const interrupted = (request: DownloadRequest, file: PartialFile, state: string, cause?: unknown) =>
  new E2dError("download_interrupted", `Cannot download "${shownUrl(request.url)}": ${state}`, {
    cause,
    hint: file.resumable() ? "run the command again: it continues the download" : "run the command again",
  });

/** Aborts `stop` when a stall time-out passes without progress. Resolves when `stop` is aborted. */
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
          `Cannot download "${shownUrl(request.url)}": no data for ${request.stallTimeoutMs} ms after ` +
            `${file.size} bytes`,
          {
            hint:
              "check the network, or set E2D_ETCD_MIRROR to another mirror, then run the command again: it continues the download",
          },
        ),
      );
      return;
    }
  } catch {
    // The sleep was aborted: the request is over.
  }
}
