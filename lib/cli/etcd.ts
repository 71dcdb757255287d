/**
 * `e2d etcd install` and `e2d etcd list`, after their flags are read, and the etcd programs of the other commands with a
 * progress bar for downloads. lib/etcd/install selects, downloads and verifies.
 */
import type { Logger } from "../ports.ts";
import {
  findEtcd,
  findEtcdOfMinor,
  installEtcd,
  type InstallPlan,
  type ListedEtcd,
  listEtcd,
  planInstall,
} from "../etcd/install/provider.ts";
import type { EtcdPrograms, EtcdRequest, ProviderPorts } from "../etcd/install/provider.ts";
import { defaultVersion } from "../etcd/version.ts";
import { systemEtcdRequest, systemProviderPorts } from "./etcd_provider.ts";
import { ProgressBar } from "./progress.ts";
import { systemTerminal, type Terminal } from "./terminal.ts";

/** Shows the progress of a download, if `work` starts one. */
async function withProgress<T>(
  request: EtcdRequest,
  terminal: Terminal,
  work: (request: EtcdRequest) => Promise<T>,
): Promise<T> {
  const bar = new ProgressBar(`etcd ${request.version ?? defaultVersion}`, {
    columns: terminal.columns,
    write: terminal.err,
  }, () => performance.now());
  try {
    return await work({ ...request, onProgress: (progress) => bar.update(progress) });
  } finally {
    bar.end();
  }
}

/** The etcd to run, downloaded if none is installed. Throws as `findEtcd` does. */
export async function provideEtcd(
  options: { version?: string | undefined; etcdDir?: string | undefined; signal?: AbortSignal | undefined },
  log: Logger,
  terminal: Terminal = systemTerminal,
): Promise<EtcdPrograms> {
  const ports = systemProviderPorts(log);
  return await withProgress(await systemEtcdRequest(options), terminal, (request) => findEtcd(request, ports));
}

/** For `e2d upgrade`: the newest installed or pinned patch release of `minor`. Throws as `findEtcdOfMinor` does. */
export async function provideEtcdOfMinor(
  minor: string,
  options: { etcdDir?: string | undefined; signal?: AbortSignal | undefined },
  log: Logger,
): Promise<EtcdPrograms> {
  return await findEtcdOfMinor(minor, await systemEtcdRequest(options), systemProviderPorts(log));
}

export interface EtcdInstallOptions {
  version?: string | undefined;
  /** Installs to `<to>/<version>` instead of this user's cache. */
  to?: string | undefined;
  dryRun?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export async function etcdInstall(options: EtcdInstallOptions, log: Logger, terminal = systemTerminal): Promise<void> {
  const { version, to, signal } = options;
  const request = await systemEtcdRequest({ version, signal });
  if (to !== undefined) request.cacheDir = to.startsWith("/") ? to : `${Deno.cwd()}/${to}`;
  const ports = systemProviderPorts(log);
  if (options.dryRun) return terminal.out(planText(await planInstall(request, ports)));
  const installed = await withProgress(request, terminal, (request) => installEtcd(request, ports));
  const folder = installed.etcd.slice(0, installed.etcd.lastIndexOf("/"));
  terminal.out(
    installed.source === "download"
      ? `installed etcd ${installed.version} in ${folder}\n`
      : `etcd ${installed.version} is already installed in ${folder}\n`,
  );
}

function planText({ version, folder, url }: InstallPlan): string {
  return url === undefined
    ? `etcd ${version} is already installed in ${folder}\n`
    : `would download ${url} and install etcd ${version} in ${folder}\n`;
}

export interface EtcdListOptions {
  etcdDir?: string | undefined;
  json?: boolean | undefined;
}

export async function etcdList(options: EtcdListOptions, log: Logger, terminal = systemTerminal): Promise<void> {
  const request = await systemEtcdRequest({ etcdDir: options.etcdDir });
  const ports = systemProviderPorts(log);
  const listed = await listEtcd(request, ports);
  const selected = await selectedByRun(request, listed, ports);
  if (options.json) {
    const rows = listed.map((etcd) => ({ ...etcd, run: etcd === selected }));
    return terminal.out(`${JSON.stringify(rows, null, 2)}\n`);
  }
  terminal.out(listText(listed, selected));
}

/** The listed etcd that `e2d run` would select; undefined if it would download one. */
async function selectedByRun(
  request: EtcdRequest,
  listed: readonly ListedEtcd[],
  ports: ProviderPorts,
): Promise<ListedEtcd | undefined> {
  // An embedded etcd precedes the folders, and findEtcd() would unpack it.
  const first = listed.find(({ source }) => source === "etcd-dir" || source === "embedded");
  if (first !== undefined || listed.length === 0) return first;
  const { etcd } = await findEtcd(request, ports);
  return listed.find(({ folder }) => etcd === `${folder}/etcd`);
}

/** A table; the first column marks the etcd that `e2d run` would select. */
export function listText(listed: readonly ListedEtcd[], selected: ListedEtcd | undefined): string {
  if (listed.length === 0) {
    return `no etcd is installed: "e2d run" downloads ${defaultVersion}, "e2d etcd install" downloads it now\n`;
  }
  const rows = [["", "VERSION", "SOURCE", "FOLDER"]];
  for (const etcd of listed) rows.push([etcd === selected ? "*" : "", etcd.version, etcd.source, etcd.folder]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()}\n`)
    .join("");
}
