/**
 * Measures the speed of encrypting, compressing and saving snapshots, and the cost for the process.
 *
 *   deno run -A bench/snapshot.ts [--mib 1024] [--runs 3] [--e2d PATH]
 *
 * A real etcd is filled with `--mib` of text like that of Kubernetes. etcdctl and e2d (`--e2d`, default dist/e2d) save its
 * snapshot in turn; then twice the size is saved while memory and the event loop are measured. The formats are measured on
 * its first 256 MiB, compared with Go and openssl.
 */
import { Buffer } from "node:buffer";
import { parseArgs } from "node:util";
import { type EtcdClient, openEtcd } from "../lib/etcd/client/client.ts";
import { fastestMac } from "../lib/snapshot/format/keys.ts";
import type { WrapOptions } from "../lib/snapshot/format/seal.ts";
import { workerCodec } from "../lib/snapshot/format/worker_codec.ts";
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

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return (performance.now() - from) / 1_000;
}

async function run(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
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

/** Input speed in MiB per second. */
async function speedOf(
  data: Bytes,
  options: Pick<WrapOptions, "format" | "compression" | "sealed">,
): Promise<number> {
  let at = 0;
  const source = new ReadableStream<Bytes>({
    pull(controller) {
      // In the chunk size of etcd.
      if (at >= data.length) return controller.close();
      controller.enqueue(data.slice(at, at += 32_768));
    },
  });
  const took = await seconds(async () => {
    const { stream: wrapped } = workerCodec.seal(source, {
      ...options,
      mac: fastestMac(systemClock),
      facts: { ...facts, plainBytes: data.length },
      keys,
      randomBytes: (length) => systemRandom.bytes(length),
    });
    for await (const _ of wrapped);
  });
  return data.length / mib / took;
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
  const go = async (what: string) => sampleMib / Number(await run(peer, what, sample));
  const openssl = async () =>
    sampleMib /
    await seconds(() =>
      run(
        "openssl",
        "enc",
        "-aes-256-ctr",
        "-K",
        "00".repeat(32),
        "-iv",
        "00".repeat(16),
        "-in",
        sample,
        "-out",
        "/dev/null",
      )
    );
  const each = async (work: () => Promise<number>) => {
    const all: number[] = [];
    for (let round = 0; round < runs; round++) all.push(await work());
    return all;
  };
  const seal = await each(() => go("seal"));
  const gzip = await each(() => go("gzip"));
  const ours = (options: Parameters<typeof speedOf>[1]) => each(() => speedOf(data, options));
  const unit = "MiB/s";
  add({
    what: "seal go-v1",
    ours: await ours({ format: "go-v1", compression: "none", sealed: true }),
    peer: seal,
    peerName: "Go",
    unit,
    aim: "≥ 1.2",
  });
  add({
    what: "seal v2",
    ours: await ours({ format: "v2", compression: "none", sealed: true }),
    peer: seal,
    peerName: "Go, v1",
    unit,
    aim: "≥ 1.4",
  });
  add({
    what: "seal v2",
    ours: await ours({ format: "v2", compression: "none", sealed: true }),
    peer: await each(openssl),
    peerName: "openssl, AES-256-CTR alone",
    unit,
    aim: "",
  });
  add({
    what: "gzip",
    ours: await ours({ format: "v2", compression: "gzip", sealed: false }),
    peer: gzip,
    peerName: "Go",
    unit,
    aim: "≥ 6",
  });
  add({
    what: "zstd",
    ours: await ours({ format: "v2", compression: "zstd", sealed: false }),
    peer: gzip,
    peerName: "Go, gzip",
    unit,
    aim: "≥ 25",
  });
}

async function saves(etcd: Etcd): Promise<string> {
  const ours: number[] = [];
  const theirs: number[] = [];
  await run("openssl", "genrsa", "-traditional", "-out", `${folder}/ca.key`, "2048");
  for (let round = 0; round < runs; round++) {
    theirs.push(
      await seconds(() =>
        run(
          `${etcdDir()}/etcdctl`,
          `--endpoints=${etcd.url}`,
          "--command-timeout=600s",
          "snapshot",
          "save",
          `${folder}/etcdctl-${round}.db`,
        )
      ),
    );
    ours.push(
      await seconds(() =>
        run(
          values.e2d,
          "snapshot",
          "save",
          `file://${folder}/e2d-${round}.db`,
          `--endpoints=${etcd.url}`,
          "--snapshot-encryption",
          `--ca-key=${folder}/ca.key`,
        )
      ),
    );
    await Deno.remove(`${folder}/e2d-${round}.db`);
    if (round > 0) await Deno.remove(`${folder}/etcdctl-${round}.db`);
  }
  add({ what: `save ${values.mib} MiB, sealed`, ours, peer: theirs, peerName: "etcdctl", unit: "s", aim: "≤ 1.15" });
  return `${folder}/etcdctl-0.db`;
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

async function cost(etcd: Etcd): Promise<void> {
  const twice = 2 * Number(values.mib);
  await etcd.fillTo(twice);
  const child = new Deno.Command(values.e2d, {
    args: [
      "snapshot",
      "save",
      `file://${folder}/twice.db`,
      `--endpoints=${etcd.url}`,
      "--snapshot-encryption",
      `--ca-key=${folder}/ca.key`,
    ],
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

  // As in a node: checksum, encryption and upload in the process that answers probes.
  let worst = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    worst = Math.max(worst, now - last - 5);
    last = now;
  }, 5);
  const { stream, totalBytes } = await etcd.client.snapshot(etcd.url);
  const store = new FileStore(folder, { files: systemFiles, staging: systemStaging, token: () => "bench" });
  await store.write(
    "loop.db",
    workerCodec.seal(stream, {
      facts: { ...facts, plainBytes: totalBytes },
      format: "v2",
      compression: "none",
      sealed: true,
      keys,
      mac: fastestMac(systemClock),
      randomBytes: (length) => systemRandom.bytes(length),
    }).stream,
  );
  clearInterval(timer);
  add({ what: "longest wait of the event loop", ours: [worst], peer: [], peerName: "", unit: "ms", aim: "≤ 100" });
}

try {
  await using etcd = new Etcd();
  await etcd.fillTo(Number(values.mib));
  console.log("| what | ours (min / median / max) | peer | ratio | aim |\n| --- | --- | --- | --- | --- |");
  const path = await saves(etcd);
  await formats(path);
  await cost(etcd);
} finally {
  await Deno.remove(folder, { recursive: true });
}
