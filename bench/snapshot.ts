/**
 * Measures the speed of encrypting, compressing, saving and restoring snapshots, and the cost for the process.
 *
 *   deno run -A bench/snapshot.ts [--mib 1024] [--runs 3] [--e2d PATH]
 *
 * A real etcd is filled with `--mib` of text like that of Kubernetes. etcdctl and e2d (`--e2d`, default dist/e2d) save its
 * snapshot in turn, etcdutl and e2d restore it; then twice the size is saved while memory and the event loop are measured.
 * The formats are measured on its first 256 MiB, compared with Go and openssl. CPU seconds are those of all threads.
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import { parseArgs } from "node:util";
import { type EtcdClient, openEtcd } from "../lib/etcd/client/client.ts";
import { fastestMac } from "../lib/snapshot/format/keys.ts";
import type { WrapOptions } from "../lib/snapshot/format/seal.ts";
import { sameThreadCodec } from "../lib/snapshot/format/codec.ts";
import { verifySnapshot } from "../lib/snapshot/verified_file.ts";
import { FileStore } from "../lib/storage/file_store.ts";
import { systemClock } from "../lib/sys/clock.ts";
import { systemFiles } from "../lib/sys/files.ts";
import { openGrpcStream } from "../lib/sys/grpc/fetch.ts";
import { systemRandom } from "../lib/sys/random.ts";
import { systemStaging } from "../lib/sys/staging.ts";
import { freePorts } from "../tests/support/fixtures.ts";
import { etcdDir } from "../tests/support/parts.ts";
import { reportRow } from "./report.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const { values } = parseArgs({
  options: {
    mib: { type: "string", default: "1024" },
    runs: { type: "string", default: "3" },
    e2d: { type: "string", default: "dist/e2d" },
  },
});
const mib = 1_048_576;
const runs = Number(values.runs);
const folder = Deno.makeTempDirSync({ prefix: "e2d-bench-" });
const sampleMib = Math.min(256, Number(values.mib));

class Etcd implements AsyncDisposable {
  readonly url: string;
  readonly #child: Deno.ChildProcess;
  client!: EtcdClient;
  #written = 0;

  constructor() {
    const [port, peer] = freePorts(2);
    this.url = `http://127.0.0.1:${port}`;
    this.#child = new Deno.Command(`${etcdDir()}/etcd`, {
      args: [
        `--data-dir=${folder}/etcd`,
        `--listen-client-urls=${this.url}`,
        `--advertise-client-urls=${this.url}`,
        `--listen-peer-urls=http://127.0.0.1:${peer}`,
        `--quota-backend-bytes=${8 * 1024 * mib}`,
        "--unsafe-no-fsync",
        "--log-level=error",
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  async fillTo(totalMib: number): Promise<void> {
    this.client ??= await openEtcd({ endpoints: [this.url], clock: systemClock, openStream: openGrpcStream });
    for (let ready = false; !ready;) {
      ready = await this.client.ready(this.url, { timeoutMs: 1_000 }).then(() => true, () => false);
    }
    const valueBytes = 256 * 1024;
    while (this.#written < totalMib * mib) {
      await Promise.all(Array.from({ length: 8 }, async () => {
        const key = `/registry/pods/default/${this.#written += valueBytes}`;
        await this.client.put(key, manifestText(valueBytes), { timeoutMs: 30_000 });
      }));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client?.close();
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

/** Repeated field names, and values that do not repeat: gzip reduces it to about a third. */
function manifestText(length: number): string {
  const parts: string[] = [];
  for (let size = 0; size < length;) {
    const id = Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString("base64");
    const part = `{"kind":"Pod","metadata":{"name":"web-${id.slice(0, 8)}","uid":"${id}","labels":{"app":"web"}},` +
      `"status":{"phase":"Running","podIP":"10.${id.charCodeAt(0)}.0.${id.charCodeAt(1)}"}}\n`;
    parts.push(part);
    size += part.length;
  }
  return parts.join("").slice(0, length);
}

/** Durations in seconds. */
interface Cost {
  wall: number;
  cpu: number;
}

/** Of work in this process. */
async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const [from, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { wall: (performance.now() - from) / 1_000, cpu: (user + system) / 1e6 };
}

/** Of a program, with the text that it prints. */
async function run(command: string, ...args: string[]): Promise<Cost & { text: string }> {
  // The variable of bash: real, user and system seconds, after what the program writes.
  const script = 'TIMEFORMAT="%R %U %S"; time "$@"';
  const { success, stdout, stderr } = await new Deno.Command("bash", { args: ["-c", script, "time", command, ...args] })
    .output();
  const errors = new TextDecoder().decode(stderr).trim();
  if (!success) throw new Error(`${command}: ${errors}`);
  const [wall, user, system] = errors.split("\n").at(-1)!.split(" ").map(Number) as [number, number, number];
  return { wall, cpu: user + system, text: new TextDecoder().decode(stdout) };
}

/** Runs both in turn, so that a load of the machine meets both. */
async function inTurn(ours: (round: number) => Promise<Cost>, peer: (round: number) => Promise<Cost>) {
  const all: { ours: Cost[]; peer: Cost[] } = { ours: [], peer: [] };
  for (let round = 0; round < runs; round++) {
    all.peer.push(await peer(round));
    all.ours.push(await ours(round));
  }
  return all;
}

interface Row {
  what: string;
  ours: number[];
  peer: number[];
  peerName: string;
  unit: string;
  aim: string;
}
const rows: Row[] = [];
const middle = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!;
const shown = (list: readonly number[]) =>
  list.length === 0
    ? ""
    : `${Math.min(...list).toFixed(2)} / ${middle(list).toFixed(2)} / ${Math.max(...list).toFixed(2)}`;

function add(row: Row): void {
  rows.push(row);
  // An aim applies to the ratio if there is a peer, else to the figure itself.
  const [, sign, figure] = /^(≤|<|≥) ([\d.]+)$/.exec(row.aim) ?? [];
  const of = row.peer.length === 0 ? "ours" : "ratio", bound = Number(figure);
  const limit = sign === "≥" ? { of, atLeast: bound } as const : { of, atMost: bound } as const;
  reportRow(sign === undefined ? row : { ...row, limit });
  const ratio = row.peer.length === 0 ? "" : (middle(row.ours) / middle(row.peer)).toFixed(2);
  console.log(
    `| ${row.what} | ${shown(row.ours)} ${row.unit} | ${row.peerName} ${shown(row.peer)} | ${ratio} | ${row.aim} |`,
  );
}

const facts = {
  clusterId: "1",
  lineage: { id: "1", epoch: 0, token: "" },
  revision: 1,
  etcdVersion: "3.6.14",
  takenAt: "2026-01-01T00:00:00Z",
};
const keys = { recipients: [new Uint8Array(32)], secret: new Uint8Array(32) };

/** Of sealing `data`, which comes in the chunks of e2d's client of etcd. */
function sealing(data: Bytes, options: Pick<WrapOptions, "format" | "compression" | "sealed">): Promise<Cost> {
  let at = 0;
  const source = new ReadableStream<Bytes>({
    pull(controller) {
      if (at >= data.length) return controller.close();
      controller.enqueue(data.slice(at, at += mib));
    },
  });
  const { stream } = sameThreadCodec.seal(source, {
    ...options,
    mac: fastestMac(systemClock),
    facts: { ...facts, plainBytes: data.length },
    keys,
    randomBytes: (length) => systemRandom.bytes(length),
  });
  return costOf(async () => {
    for await (const _ of stream);
  });
}

async function formats(path: string): Promise<void> {
  const file = await Deno.open(path);
  const data = new Uint8Array(sampleMib * mib);
  for (let at = 0; at < data.length;) at += (await file.read(data.subarray(at)))!;
  file.close();
  const sample = `${folder}/sample`;
  await Deno.writeFile(sample, data);
  const peer = `${folder}/peer`;
  await run("go", "build", "-o", peer, "bench/go/snapshot_peer.go");
  const go = (what: string) => async () => {
    const { text, cpu } = await run(peer, what, sample);
    // Without the time in which it reads the file, which its CPU seconds contain.
    return { wall: Number(text), cpu };
  };
  const cipher = ["enc", "-aes-256-ctr", "-K", "00".repeat(32), "-iv", "00".repeat(16)];
  const openssl = () => run("openssl", ...cipher, "-in", sample, "-out", "/dev/null");
  type Form = Parameters<typeof sealing>[1];
  const compare = async (what: string, form: Form, peer: () => Promise<Cost>, peerName: string, aim: string) => {
    const figures = await inTurn(() => sealing(data, form), peer);
    for (const [kind, unit] of [["wall", "MiB/s"], ["cpu", "MiB per CPU second"]] as const) {
      const of = (costs: Cost[]) => costs.map((cost) => sampleMib / cost[kind]);
      add({ what, ours: of(figures.ours), peer: of(figures.peer), peerName, unit, aim: kind === "wall" ? aim : "" });
    }
  };
  const sealed = { compression: "none", sealed: true } as const;
  await compare("seal go-v1, with etcd's checksum", { ...sealed, format: "go-v1" }, go("seal"), "Go", "≥ 0.75");
  await compare("seal v2, with etcd's checksum", { ...sealed, format: "v2" }, go("seal"), "Go, v1", "≥ 1");
  await compare("seal v2", { ...sealed, format: "v2" }, openssl, "openssl, AES-256-CTR alone", "");
  await compare("gzip", { format: "v2", compression: "gzip", sealed: false }, go("gzip"), "Go", "≥ 6");
  await compare("zstd", { format: "v2", compression: "zstd", sealed: false }, go("gzip"), "Go, gzip", "≥ 25");
}

function addCosts(what: string, { ours, peer }: { ours: Cost[]; peer: Cost[] }, peerName: string, aim: string): void {
  for (const [kind, unit] of [["wall", "s"], ["cpu", "CPU s"]] as const) {
    const of = (costs: Cost[]) => costs.map((cost) => cost[kind]);
    add({ what, ours: of(ours), peer: of(peer), peerName, unit, aim: kind === "wall" ? aim : "" });
  }
}

const sealFlags = ["--snapshot-encryption", `--ca-key=${folder}/ca.key`];

/** Returns the path of the plain snapshot. */
async function saves(etcd: Etcd): Promise<string> {
  await run("openssl", "genrsa", "-traditional", "-out", `${folder}/ca.key`, "2048");
  const figures = await inTurn(
    async (round) => {
      const path = `${folder}/e2d-${round}.db`;
      const cost = await run(values.e2d, "snapshot", "save", `file://${path}`, `--endpoints=${etcd.url}`, ...sealFlags);
      if (round > 0) await Deno.remove(path);
      return cost;
    },
    async (round) => {
      const path = `${folder}/etcdctl-${round}.db`;
      const flags = [`--endpoints=${etcd.url}`, "--command-timeout=600s"];
      const cost = await run(`${etcdDir()}/etcdctl`, ...flags, "snapshot", "save", path);
      if (round > 0) await Deno.remove(path);
      return cost;
    },
  );
  addCosts(`save ${values.mib} MiB, sealed`, figures, "etcdctl", "≤ 1.15");
  return `${folder}/etcdctl-0.db`;
}

/** Of the files that `saves` leaves. */
async function restores(plain: string): Promise<void> {
  const target = `${folder}/restored`;
  const restored = async (...command: [string, ...string[]]) => {
    const cost = await run(...command, "--data-dir", `${target}/data`);
    await Deno.remove(target, { recursive: true });
    return cost;
  };
  const from = `file://${folder}/e2d-0.db`;
  const figures = await inTurn(
    () => restored(values.e2d, "snapshot", "restore", from, ...sealFlags, `--etcd-dir=${etcdDir()}`),
    () => restored(`${etcdDir()}/etcdutl`, "snapshot", "restore", plain),
  );
  addCosts(`restore ${values.mib} MiB, sealed`, figures, "etcdutl", "≤ 1.3");
}

/** The peak memory of a process, sampled until it ends. */
async function peakMib(child: Deno.ChildProcess): Promise<number> {
  let peak = 0;
  let ended = false;
  void child.status.then(() => ended = true);
  while (!ended) {
    const status = await Deno.readTextFile(`/proc/${child.pid}/status`).catch(() => "");
    peak = Math.max(peak, Number(/VmHWM:\s*(\d+)/.exec(status)?.[1] ?? 0) / 1_024);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  if (!(await child.status).success) throw new Error("the save failed");
  return peak;
}

async function memory(etcd: Etcd): Promise<void> {
  const twice = 2 * Number(values.mib);
  await etcd.fillTo(twice);
  const child = new Deno.Command(values.e2d, {
    args: ["snapshot", "save", `file://${folder}/twice.db`, `--endpoints=${etcd.url}`, ...sealFlags],
    stdout: "null",
    stderr: "null",
  }).spawn();
  add({
    what: `memory, ${twice} MiB saved`,
    ours: [await peakMib(child)],
    peer: [],
    peerName: "",
    unit: "MiB",
    aim: "< 250",
  });
  await Deno.remove(`${folder}/twice.db`);
}

/** The longest time in milliseconds in which a timer of 5 ms did not run. */
async function longestWaitMs(work: () => Promise<unknown>): Promise<number> {
  let worst = 0;
  let last = performance.now();
  const measure = () => {
    const now = performance.now();
    worst = Math.max(worst, now - last - 5);
    last = now;
  };
  const timer = setInterval(measure, 5);
  await work();
  measure();
  clearInterval(timer);
  return worst;
}

/** As in a node: checksum, compression, encryption and upload in the process that answers probes. */
async function loopWaits(etcd: Etcd): Promise<void> {
  const store = new FileStore(folder, { files: systemFiles, staging: systemStaging, token: () => "bench" });
  const row = { peer: [], peerName: "", unit: "ms", aim: "≤ 50" };
  for (const compression of ["none", "gzip", "zstd"] as const) {
    const save = async () => {
      const { stream, totalBytes } = await etcd.client.snapshot(etcd.url);
      const sealed = sameThreadCodec.seal(stream, {
        facts: { ...facts, plainBytes: totalBytes },
        format: "v2",
        compression,
        sealed: true,
        keys,
        mac: fastestMac(systemClock),
        randomBytes: (length) => systemRandom.bytes(length),
      });
      await store.write("loop.db", sealed.stream);
    };
    add({ ...row, what: `longest wait of the event loop, save, ${compression}`, ours: [await longestWaitMs(save)] });
    const verify = async () => {
      const { stream } = (await store.read("loop.db"))!;
      await verifySnapshot(stream, { keys });
    };
    add({
      ...row,
      what: `longest wait of the event loop, verify, ${compression}`,
      ours: [await longestWaitMs(verify)],
    });
  }
}

try {
  await using etcd = new Etcd();
  await etcd.fillTo(Number(values.mib));
  console.log("| what | ours (min / median / max) | peer | ratio | aim |\n| --- | --- | --- | --- | --- |");
  const path = await saves(etcd);
  await restores(path);
  await formats(path);
  await memory(etcd);
  await loopWaits(etcd);
} finally {
  await Deno.remove(folder, { recursive: true });
}
