/**
 * One etcd of a single member, in memory: a process that starts and ends, a key-value store that lies on the machine's
 * disk between its lives, and the part of the gRPC API that a manager calls. Raft is not modelled: the member leads a
 * moment after its start.
 */
import { E2dError } from "../../lib/errors.ts";
import type { CallOptions, EtcdCalls } from "../../lib/etcd/client/channel.ts";
import type { Method } from "../../lib/etcd/client/messages.ts";
import type { DataDir } from "../../lib/core/facts/data_dir.ts";
import type { Process, ProcessExit } from "../../lib/ports.ts";
import type { MemoryDisk } from "../etcd/memory_disk.ts";
import type { TestClock } from "../support/test_clock.ts";

const version = "3.6.14";
const electionMs = 100;
const stopMs = 50;

interface StoredKey {
  /** Hexadecimal. */
  value: string;
  createRevision: number;
  modRevision: number;
  version: number;
}

/** What lies in `<data-dir>/member/db`. */
interface Stored {
  name: string;
  memberId: string;
  clusterId: string;
  peerUrl: string;
  clientUrl: string;
  revision: number;
  keys: Record<string, StoredKey>;
}

interface RawOperation {
  range?: { key: Uint8Array };
  put?: { key: Uint8Array; value: Uint8Array };
  deleteRange?: { key: Uint8Array; rangeEnd?: Uint8Array };
}

interface RawCompare {
  key: Uint8Array;
  target: number;
  createRevision?: number;
  modRevision?: number;
  version?: number;
  value?: Uint8Array;
}

/** How the next processes behave. */
export interface EtcdBehaviour {
  /** Ends so right after its start, with these lines in its log. */
  exitsAtOnce?: { readonly code: number; readonly lines: readonly string[] };
  /** Only SIGKILL ends it. */
  ignoresTerm?: boolean;
  /** Answers for its status and never has a leader. */
  hasNoLeader?: boolean;
}

interface Running {
  readonly pid: number;
  readonly path: string;
  readonly stored: Stored;
  readonly leaderAtMs: number;
  end(exit: ProcessExit): void;
}

export class FakeEtcd {
  behaviour: EtcdBehaviour = {};
  /** Why its data-dir cannot be inspected. */
  unreadable: string | undefined;
  /** Signals that were sent to it, in order. */
  readonly signals: string[] = [];
  starts = 0;
  readonly #disk: MemoryDisk;
  readonly #clock: TestClock;
  #running: Running | undefined;

  constructor(disk: MemoryDisk, clock: TestClock) {
    this.#disk = disk;
    this.#clock = clock;
  }

  get runs(): boolean {
    return this.#running !== undefined;
  }

  key(key: string): string | undefined {
    const value = this.#running?.stored.keys[key]?.value;
    return value === undefined ? undefined : new TextDecoder().decode(Uint8Array.fromHex(value));
  }

  /** Writes a key as a client would; with `data-dir` into the store of a stopped etcd. */
  async put(key: string, value: Uint8Array | string, dataDir?: string): Promise<void> {
    const stored = this.#running?.stored ?? JSON.parse((await this.#disk.readText(fileIn(dataDir!)))!) as Stored;
    this.#put(stored, key, typeof value === "string" ? new TextEncoder().encode(value) : value);
    this.#save(this.#running?.path ?? dataDir!, stored);
  }

  async inspect(dataDir: string): Promise<DataDir> {
    if (this.unreadable !== undefined) return { kind: "unreadable", why: this.unreadable };
    const text = await this.#disk.readText(fileIn(dataDir));
    if (text === undefined) return { kind: await this.#disk.info(dataDir) === undefined ? "absent" : "empty" };
    const { name, memberId, clusterId, peerUrl, clientUrl, revision } = JSON.parse(text) as Stored;
    const member = { id: memberId, name, peerUrls: [peerUrl], clientUrls: [clientUrl], isLearner: false };
    return {
      kind: "valid",
      name,
      memberId,
      clusterId,
      peerUrls: [peerUrl],
      members: [member],
      revision,
      raftTerm: 2,
      raftIndex: revision,
    };
  }

  async start(args: readonly string[]): Promise<Process> {
    const flag = (name: string) => args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3) ?? "";
    const path = flag("data-dir");
    const text = await this.#disk.readText(fileIn(path));
    const token = flag("initial-cluster-token");
    const stored: Stored = text !== undefined ? JSON.parse(text) : {
      name: flag("name"),
      memberId: "a1",
      clusterId: `c${[...token].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) % 0xffffffff, 7).toString(16)}`,
      peerUrl: flag("initial-advertise-peer-urls"),
      clientUrl: flag("advertise-client-urls"),
      revision: 1,
      keys: {},
    };
    this.starts++;
    const pid = 100 + this.starts;
    const { promise: exited, resolve } = Promise.withResolvers<ProcessExit>();
    const { exitsAtOnce } = this.behaviour;
    const stderr = (exitsAtOnce?.lines ?? []).map((line) => `${line}\n`).join("");
    const end = (exit: ProcessExit) => {
      if (this.#running?.pid === pid) this.#running = undefined;
      resolve(exit);
    };
    if (exitsAtOnce === undefined) {
      this.#save(path, stored);
      const leaderAtMs = this.behaviour.hasNoLeader ? Infinity : this.#clock.monotonicMs() + electionMs;
      this.#running = { pid, path, stored, leaderAtMs, end };
    } else end({ code: exitsAtOnce.code, signal: undefined });
    return {
      pid,
      stdout: streamOf(""),
      stderr: streamOf(stderr),
      exited,
      kill: (signal) => {
        this.signals.push(signal);
        if (signal === "SIGKILL") end({ code: 137, signal });
        else if (!this.behaviour.ignoresTerm) void this.#clock.sleep(stopMs).then(() => end({ code: 0, signal }));
      },
    };
  }

  /** Dies as by a crash of its own. */
  crash(): void {
    this.#running?.end({ code: 2, signal: undefined });
  }

  /** What e2d's client dials. */
  readonly calls: EtcdCalls = {
    tls: undefined,
    useTls: () => {},
    close: () => {},
    unary: <Q, A>(endpoint: string, method: Method<Q, A>, request: Q, options: CallOptions) => {
      options.signal?.throwIfAborted();
      return new Promise<A>((resolve) => resolve(this.#answer(endpoint, method.path, request) as A));
    },
    exchange: () => Promise.reject(new Error("no lease is modelled")),
    // deno-lint-ignore require-yield
    stream: async function* () {
      await Promise.resolve();
      throw new E2dError("etcd_unsupported", "no snapshot is modelled");
    },
  };

  #answer(endpoint: string, path: string, request: unknown): unknown {
    const running = this.#running;
    if (running === undefined || running.stored.clientUrl !== endpoint) {
      throw new E2dError("etcd_unreachable", `Cannot ask etcd "${endpoint}": nothing listens there`);
    }
    const { stored } = running;
    const leads = this.#clock.monotonicMs() >= running.leaderAtMs;
    const { clusterId, memberId, revision } = stored;
    const header = { clusterId, memberId, revision, raftTerm: 2 };
    switch (path.slice(path.indexOf(".") + 1)) {
      case "Maintenance/Status":
        return {
          header,
          version,
          storageVersion: "3.6.0",
          dbSize: 20_480,
          dbSizeInUse: 20_480,
          dbSizeQuota: 0,
          leader: leads ? memberId : "0",
          raftIndex: revision,
          raftAppliedIndex: revision,
          raftTerm: 2,
          errors: [],
          isLearner: false,
        };
      case "Cluster/MemberList": {
        const { name, peerUrl, clientUrl } = stored;
        const member = { id: memberId, name, peerUrls: [peerUrl], clientUrls: [clientUrl], isLearner: false };
        return { header, members: [member] };
      }
      case "KV/Range":
        this.#requireLeader(leads, endpoint);
        return { header, ...this.#range(stored, (request as { key: Uint8Array }).key) };
      case "KV/Txn":
        this.#requireLeader(leads, endpoint);
        return this.#txn(running, request as Parameters<FakeEtcd["calls"]["unary"]>[2] as never);
      default:
        throw new E2dError("etcd_unsupported", `${path} is not modelled`);
    }
  }

  #requireLeader(leads: boolean, endpoint: string): void {
    if (!leads) throw new E2dError("etcd_no_leader", `Cannot ask etcd "${endpoint}": it has no leader`);
  }

  #txn(
    { stored, path }: Running,
    { compare, success, failure }: { compare: RawCompare[]; success: RawOperation[]; failure: RawOperation[] },
  ): unknown {
    const succeeded = compare.every((each) => holds(each, stored.keys[textOf(each.key)]));
    const responses = (succeeded ? success : failure).map(({ range, put, deleteRange }) => {
      if (range !== undefined) return { range: this.#range(stored, range.key) };
      if (put !== undefined) this.#put(stored, textOf(put.key), put.value);
      if (deleteRange !== undefined) this.#delete(stored, textOf(deleteRange.key), deleteRange.rangeEnd);
      return {};
    });
    this.#save(path, stored);
    const { clusterId, memberId, revision } = stored;
    return { header: { clusterId, memberId, revision, raftTerm: 2 }, succeeded, responses };
  }

  #range(stored: Stored, key: Uint8Array) {
    const found = stored.keys[textOf(key)];
    const kvs = found === undefined ? [] : [{ ...found, key, value: Uint8Array.fromHex(found.value), lease: "0" }];
    return { kvs, more: false, count: kvs.length };
  }

  #put(stored: Stored, key: string, value: Uint8Array): void {
    const before = stored.keys[key];
    stored.revision++;
    stored.keys[key] = {
      value: new Uint8Array(value).toHex(),
      createRevision: before?.createRevision ?? stored.revision,
      modRevision: stored.revision,
      version: (before?.version ?? 0) + 1,
    };
  }

  #delete(stored: Stored, key: string, end: Uint8Array | undefined): void {
    stored.revision++;
    for (const each of Object.keys(stored.keys)) {
      if (each === key || end !== undefined && each >= key && each < textOf(end)) delete stored.keys[each];
    }
  }

  #save(path: string, stored: Stored): void {
    this.#disk.put(fileIn(path), JSON.stringify(stored), 0o600);
    this.#disk.nodes.set(path, { kind: "directory", mode: 0o700 });
  }
}

const fileIn = (dataDir: string) => `${dataDir}/member/db`;
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function streamOf(text: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new Blob([text]).stream();
}

/** Of the comparisons that e2d sends, all are for equality. */
function holds({ target, value, ...numbers }: RawCompare, found: StoredKey | undefined): boolean {
  switch (target) {
    case 0:
      return (found?.version ?? 0) === (numbers.version ?? 0);
    case 1:
      return (found?.createRevision ?? 0) === (numbers.createRevision ?? 0);
    case 2:
      return (found?.modRevision ?? 0) === (numbers.modRevision ?? 0);
    default:
      return found !== undefined && found.value === new Uint8Array(value ?? []).toHex();
  }
}
