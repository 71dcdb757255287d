/**
 * Reads etcd's write-ahead log as far as it tells who the member is and whether it is whole: all records of the newest
 * file, with their checksums; of the older ones only that they are there. etcd itself checks those it needs at its start.
 *
 * Format after etcd's server/storage/wal ({encoder,decoder,wal}.go), the same from 3.4 to 3.7: frames of a length (8
 * bytes, the upper one says how much padding follows), a record (type, checksum, data) and padding; the checksum is
 * CRC-32C over the data of all records so far, carried into the next file by that file's first record.
 */
import { isE2dError } from "../errors.ts";
import type { FileReader, Files, OpenFile } from "../ports.ts";
import { crc32c } from "./crc32c.ts";
import { damage } from "./bolt.ts";
import { bytes as bytesField, type Decoded, hexId, integer, message } from "./protobuf.ts";

export interface WalFacts {
  readonly memberId: string;
  readonly clusterId: string;
  /** Of the newest hard state in the newest file; 0 when it has none. */
  readonly raftTerm: number;
  /** Committed, by the same. */
  readonly commitIndex: number;
  /** The last entry, of the newest file or, when that has none, of the one before; 0 when that has none either. */
  readonly lastIndex: number;
  /** Changes of the membership in the newest file, by their index; those above `commitIndex` may never come true. */
  readonly confChanges: ReadonlyMap<number, ConfChange>;
  /** The newest file, and where in it the next record would go. */
  readonly tail: WalTail;
}

export interface WalTail {
  readonly name: string;
  readonly endOffset: number;
  readonly crc: number;
  /** Undefined while the member has not voted nor heard of a term. */
  readonly state: { readonly term: number; readonly vote: string; readonly commit: number } | undefined;
}

export interface ConfChange {
  readonly kind: "add" | "remove" | "update" | "addLearner";
  readonly memberId: string;
  /** What etcd says of the member, as JSON. */
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
const chunkBytes = 256 * 1024;
/** etcd takes requests of a few MiB; a record is one of them, or several. */
const recordBytesMax = 256 * 1024 * 1024;
/** What a disk writes as a whole: a record that was being written when the power went has empty ones in it. */
const sectorBytes = 512;

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
      // A record that is just being written may be seen half; damage is there the next time, too.
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
  const newest = await openAndRead(folder, names.at(-1)!, ports);
  const before = names.at(-2);
  if (newest.lastIndex > 0 || before === undefined) return newest;
  return { ...newest, lastIndex: (await openAndRead(folder, before, ports)).lastIndex };
}

async function openAndRead(folder: string, name: string, { reader }: WalPorts): Promise<WalFacts> {
  const file = await reader.open(`${folder}/${name}`);
  if (file === undefined) throw damage(`member/wal/${name} went away`);
  try {
    return await readFile(file, name);
  } finally {
    file.close();
  }
}

/**
 * The record that, put at the tail of a log, declares all its entries committed. A follower's log may end with entries
 * that the leader has acknowledged and of which the follower has not heard yet that they are; an etcd that is told to
 * forget the other members discards those. Undefined when there is nothing to declare.
 */
export function commitAllRecord({ lastIndex, tail }: WalFacts): Uint8Array<ArrayBuffer> | undefined {
  if (tail.state === undefined || tail.state.commit >= lastIndex) return undefined;
  const data = hardState.encode({ ...tail.state, commit: lastIndex });
  const encoded = record.encode({ type: recordTypes.state, crc: crc32c(data, tail.crc), data });
  const paddingBytes = (8 - encoded.length % 8) % 8;
  const frame = new Uint8Array(8 + encoded.length + paddingBytes);
  const view = new DataView(frame.buffer);
  view.setUint32(0, encoded.length, true);
  view.setUint32(4, paddingBytes === 0 ? 0 : (0x80 | paddingBytes) * 2 ** 24, true);
  frame.set(encoded, 8);
  return frame;
}

function sequenceOf(name: string): number {
  const match = /^([0-9a-f]{16})-[0-9a-f]{16}\.wal$/.exec(name);
  if (match === null) throw damage(`member/wal: "${name}" is no name of a log file`);
  return parseInt(match[1]!, 16);
}

async function readFile(file: OpenFile, name: string): Promise<WalFacts> {
  const path = `member/wal/${name}`;
  let identity: Decoded<typeof metadata> | undefined;
  let state: Decoded<typeof hardState> | undefined;
  let lastIndex = 0;
  let crc = 0;
  let endOffset = 0;
  const confChanges = new Map<number, ConfChange>();
  for await (const { frame, offset, nextOffset, complete } of framesOf(file)) {
    const at = `${path}: record at ${offset}`;
    const found = complete ? tryDecode(record, frame) : undefined;
    const isCrc = found?.type === recordTypes.crc;
    const next = found === undefined ? 0 : isCrc ? found.crc : crc32c(found.data, crc);
    const wrong = found === undefined || (isCrc ? crc !== 0 && crc !== found.crc : next !== found.crc >>> 0);
    if (wrong) {
      // Only its end is a record that was never finished; etcd cuts it off at its next start.
      if (identity !== undefined && (!complete || isTorn(frame, offset))) break;
      throw damage(`${at} fails its checksum`);
    }
    crc = next >>> 0;
    endOffset = nextOffset;
    switch (found.type) {
      case recordTypes.metadata:
        identity = tryDecode(metadata, found.data);
        if (identity === undefined || identity.nodeId === "0") throw damage(`${at} names no member`);
        break;
      case recordTypes.state:
        state = tryDecode(hardState, found.data);
        if (state === undefined) throw damage(`${at} is no raft state`);
        break;
      case recordTypes.entry: {
        const one = tryDecode(entry, found.data);
        if (one === undefined) throw damage(`${at} is no raft entry`);
        // A later entry of the same index takes the place of the former, and of all behind that.
        if (one.index <= lastIndex) {
          for (const index of confChanges.keys()) if (index >= one.index) confChanges.delete(index);
        }
        lastIndex = one.index;
        const change = one.type === entryConfChange ? tryDecode(confChange, one.data) : undefined;
        const kind = change && confChangeKinds[change.type];
        if (kind) {
          confChanges.set(one.index, { kind, memberId: change.nodeId, context: new Uint8Array(change.context) });
        }
        break;
      }
      case recordTypes.crc:
      case recordTypes.snapshot:
        break;
      default:
        throw damage(`${at} has the unknown type ${found.type}`);
    }
  }
  if (identity === undefined) throw damage(`${path} names no member`);
  return {
    memberId: identity.nodeId,
    clusterId: identity.clusterId,
    raftTerm: state?.term ?? 0,
    commitIndex: state?.commit ?? 0,
    lastIndex,
    confChanges,
    tail: { name, endOffset, crc, state },
  };
}

function tryDecode<T>(of: { decode(data: Uint8Array): T }, data: Uint8Array): T | undefined {
  try {
    return of.decode(data);
  } catch {
    return undefined;
  }
}

/** Each record's bytes and where they begin. The last one may be incomplete: the file ends within it. */
async function* framesOf(
  file: OpenFile,
): AsyncGenerator<{ frame: Uint8Array; offset: number; nextOffset: number; complete: boolean }, void, void> {
  let chunk: Uint8Array = new Uint8Array(0);
  /** Of the chunk's first byte. */
  let offset = 0;
  /** The chunk, with at least `count` bytes from `at` on unless the file ends before. */
  const fill = async (at: number, count: number) => {
    if (at + count <= chunk.length) return at;
    const rest = chunk.subarray(at);
    const more = await file.read(offset + chunk.length, Math.max(chunkBytes, count - rest.length));
    const joined = new Uint8Array(rest.length + more.length);
    joined.set(rest);
    joined.set(more, rest.length);
    offset += at;
    chunk = joined;
    return 0;
  };
  for (let at = 0;;) {
    at = await fill(at, 8);
    if (chunk.length - at < 8) return;
    const view = new DataView(chunk.buffer, chunk.byteOffset + at, 8);
    const [low, high] = [view.getUint32(0, true), view.getUint32(4, true)];
    // Zeros: the part of the file that was made beforehand.
    if (low === 0 && high === 0) return;
    const paddingBytes = high >>> 31 === 1 ? high >>> 24 & 0x7 : 0;
    const recordBytes = (high & 0xffffff) * 2 ** 32 + low;
    if (recordBytes > recordBytesMax) throw damage(`a record of its log claims ${recordBytes} bytes`);
    at = await fill(at, 8 + recordBytes + paddingBytes);
    const frame = chunk.subarray(at + 8, at + 8 + recordBytes);
    const nextAt = at + 8 + recordBytes + paddingBytes;
    yield { frame, offset: offset + at + 8, nextOffset: offset + nextAt, complete: frame.length === recordBytes };
    if (frame.length < recordBytes) return;
    at = nextAt;
  }
}

/** True when a whole sector of the record was never written. */
function isTorn(frame: Uint8Array, offset: number): boolean {
  for (let start = 0; start < frame.length;) {
    const end = start + sectorBytes - (offset + start) % sectorBytes;
    if (frame.subarray(start, end).every((byte) => byte === 0)) return true;
    start = end;
  }
  return false;
}
