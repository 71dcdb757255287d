/** Encodes DNS queries and decodes answers (RFC 1035, 2782, 3596, 6891), as far as e2d uses them. Pure. */
import { E2dError } from "../errors.ts";

export const dnsTypes = { A: 1, AAAA: 28, SRV: 33 } as const;
export type DnsType = keyof typeof dnsTypes;

export interface DnsRecord {
  type: DnsType;
  /** The address, or the target of an SRV record without its last dot. */
  value: string;
  priority: number;
  weight: number;
  port: number;
}

export interface DnsAnswer {
  id: number;
  /** RFC 1035, 4.1.1: 0 no error, 2 server failure, 3 no such name, 5 refused. */
  code: number;
  /** The answer did not fit into the datagram; the query must be repeated over TCP. */
  truncated: boolean;
  /** The queried name in lower case. */
  question: string;
  questionType: number;
  records: DnsRecord[];
}

const classInternet = 1;
const typeOption = 41;
/** Passes nearly every network without fragmentation (dnsflagday.net/2020). */
const datagramBytes = 1232;
const headerBytes = 12;
const recordsMax = 2000;

/** A recursive query. Throws E2dError `dns_name` for an invalid name. */
export function encodeQuestion(id: number, name: string, type: DnsType): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
  for (const label of name.replace(/\.$/, "").split(".")) {
    const raw = new TextEncoder().encode(label);
    if (raw.length === 0 || raw.length > 63) {
      throw new E2dError("dns_name", `Cannot look up "${name}": a label of a name must have 1 to 63 bytes`);
    }
    bytes.push(raw.length, ...raw);
  }
  if (bytes.length - headerBytes > 254) throw new E2dError("dns_name", `Cannot look up "${name}": it is too long`);
  bytes.push(0, 0, dnsTypes[type], 0, classInternet);
  bytes.push(0, 0, typeOption, datagramBytes >> 8, datagramBytes & 255, 0, 0, 0, 0, 0, 0);
  return Uint8Array.from(bytes);
}

/** Throws E2dError `dns_answer` unless the bytes are a complete answer to one query. */
export function decodeAnswer(bytes: Uint8Array): DnsAnswer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = headerBytes;
  const need = (count: number) => {
    if (at + count > bytes.length) throw invalid("it is truncated");
  };
  const u16 = () => {
    need(2);
    at += 2;
    return view.getUint16(at - 2);
  };
  if (bytes.length < headerBytes) throw invalid("it is truncated");
  const flags = view.getUint16(2);
  if ((flags & 0x8000) === 0) throw invalid("it is a query");
  if (view.getUint16(4) !== 1) throw invalid("it does not repeat the question");
  const truncated = (flags & 0x0200) !== 0;
  const [question, afterQuestion] = readName(bytes, at);
  at = afterQuestion;
  const questionType = u16();
  u16();
  const records: DnsRecord[] = [];
  const count = view.getUint16(6);
  if (count > recordsMax) throw invalid(`it has more than ${recordsMax} records`);
  // The records of a truncated answer are ignored: the query is repeated over TCP.
  for (let index = 0; index < count && !truncated; index++) {
    at = readName(bytes, at)[1];
    const type = u16();
    const internet = u16() === classInternet;
    need(4);
    at += 4;
    const length = u16();
    need(length);
    const end = at + length;
    if (internet) addRecord(type, end);
    at = end;
  }
  return { id: view.getUint16(0), code: flags & 15, truncated, question, questionType, records };

  function addRecord(type: number, end: number): void {
    const data = bytes.subarray(at, end);
    const plain = { priority: 0, weight: 0, port: 0 };
    if (type === dnsTypes.A) {
      if (data.length !== 4) throw invalid("an IPv4 address does not have 4 bytes");
      records.push({ type: "A", value: data.join("."), ...plain });
    } else if (type === dnsTypes.AAAA) {
      if (data.length !== 16) throw invalid("an IPv6 address does not have 16 bytes");
      const groups = Array.from({ length: 8 }, (_, group) => view.getUint16(at + 2 * group).toString(16));
      records.push({ type: "AAAA", value: new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1), ...plain });
    } else if (type === dnsTypes.SRV) {
      const [priority, weight, port] = [u16(), u16(), u16()];
      const [value, after] = readName(bytes, at);
      if (after !== end) throw invalid("the length of an SRV record is wrong");
      records.push({ type: "SRV", value, priority, weight, port });
    }
  }
}

/** A name in lower case and the offset after it. Pointers must lead backwards, so that reading always ends. */
function readName(bytes: Uint8Array, start: number): [string, number] {
  const labels: string[] = [];
  let length = 0;
  let at = start;
  let end: number | undefined;
  for (let before = start;;) {
    const size = bytes[at];
    if (size === undefined) throw invalid("a name is truncated");
    if (size === 0) return [labels.join(".").toLowerCase(), end ?? at + 1];
    if ((size & 0xc0) === 0xc0) {
      const low = bytes[at + 1];
      if (low === undefined) throw invalid("a name is truncated");
      end ??= at + 2;
      at = (size & 0x3f) << 8 | low;
      if (at >= before) throw invalid("a name points forward");
      before = at;
      continue;
    }
    if (size > 63) throw invalid("a label is too long");
    if (at + 1 + size > bytes.length) throw invalid("a name is truncated");
    if ((length += size + 1) > 255) throw invalid("a name is too long");
    labels.push(new TextDecoder().decode(bytes.subarray(at + 1, at + 1 + size)));
    at += 1 + size;
  }
}

function invalid(state: string): E2dError {
  return new E2dError("dns_answer", `Cannot read the answer of a name server: ${state}`);
}
