/** Puts one etcd into the cache, from the official release or from e2d's own executable: whole, or not at all. */
import { E2dError, isE2dError } from "../errors.ts";
import type { Files, Http, Logger, Processes, Staging } from "../ports.ts";
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
  /** Base address of the releases; the official one without it. */
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
  /** A folder in the executable's own file system. */
  folder: string;
  version: string;
  /** Sizes and sums of the programs unpacked. */
  files: UnpackedFiles;
}

const defaults = { stallTimeoutMs: 30_000, triesMax: 4 };
/** A release is about 25 MB packed. */
const archiveMaxBytes = 268_435_456;
const sumListMaxBytes = 65_536;

/** Downloads, checks, unpacks and publishes one release. */
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
      if (stream === undefined) throw new E2dError("file_read", `Cannot read "${archive}": it is gone`);
      const files = await unpack({ archive: stream, sha256, folder: stage, shown: shownUrl(wanted.url) }, ports);
      return { version: request.version, from: shownUrl(wanted.url), files };
    });
  });
}

/** Unpacks the embedded programs, once for each executable that has others in it. */
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
    throw isE2dError(error) ? error : damaged("it is not whole gzip data", error);
  }
  if (sum !== sha256) throw damaged(`its SHA-256 is ${sum}, not ${sha256}`);
}

/** Fills a stage folder, runs what is in it once, and gives it its place in the cache. */
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
    // The archive may stay for another try; what was half unpacked must not take its room.
    await staging.remove(stage);
    throw error;
  }
  await files.writeAtomic(notePath(stage), noteText(note), { mode: 0o644 });
  const says = await programVersion(`${stage}/etcd`, ports, signal);
  if (says !== version) {
    throw new E2dError("etcd_version_differs", `Cannot use etcd from "${note.from}": it says ${says}, not ${version}`, {
      hint: "the mirror holds another version under this name",
    });
  }
  // "taken": another e2d was faster with the same release, which is as good as ours.
  const outcome = await staging.moveFolder(stage, target);
  const entry = await lookUp(target, version, files);
  if (entry.kind === "found") return entry.entry;
  const state = entry.kind === "damaged" ? entry.state : `it is ${outcome}`;
  throw new E2dError("cache_damaged", `Cannot use cache folder "${target}": ${state}`, {
    hint: "remove the folder and run it again",
  });
}

/** What can be gone on with stays for the next try; all else leaves nothing behind. */
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

/** The sum of a release that is not pinned, from the list that the release itself brings. */
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
    throw new E2dError("checksum_unknown", `Cannot check etcd ${wanted.version}: "${shown}" cannot be read`, {
      cause,
      hint: "check the version; e2d itself knows the sums of most 3.5 and 3.6 releases",
    });
  } finally {
    done.abort();
  }
  const sum = sumInList(list, wanted.archive);
  if (sum === undefined) {
    throw new E2dError("checksum_unknown", `Cannot check etcd ${wanted.version}: "${shown}" lacks ${wanted.archive}`, {
      hint: "this release has no archive for this machine, or the mirror is not complete",
    });
  }
  log.warn("this etcd version is not pinned in e2d: its sum comes from the release itself", {
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
