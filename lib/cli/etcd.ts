/** `e2d etcd install` and `e2d etcd list`: what they do once their flags are read. */
import type { Logger } from "../ports.ts";
import {
  findEtcd,
  findEtcdOfMinor,
  installEtcd,
  type InstallPlan,
  type ListedEtcd,
  listEtcd,
  planInstall,
} from "../etcd/provider.ts";
import type { EtcdPrograms, EtcdRequest, ProviderPorts } from "../etcd/provider.ts";
import { defaultVersion } from "../etcd/version.ts";
import { systemEtcdRequest, systemProviderPorts } from "./etcd_provider.ts";
import { ProgressBar } from "./progress.ts";
import { systemTerminal, type Terminal } from "./terminal.ts";

/** Shows how a download gets on while `work` runs, if there is one. */
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

/** The etcd that `run` is to use, downloaded with a progress bar where there is none. Throws as `findEtcd` does. */
export async function provideEtcd(
  options: { version?: string | undefined; etcdDir?: string | undefined; signal?: AbortSignal | undefined },
  log: Logger,
  terminal: Terminal = systemTerminal,
): Promise<EtcdPrograms> {
  const ports = systemProviderPorts(log);
  return await withProgress(await systemEtcdRequest(options), terminal, (request) => findEtcd(request, ports));
}

/** For `e2d upgrade`: the newest of a minor version. Throws as `findEtcdOfMinor` does. */
export async function provideEtcdOfMinor(
  minor: string,
  options: { etcdDir?: string | undefined; signal?: AbortSignal | undefined },
  log: Logger,
): Promise<EtcdPrograms> {
  return await findEtcdOfMinor(minor, await systemEtcdRequest(options), systemProviderPorts(log));
}

export interface EtcdInstallOptions {
  version?: string | undefined;
  /** A folder to install to, as `<to>/<version>`, instead of this user's cache. */
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
  const found = await withProgress(request, terminal, (request) => installEtcd(request, ports));
  const folder = found.etcd.slice(0, found.etcd.lastIndexOf("/"));
  terminal.out(`etcd ${found.version} is ${found.source === "download" ? "now" : "already"} in ${folder}\n`);
}

function planText({ version, folder, url }: InstallPlan): string {
  return url === undefined
    ? `etcd ${version} is already in ${folder}\n`
    : `would download ${url} and put etcd ${version} in ${folder}\n`;
}

export interface EtcdListOptions {
  etcdDir?: string | undefined;
  json?: boolean | undefined;
}

export async function etcdList(options: EtcdListOptions, log: Logger, terminal = systemTerminal): Promise<void> {
  const request = await systemEtcdRequest({ etcdDir: options.etcdDir });
  const ports = systemProviderPorts(log);
  const listed = await listEtcd(request, ports);
  const chosen = await wouldRun(request, listed, ports);
  if (options.json) {
    const rows = listed.map((etcd) => ({ ...etcd, run: etcd === chosen }));
    return terminal.out(`${JSON.stringify(rows, null, 2)}\n`);
  }
  terminal.out(listText(listed, chosen));
}

/** The one of the list that `e2d run` takes; undefined when it would download one. */
async function wouldRun(
  request: EtcdRequest,
  listed: readonly ListedEtcd[],
  ports: ProviderPorts,
): Promise<ListedEtcd | undefined> {
  // An embedded etcd comes before the folders; looking for it would unpack it.
  const first = listed.find(({ source }) => source === "etcd-dir" || source === "embedded");
  if (first !== undefined || listed.length === 0) return first;
  const { etcd } = await findEtcd(request, ports);
  return listed.find(({ folder }) => etcd === `${folder}/etcd`);
}

/** A table for people; the first column marks what `e2d run` takes. */
export function listText(listed: readonly ListedEtcd[], chosen: ListedEtcd | undefined): string {
  if (listed.length === 0) {
    return `no etcd here: "e2d run" downloads ${defaultVersion}, "e2d etcd install" does it now\n`;
  }
  const rows = [["", "VERSION", "SOURCE", "FOLDER"]];
  for (const etcd of listed) rows.push([etcd === chosen ? "*" : "", etcd.version, etcd.source, etcd.folder]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()}\n`)
    .join("");
}
