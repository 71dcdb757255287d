/** Joins the etcd provider to this machine: its folders, its platform, and what is inside this executable. */
import type { Logger } from "../ports.ts";
import { parseNote } from "../etcd/cache.ts";
import type { EmbeddedEtcd } from "../etcd/install.ts";
import type { EtcdRequest, ProviderPorts } from "../etcd/provider.ts";
import { systemClock } from "../sys/clock.ts";
import { systemFiles } from "../sys/files.ts";
import { systemProcesses } from "../sys/process.ts";
import { systemStaging } from "../sys/staging.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Relative values mean another folder in every working directory: they count as not set, as XDG wants it. */
const absolute = (path: string | undefined) => path?.startsWith("/") ? path : undefined;

/**
 * The folder of this user's etcd cache; undefined where the user has no home. A systemd service with
 * `CacheDirectory=e2d` and no home gets that folder.
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
 * `PREFIX/lib/e2d/etcd` of the PREFIX this e2d is installed to, which install.sh fills for every user of the machine.
 * E2D_LIB_DIR names `PREFIX/lib/e2d` where the program is not an executable of its own.
 */
export function etcdSharedDir(environment: Environment, executable: string | undefined): string | undefined {
  const lib = absolute(environment.E2D_LIB_DIR);
  if (lib !== undefined) return `${lib}/etcd`;
  // PREFIX/bin/e2d
  return executable?.replace(/\/[^/]*\/[^/]*$/, "/lib/e2d/etcd");
}

/** Programs that were put into this executable; undefined when there are none. */
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

/** The request that `run`, `etcd install` and `etcd list` have in common. */
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
