/** Installs an etcd into the cache, from an official release or from e2d's own executable: completely or not at all. */
import { E2dError, isE2dError } from "../../errors.ts";
import type { Files, Http, Logger, Processes, Staging } from "../../ports.ts";
import { type CacheEntry, type CacheNote, lookUp, notePath, noteText } from "./cache.ts";
import { download, type DownloadPorts, type DownloadProgress, shownUrl } from "./download.ts";
import { programVersion } from "./program.ts";
import { pinnedReleaseSum, type Platform, type Release, release, sumInList } from "./release.ts";
import { type Program, programs, unpack, type UnpackedFiles, writeFile } from "./unpack.ts";
import { claimWorkspace, type Workspace } from "./workspace.ts";

export interface InstallRequest {
  version: string;
  /** `$XDG_CACHE_HOME/e2d/etcd`. */
  cacheDir: string;
  platform: Platform;
  /** Base address of the releases; undefined: the official one. */
  mirror?: string | undefined;
  /** Default 30 s. */
  stallTimeoutMs?: number | undefined;
  /** Default 4. */
  triesMax?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

export interface InstallPorts extends Omit<DownloadPorts, "files" | "staging"> {
  files: Files;
  staging: Staging;
  processes: Processes;
  log: Logger;
}

/** Programs that `deno task compile --embed-etcd` put into the executable, each as `<program>.gz`. */
export interface EmbeddedEtcd {
  /** A folder of the executable's virtual file system. */
  folder: string;
  version: string;
  /** Sizes and checksums of the unpacked programs. */
  files: UnpackedFiles;
}

const defaults = { stallTimeoutMs: 30_000, triesMax: 4 };
/** An archive has about 25 MB. */
const archiveMaxBytes = 268_435_456;
const sumListMaxBytes = 65_536;

/** Downloads, verifies and unpacks one release. Throws what `download` and `unpack` throw, and as {@link publish}. */
export async function installRelease(request: InstallRequest, ports: InstallPorts): Promise<CacheEntry> {
  const wanted = release(request.version, request.platform, request.mirror);
  const stallTimeoutMs = request.stallTimeoutMs ?? defaults.stallTimeoutMs;
  const sha256 = pinnedReleaseSum(wanted) ?? await publishedSum(wanted, stallTimeoutMs, request.signal, ports);
  const workspace = await claimWorkspace(request.cacheDir, `.download-${wanted.archive}`, ports);
  return await inWorkspace(workspace, async () => {
    const { signal, onProgress } = request;
    const triesMax = request.triesMax ?? defaults.triesMax;
    const folder = workspace.path;
    const archive = await download(
      { url: wanted.url, sha256, folder, sizeMaxBytes: archiveMaxBytes, stallTimeoutMs, triesMax, signal, onProgress },
      ports,
    );
    return await publish(workspace, `${request.cacheDir}/${request.version}`, request, ports, async (stage) => {
      const stream = await ports.staging.read(archive);
      if (stream === undefined) throw new E2dError("file_read", `Cannot read "${archive}": it disappeared`);
      const files = await unpack({ archive: stream, sha256, folder: stage, shown: shownUrl(wanted.url) }, ports);
      return { version: request.version, from: shownUrl(wanted.url), files };
    });
  });
}

/** Unpacks the embedded programs into the cache, unless they are there already. */
export async function installEmbedded(
  embedded: EmbeddedEtcd,
  cacheDir: string,
  ports: InstallPorts,
): Promise<CacheEntry> {
  const { version } = embedded;
  const name = `embedded-${version}-${embedded.files.etcd.sha256.slice(0, 12)}`;
  const target = `${cacheDir}/${name}`;
  const present = await lookUp(target, version, ports.files);
  if (present.kind === "found") return present.entry;
  if (present.kind === "damaged") await ports.staging.remove(target);
  const workspace = await claimWorkspace(cacheDir, `.unpack-${name}`, ports);
  return await inWorkspace(workspace, () =>
    publish(workspace, target, { version }, ports, async (stage) => {
      for (const program of programs) {
        const expected = embedded.files[program];
        if (expected === undefined) continue;
        await unpackEmbedded(program, expected.sha256, { from: embedded.folder, to: stage }, ports);
      }
      return { version, from: "embedded", files: embedded.files };
    }));
}

async function unpackEmbedded(
  program: Program,
  sha256: string,
  { from, to }: { from: string; to: string },
  { staging }: InstallPorts,
): Promise<void> {
  const damaged = (state: string, cause?: unknown) =>
    new E2dError("checksum_mismatch", `Cannot unpack embedded "${program}": ${state}`, {
      cause,
      hint: "this executable is damaged: install e2d again",
    });
  const packed = await staging.read(`${from}/${program}.gz`);
  if (packed === undefined) throw damaged("it is missing");
  let sum: string;
  try {
    sum = (await writeFile(`${to}/${program}`, packed.pipeThrough(new DecompressionStream("gzip")), staging)).sha256;
  } catch (error) {
    throw isE2dError(error) ? error : damaged("its gzip data is truncated or damaged", error);
  }
  if (sum !== sha256) throw damaged(`its SHA-256 is ${sum}, not ${sha256}`);
}

/**
 * Fills a stage folder, runs its etcd once, and moves it into the cache. Throws E2dError `etcd_version_differs`,
 * `cache_damaged`, or what `fill` throws.
 */
async function publish(
  workspace: Workspace,
  target: string,
  { version, signal }: { version: string; signal?: AbortSignal | undefined },
  ports: InstallPorts,
  fill: (stage: string) => Promise<CacheNote>,
): Promise<CacheEntry> {
  const { files, staging } = ports;
  const stage = `${workspace.path}/stage`;
  await staging.remove(stage);
  await files.makeDirectory(stage, { mode: 0o755 });
  let note: CacheNote;
  try {
    note = await fill(stage);
  } catch (error) {
    // The archive may stay for the next attempt; partly unpacked files must not take its space.
    await staging.remove(stage);
    throw error;
  }
  await files.writeAtomic(notePath(stage), noteText(note), { mode: 0o644 });
  const actual = await programVersion(`${stage}/etcd`, ports, signal);
  if (actual !== version) {
    throw new E2dError("etcd_version_differs", `Cannot use etcd from "${note.from}": it is ${actual}, not ${version}`, {
      hint: "the mirror has another version under this name",
    });
  }
  // "taken": another e2d has installed the same release meanwhile.
  const outcome = await staging.moveFolder(stage, target);
  const entry = await lookUp(target, version, files);
  if (entry.kind === "found") return entry.entry;
  const state = entry.kind === "damaged" ? entry.state : `it is ${outcome}`;
  throw new E2dError("cache_damaged", `Cannot use cache folder "${target}": ${state}`, {
    hint: `remove the folder and run the command again: rm -r ${target}`,
  });
}

/** After these errors the next attempt continues the download; after all others nothing is left behind. */
const resumable = ["download_stalled", "download_interrupted", "mirror_unreachable", "mirror_busy"];

async function inWorkspace<T>(workspace: Workspace, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    if (!isE2dError(error) || resumable.includes(error.code)) await workspace.leave();
    else await workspace.remove();
    throw error;
  }
  await workspace.remove();
  return result;
}

/** The checksum of a release that is not pinned, from the release's own list. Throws E2dError `checksum_unknown`. */
async function publishedSum(
  wanted: Release,
  timeoutMs: number,
  outer: AbortSignal | undefined,
  { http, clock, log }: { http: Http; clock: InstallPorts["clock"]; log: Logger },
): Promise<string> {
  const shown = shownUrl(wanted.sumsUrl);
  const done = new AbortController();
  const late = new AbortController();
  clock.sleep(timeoutMs, done.signal).then(() => late.abort(new Error(`no answer in ${timeoutMs} ms`)), () => {});
  const signal = outer ? AbortSignal.any([outer, late.signal]) : late.signal;
  let list: string;
  try {
    const response = await http(wanted.sumsUrl, { signal, redirect: "follow" });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`the server answers ${response.status}`);
    }
    list = await readBounded(response, sumListMaxBytes);
  } catch (cause) {
    outer?.throwIfAborted();
    throw new E2dError("checksum_unknown", `Cannot verify etcd ${wanted.version}: "${shown}" cannot be read`, {
      cause,
      hint: "check the version; e2d itself has the checksums of most 3.5 and 3.6 releases",
    });
  } finally {
    done.abort();
  }
  const sum = sumInList(list, wanted.archive);
  if (sum === undefined) {
    throw new E2dError("checksum_unknown", `Cannot verify etcd ${wanted.version}: "${shown}" lacks ${wanted.archive}`, {
      hint: "this release has no archive for this platform, or the mirror is incomplete",
    });
  }
  log.warn("the checksum of this etcd version is not pinned in e2d and was taken from the release itself", {
    version: wanted.version,
    sums: shown,
  });
  return sum;
}

async function readBounded(response: Response, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > maxBytes) throw new Error(`it has more than ${maxBytes} bytes`);
  }
  return text;
}
