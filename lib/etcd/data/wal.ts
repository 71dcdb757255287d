/**
 * Reads etcd's write-ahead log as far as it identifies the member and shows whether the log is intact: all records of the
 * newest file with their checksums, and of older files only that they exist. etcd itself verifies the files that it needs
 * at its start.
 *
 * Records after etcd's server/storage/wal (wal.go), the same from 3.4 to 3.7. The checksum of a record is CRC-32C over the
 * data of all records so far; the first record of a file carries it over from the file before.
 */
import { isE2dError } from "../../errors.ts";
import type { LogPosition } from "../../facts/lineage.ts";
import type { FileReader, Files, OpenFile } from "../../ports.ts";
import { bytes as bytesField, type Decoded, hexId, integer, message } from "../client/protobuf.ts";
import { crc32c } from "./crc32c.ts";
import { damage } from "./damage.ts";
import { encodeFrame, framesOf, isTorn, type WalFrame } from "./wal_frames.ts";

export interface WalFacts {
  readonly memberId: string;
  readonly clusterId: string;
  /** Of the newest hard state in the newest file; 0 when it has none. */
  readonly raftTerm: number;
  /** The commit index of that hard state. */
  readonly commitIndex: number;
  /** The last entry of the newest file or, when that has none, of the one before; 0 when that has none either. */
  readonly lastIndex: number;
  /** The term of that entry. */
  readonly lastTerm: number;
  /** The entries of that file that begin a term, oldest first; its first entry is among them. At most {@link termsMax}. */
  readonly termStarts: readonly LogPosition[];
  /** Changes of the membership in the newest file by their index; those above `commitIndex` may never be committed. */
  readonly confChanges: ReadonlyMap<number, ConfChange>;
  /** The newest file, and where in it the next record would go. */
  readonly tail: WalTail;
}

export interface WalTail {
  readonly name: string;
  readonly endOffset: number;
  readonly crc: number;
  /** Undefined until the member has voted or heard of a term. */
  readonly state: { readonly term: number; readonly vote: string; readonly commit: number } | undefined;
}

export interface ConfChange {
  readonly kind: "add" | "remove" | "update" | "addLearner";
  readonly memberId: string;
  /** etcd's description of the member, as JSON. */
  readonly context: Uint8Array<ArrayBuffer>;
}

const record = message({ type: integer(1), crc: integer(2), data: bytesField(3) });
const metadata = message({ nodeId: hexId(1), clusterId: hexId(2) });
const entry = message({ type: integer(1), term: integer(2), index: integer(3), data: bytesField(4) });
const hardState = message({ term: integer(1), vote: hexId(2), commit: integer(3) });
const confChange = message({ id: hexId(1), type: integer(2), nodeId: hexId(3), context: bytesField(4) });

const recordTypes = { metadata: 1, entry: 2, state: 3, crc: 4, snapshot: 5 } as const;
const entryConfChange = 1;
const confChangeKinds = ["add", "remove", "update", "addLearner"] as const;

const attemptsMax = 5;
/** Terms end with elections: the newest of a log that had more say enough. */
const termsMax = 64;

interface WalPorts {
  readonly files: Pick<Files, "list">;
  readonly reader: FileReader;
}

/** Undefined when there is no log. Throws E2dError `data_damaged` or `file_read`. */
export async function readWal(folder: string, ports: WalPorts): Promise<WalFacts | undefined> {
  let before: string | undefined;
  for (let attempt = 1;; attempt++) {
    try {
      return await readOnce(folder, ports);
    } catch (error) {
      // A record that etcd is writing may look damaged; real damage looks the same at the next read.
      if (!isE2dError(error, "data_damaged") || error.message === before || attempt === attemptsMax) throw error;
      before = error.message;
    }
  }
}

async function readOnce(folder: string, ports: WalPorts): Promise<WalFacts | undefined> {
  const names = (await ports.files.list(folder))?.filter((name) => name.endsWith(".wal"));
  if (names === undefined || names.length === 0) return undefined;
  const sequences = names.map(sequenceOf);
  sequences.forEach((sequence, index) => {
    const before = sequences[index - 1];
    if (before !== undefined && sequence !== before + 1) throw damage(`member/wal: file ${before + 1} is missing`);
  });
  const newest = await readFile(folder, names.at(-1)!, ports);
  const before = names.at(-2);
  if (newest.lastIndex > 0 || before === undefined) return newest;
  const { lastIndex, lastTerm, termStarts } = await readFile(folder, before, ports);
  return { ...newest, lastIndex, lastTerm, termStarts };
}

function sequenceOf(name: string): number {
  const match = /^([0-9a-f]{16})-[0-9a-f]{16}\.wal$/.exec(name);
  if (match === null) throw damage(`member/wal: "${name}" is not the name of a log file`);
  return parseInt(match[1]!, 16);
}

async function readFile(folder: string, name: string, { reader }: WalPorts): Promise<WalFacts> {
  const file = await reader.open(`${folder}/${name}`);
  if (file === undefined) throw damage(`member/wal/${name} disappeared`);
  try {
    return await readRecords(file, name);
  } finally {
    file.close();
  }
}

async function readRecords(file: OpenFile, name: string): Promise<WalFacts> {
  const state = new LogState(name);
  for await (const frame of framesOf(file)) {
    if (!state.add(frame)) break;
  }
  return state.facts();
}

/** What the records of one log file add up to, in their order. Throws E2dError `data_damaged`. */
class LogState {
  readonly #name: string;
  #identity: Decoded<typeof metadata> | undefined;
  #state: Decoded<typeof hardState> | undefined;
  #last = { index: 0, term: 0 };
  #crc = 0;
  #endOffset = 0;
  readonly #confChanges = new Map<number, ConfChange>();
  #termStarts: LogPosition[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  /** False when the record is one that etcd never finished; etcd cuts it off at its next start. */
  add(frame: WalFrame): boolean {
    const place = `member/wal/${this.#name}: record at ${frame.offset}`;
    const found = frame.complete ? tryDecode(record, frame.record) : undefined;
    const crc = found && this.#crcWith(found);
    if (found === undefined || crc === undefined) {
      if (this.#identity !== undefined && isTorn(frame)) return false;
      throw damage(`${place} fails its checksum`);
    }
    this.#crc = crc;
    this.#endOffset = frame.nextOffset;
    this.#apply(found, place);
    return true;
  }

  facts(): WalFacts {
    if (this.#identity === undefined) throw damage(`member/wal/${this.#name} names no member`);
    const state = this.#state;
    return {
      memberId: this.#identity.nodeId,
      clusterId: this.#identity.clusterId,
      raftTerm: state?.term ?? 0,
      commitIndex: state?.commit ?? 0,
      lastIndex: this.#last.index,
      lastTerm: this.#last.term,
      termStarts: this.#termStarts,
      confChanges: this.#confChanges,
      tail: { name: this.#name, endOffset: this.#endOffset, crc: this.#crc, state },
    };
  }

  /** The checksum up to and including this record; undefined when the record contradicts it. */
  #crcWith({ type, crc, data }: Decoded<typeof record>): number | undefined {
    const declared = crc >>> 0;
    if (type === recordTypes.crc) return this.#crc === 0 || this.#crc === declared ? declared : undefined;
    const actual = crc32c(data, this.#crc);
    return actual === declared ? actual : undefined;
  }

  #apply({ type, data }: Decoded<typeof record>, place: string): void {
    switch (type) {
      case recordTypes.metadata:
        this.#identity = tryDecode(metadata, data);
        if (this.#identity === undefined || this.#identity.nodeId === "0") throw damage(`${place} names no member`);
        break;
      case recordTypes.state:
        this.#state = tryDecode(hardState, data);
        if (this.#state === undefined) throw damage(`${place} is not a raft state`);
        break;
      case recordTypes.entry: {
        const decoded = tryDecode(entry, data);
        if (decoded === undefined) throw damage(`${place} is not a raft entry`);
        this.#applyEntry(decoded);
        break;
      }
      case recordTypes.crc:
      case recordTypes.snapshot:
        break;
      default:
        throw damage(`${place} has the unknown type ${type}`);
    }
  }

  /** An entry replaces an earlier one of the same index and all that follow it. */
  #applyEntry({ type, term, index, data }: Decoded<typeof entry>): void {
    if (index <= this.#last.index) {
      for (const later of this.#confChanges.keys()) if (later >= index) this.#confChanges.delete(later);
      this.#termStarts = this.#termStarts.filter((start) => start.index < index);
    } else if (index > this.#last.index + 1) {
      // A snapshot from the leader replaced the entries between.
      this.#termStarts = [];
    }
    if (this.#termStarts.at(-1)?.term !== term) {
      this.#termStarts = [...this.#termStarts, { term, index }].slice(-termsMax);
    }
    this.#last = { index, term };
    const change = type === entryConfChange ? tryDecode(confChange, data) : undefined;
    const kind = change && confChangeKinds[change.type];
    if (kind) {
      this.#confChanges.set(index, { kind, memberId: change.nodeId, context: new Uint8Array(change.context) });
    }
  }
}

function tryDecode<T>(of: { decode(data: Uint8Array): T }, data: Uint8Array): T | undefined {
  try {
    return of.decode(data);
  } catch {
    return undefined;
  }
}

/**
 * The frame that, appended to a log, declares all its entries committed. A follower's log may end with entries that the
 * leader acknowledged before the follower learned that they are committed; an etcd started with `--force-new-cluster`
 * discards those. Undefined when there is nothing to declare.
 */
export function commitAllFrame({ lastIndex, tail }: WalFacts): Uint8Array<ArrayBuffer> | undefined {
  if (tail.state === undefined || tail.state.commit >= lastIndex) return undefined;
  const data = hardState.encode({ ...tail.state, commit: lastIndex });
  return encodeFrame(record.encode({ type: recordTypes.state, crc: crc32c(data, tail.crc), data }));
}
