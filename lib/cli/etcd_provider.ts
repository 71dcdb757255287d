/**
 * Connects the etcd provider of lib/etcd/install to this machine: its folders, its platform, and the etcd that is embedded
 * in this executable. Decides nothing about versions.
 */
import type { Logger } from "../ports.ts";
import { parseNote } from "../etcd/install/cache.ts";
import type { EmbeddedEtcd } from "../etcd/install/install.ts";
import type { EtcdRequest, ProviderPorts } from "../etcd/install/provider.ts";
import { systemClock } from "../sys/clock.ts";
import { systemFiles } from "../sys/files.ts";
import { systemProcesses } from "../sys/process.ts";
import { systemStaging } from "../sys/staging.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The XDG base directory specification requires relative paths to be ignored. */
const absolute = (path: string | undefined) => path?.startsWith("/") ? path : undefined;

/**
 * The folder of this user's etcd cache; undefined if the user has no home. A systemd service without a home uses its
 * `CacheDirectory=e2d`.
 */
export function etcdCacheDir(environment: Environment): string | undefined {
  const xdg = absolute(environment.XDG_CACHE_HOME);
  if (xdg !== undefined) return `${xdg}/e2d/etcd`;
  const service = absolute(environment.CACHE_DIRECTORY?.split(":")[0]);
  if (service !== undefined) return `${service}/etcd`;
  const home = absolute(environment.HOME);
  return home === undefined || home === "/" ? undefined : `${home}/.cache/e2d/etcd`;
}

/**
 * `PREFIX/lib/e2d/etcd` of the PREFIX that this e2d is installed to; install.sh fills it for all users of the machine.
 * E2D_LIB_DIR names `PREFIX/lib/e2d` if e2d runs by the launcher script instead of a compiled executable.
 */
export function etcdSharedDir(environment: Environment, executable: string | undefined): string | undefined {
  const lib = absolute(environment.E2D_LIB_DIR);
  if (lib !== undefined) return `${lib}/etcd`;
  // The executable is PREFIX/bin/e2d.
  return executable?.replace(/\/[^/]*\/[^/]*$/, "/lib/e2d/etcd");
}

/** The etcd that tools/embed_etcd.ts embedded in this executable; undefined if there is none. */
export async function embeddedEtcd(): Promise<EmbeddedEtcd | undefined> {
  if (!Deno.build.standalone) return undefined;
  const folder = decodeURIComponent(new URL("../../embedded", import.meta.url).pathname);
  let text: string;
  try {
    text = await Deno.readTextFile(`${folder}/e2d.json`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const note = parseNote(text);
  return note && { folder, version: note.version, files: note.files };
}

/** The provider request of `run`, `etcd install` and `etcd list`. */
export async function systemEtcdRequest(
  options: { version?: string | undefined; etcdDir?: string | undefined; signal?: AbortSignal | undefined },
): Promise<EtcdRequest> {
  const environment = Deno.env.toObject();
  return {
    ...options,
    embedded: await embeddedEtcd(),
    cacheDir: etcdCacheDir(environment),
    sharedDir: etcdSharedDir(environment, Deno.build.standalone ? Deno.execPath() : undefined),
    path: environment.PATH ?? "",
    platform: { os: Deno.build.os, arch: Deno.build.arch },
    mirror: environment.E2D_ETCD_MIRROR || undefined,
  };
}

export function systemProviderPorts(log: Logger): ProviderPorts {
  return {
    http: fetch,
    clock: systemClock,
    files: systemFiles,
    staging: systemStaging,
    processes: systemProcesses,
    log,
  };
}
