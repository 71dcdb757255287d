/**
 * Finds the etcd that a node runs, or installs one. In this order: the folder that the operator names, the programs in
 * e2d's own executable, the caches, PATH, the official release. No downloaded program is run before its checksum was
 * verified.
 */
import { E2dError } from "../../errors.ts";
import type { Files, Logger, Processes, Staging } from "../../ports.ts";
import { type CacheEntry, listCache, lookUp } from "./cache.ts";
import { type DownloadPorts, shownUrl } from "./download.ts";
import { type EmbeddedEtcd, installEmbedded, installRelease, type InstallRequest } from "./install.ts";
import { programVersion } from "./program.ts";
import { release } from "./release.ts";
import { pinnedVersions } from "./pinned_sums.ts";
import { defaultVersion, isSupported, parseSupportedVersion, supportedRange } from "../version.ts";
import { compareVersions, parseVersion } from "../../facts/etcd_version.ts";

/** `cache` belongs to this user; `installed` is the folder that install.sh fills for all users. */
export type EtcdSource = "etcd-dir" | "embedded" | "cache" | "installed" | "path" | "download";

/** Absolute paths of programs of one version, and where they were found. */
export interface EtcdPrograms {
  etcd: string;
  etcdctl?: string;
  etcdutl?: string;
  /** "3.6.14". */
  version: string;
  source: EtcdSource;
}

export interface EtcdRequest extends Omit<InstallRequest, "version" | "cacheDir"> {
  /** The required version; undefined: any supported one, the default version first. */
  version?: string | undefined;
  /** `--etcd-dir`: the only folder to search. */
  etcdDir?: string | undefined;
  embedded?: EmbeddedEtcd | undefined;
  /** `$XDG_CACHE_HOME/e2d/etcd`; undefined when the user has no home. */
  cacheDir?: string | undefined;
  /** `PREFIX/lib/e2d/etcd`, filled by install.sh for all users of the machine; e2d only reads it. */
  sharedDir?: string | undefined;
  /** The value of PATH. */
  path: string;
}

export interface ProviderPorts extends Omit<DownloadPorts, "files" | "staging"> {
  files: Files;
  staging: Staging;
  processes: Processes;
  log: Logger;
}

/**
 * The programs to run. Throws E2dError `etcd_dir_empty`, `etcd_version_invalid`, `etcd_version_unsupported`,
 * `etcd_version_differs`, `etcd_not_runnable`, `etcd_not_etcd`, `cache_unknown`, `etcd_platform`, or what `download`
 * and `unpack` throw.
 */
export async function findEtcd(request: EtcdRequest, ports: ProviderPorts): Promise<EtcdPrograms> {
  const wanted = request.version === undefined ? undefined : parseSupportedVersion(request.version);
  if (request.etcdDir !== undefined) return await fromFolder(request.etcdDir, wanted, request, ports);
  if (request.embedded !== undefined && (wanted ?? request.embedded.version) === request.embedded.version) {
    const entry = await installEmbedded(request.embedded, cacheDirOf(request), ports);
    return programsOf(entry, "embedded");
  }
  const cached = await fromCache(wanted, request, ports);
  if (cached !== undefined) return programsOf(cached, cached.source);
  const onPath = await fromPath(wanted, request, ports);
  if (onPath !== undefined) return onPath;
  return await installEtcd({ ...request, version: wanted ?? defaultVersion }, ports);
}

/** Installs one release into the cache, unless it is there already. Throws as `findEtcd`. */
export async function installEtcd(request: EtcdRequest, ports: ProviderPorts): Promise<EtcdPrograms> {
  const version = parseSupportedVersion(request.version ?? defaultVersion);
  const cacheDir = cacheDirOf(request);
  const present = await usable(cacheDir, version, ports);
  if (present !== undefined) return programsOf(present, "cache");
  return programsOf(await installRelease({ ...request, version, cacheDir }, ports), "download");
}

/** What `installEtcd` is going to do. */
export interface InstallPlan {
  readonly version: string;
  readonly folder: string;
  /** Undefined: it is installed already. */
  readonly url: string | undefined;
}

/** Changes nothing. Throws as `installEtcd` does before it downloads. */
export async function planInstall(request: EtcdRequest, ports: ProviderPorts): Promise<InstallPlan> {
  const version = parseSupportedVersion(request.version ?? defaultVersion);
  const cacheDir = cacheDirOf(request);
  const present = await usable(cacheDir, version, ports, { repair: false });
  const { url } = release(version, request.platform, request.mirror);
  return { version, folder: `${cacheDir}/${version}`, url: present === undefined ? shownUrl(url) : undefined };
}

/** One line of `e2d etcd list`. */
export interface ListedEtcd {
  version: string;
  folder: string;
  source: Exclude<EtcdSource, "download">;
  /** The origin, when it is known. */
  from?: string | undefined;
}

/** Every etcd that `findEtcd` can choose without a download, in its order of preference. */
export async function listEtcd(request: EtcdRequest, ports: ProviderPorts): Promise<ListedEtcd[]> {
  const found: ListedEtcd[] = [];
  if (request.etcdDir !== undefined) {
    const { version } = await fromFolder(request.etcdDir, undefined, request, ports);
    found.push({ version, folder: request.etcdDir, source: "etcd-dir" });
  }
  const { embedded } = request;
  if (embedded !== undefined) found.push({ version: embedded.version, folder: embedded.folder, source: "embedded" });
  for (const entry of await allCached(request, ports)) {
    found.push({ version: entry.version, folder: entry.folder, source: entry.source, from: entry.from });
  }
  for await (const { version, folder } of onPath(request, ports)) found.push({ version, folder, source: "path" });
  return found;
}

function programsOf({ etcd, etcdctl, etcdutl, version }: CacheEntry, source: EtcdSource): EtcdPrograms {
  return { etcd, ...(etcdctl && { etcdctl }), ...(etcdutl && { etcdutl }), version, source };
}

function cacheDirOf({ cacheDir }: EtcdRequest): string {
  if (cacheDir !== undefined) return cacheDir;
  throw new E2dError("cache_unknown", "Cannot keep etcd in a cache: neither XDG_CACHE_HOME nor HOME is set", {
    hint: "set XDG_CACHE_HOME to a folder of this user, or pass a folder that has etcd with --etcd-dir",
  });
}

/** The programs in one folder; etcd itself reports their version. */
async function fromFolder(
  folder: string,
  wanted: string | undefined,
  request: EtcdRequest,
  ports: ProviderPorts,
): Promise<EtcdPrograms> {
  const found = await lookUp(folder, "", ports.files);
  if (found.kind !== "found") {
    const state = found.kind === "absent" ? "it does not exist" : found.state;
    throw new E2dError("etcd_dir_empty", `Cannot use etcd folder "${folder}": ${state}`, {
      hint: "pass the folder of the program etcd with --etcd-dir (E2D_ETCD_DIR)",
    });
  }
  const text = await programVersion(found.entry.etcd, ports, request.signal);
  const version = parseSupportedVersion(text);
  if (wanted !== undefined && version !== wanted) {
    throw new E2dError("etcd_version_differs", `Cannot use etcd folder "${folder}": it has ${version}, not ${wanted}`, {
      hint: `omit --etcd-dir, or pass --etcd-version ${version}`,
    });
  }
  return programsOf({ ...found.entry, version }, "etcd-dir");
}

type SourcedEntry = CacheEntry & { source: "cache" | "installed" };

const rootsOf = ({ cacheDir, sharedDir }: EtcdRequest) => [
  ...(cacheDir === undefined ? [] : [{ root: cacheDir, source: "cache" as const }]),
  ...(sharedDir === undefined ? [] : [{ root: sharedDir, source: "installed" as const }]),
];

async function allCached(request: EtcdRequest, ports: ProviderPorts): Promise<SourcedEntry[]> {
  const found: SourcedEntry[] = [];
  for (const { root, source } of rootsOf(request)) {
    for (const entry of await listCache(root, ports.files)) found.push({ ...entry, source });
  }
  return found;
}

/** The wanted version; when none is required, the default version or else the newest one there. */
async function fromCache(
  wanted: string | undefined,
  request: EtcdRequest,
  ports: ProviderPorts,
): Promise<SourcedEntry | undefined> {
  for (const { root, source } of rootsOf(request)) {
    const entry = await usable(root, wanted ?? defaultVersion, ports, { repair: source === "cache" });
    if (entry !== undefined) return { ...entry, source };
  }
  return wanted === undefined ? (await allCached(request, ports))[0] : undefined;
}

/** With `repair`, a damaged entry is removed, so that a new one can take its place. */
async function usable(
  root: string,
  version: string,
  { files, staging, log }: ProviderPorts,
  { repair } = { repair: true },
): Promise<CacheEntry | undefined> {
  const result = await lookUp(`${root}/${version}`, version, files);
  switch (result.kind) {
    case "found":
      return result.entry;
    case "absent":
      return undefined;
    case "damaged":
      log.warn("cache entry of etcd is damaged", { folder: result.folder, state: result.state, removed: repair });
      if (repair) await staging.remove(result.folder);
      return undefined;
    default:
      return result satisfies never;
  }
}

async function fromPath(
  wanted: string | undefined,
  request: EtcdRequest,
  ports: ProviderPorts,
): Promise<EtcdPrograms | undefined> {
  for await (const found of onPath(request, ports)) {
    if (wanted === undefined || found.version === wanted) return programsOf(found, "path");
    ports.log.info("skipping etcd on PATH", { folder: found.folder, version: found.version, wanted });
  }
  return undefined;
}

/** Every supported etcd on PATH. Relative parts of PATH are skipped: they depend on the working directory. */
async function* onPath(
  request: EtcdRequest,
  ports: ProviderPorts,
): AsyncGenerator<CacheEntry, void, void> {
  const folders = new Set(request.path.split(":").filter((folder) => folder.startsWith("/")));
  for (const folder of folders) {
    if (await ports.files.info(`${folder}/etcd`) === undefined) continue;
    const found = await lookUp(folder, "", ports.files);
    if (found.kind !== "found") continue;
    try {
      const version = await programVersion(found.entry.etcd, ports, request.signal);
      if (isSupported(parseVersion(version)!)) yield { ...found.entry, version };
      else ports.log.warn("skipping etcd on PATH", { folder, version, supported: supportedRange });
    } catch (error) {
      request.signal?.throwIfAborted();
      ports.log.warn("skipping etcd on PATH", { folder, error });
    }
  }
}

/**
 * The newest etcd of a minor version ("3.7"): of the installed ones, or else of those with a pinned checksum. Throws
 * E2dError `etcd_minor_unknown`, or what `findEtcd` throws.
 */
export async function findEtcdOfMinor(
  minor: string,
  request: EtcdRequest,
  ports: ProviderPorts,
): Promise<EtcdPrograms> {
  const fits = (version: string) => version.startsWith(`${minor}.`) && parseVersion(version)?.preRelease === "";
  const newest = (versions: readonly string[]) =>
    versions.filter(fits).sort((a, b) => compareVersions(parseVersion(b)!, parseVersion(a)!))[0];
  const installed = newest((await listEtcd(request, ports)).map(({ version }) => version));
  const version = installed ??
    (request.etcdDir === undefined ? newest(pinnedVersions(request.platform.arch)) : undefined);
  if (version !== undefined) return await findEtcd({ ...request, version }, ports);
  throw new E2dError(
    "etcd_minor_unknown",
    `Cannot find an etcd ${minor}: none is installed, and no checksum of one is pinned`,
    {
      hint: request.etcdDir === undefined
        ? `install one first: e2d etcd install --version ${minor}.N`
        : `copy one into "${request.etcdDir}", or omit --etcd-dir`,
    },
  );
}
