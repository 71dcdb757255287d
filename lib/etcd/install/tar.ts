/**
 * Reads a tar archive (ustar, with the pax and GNU long-name records that real archives use) as a stream, in bounded
 * memory. It rejects names and links that leave the archive; it never touches a disk.
 */
import { E2dError } from "../../errors.ts";

export interface TarEntry {
  /** Relative, with "/" between parts, never with a ".." part. */
  name: string;
  kind: "file" | "directory" | "link";
  /** Bytes of the body. */
  size: number;
  /** The body of a file. It can be read until the next entry is requested. */
  body: AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export interface TarLimits {
  /** Entries in one archive. */
  entriesMax: number;
  /** Bytes of one entry's body. */
  entrySizeMaxBytes: number;
}

const blockBytes = 512;
/** Long names and pax records are a few hundred bytes; more is an attack on memory. */
const metadataMaxBytes = 65_536;

const corrupt = (state: string) => new E2dError("archive_corrupt", `Cannot read tar archive: ${state}`);
const unsafe = (name: string, state: string) =>
  new E2dError("archive_unsafe", `Cannot unpack archive entry "${name}": ${state}`, {
    hint: "the archive is not an etcd release: check where it comes from",
  });

/** Reads exact byte counts from a stream of chunks of any size. */
class ByteSource {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  #chunk: Uint8Array<ArrayBuffer> = new Uint8Array(0);

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.getReader();
  }

  /** At least one and at most `max` bytes; undefined at the end. */
  async some(max: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (this.#chunk.length === 0) {
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#chunk = value;
    }
    const taken = this.#chunk.subarray(0, max);
    this.#chunk = this.#chunk.subarray(taken.length);
    return taken;
  }

  /** Exactly `length` bytes; undefined when the stream ends before the first of them. */
  async exactly(length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const out = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const part = await this.some(length - at);
      if (part === undefined && at === 0) return undefined;
      if (part === undefined) throw corrupt("it ends in the middle of a block");
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
  }
}

/** Entries in the order of the archive. Throws E2dError `archive_corrupt` or `archive_unsafe`. */
export async function* readTar(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  limits: TarLimits,
): AsyncGenerator<TarEntry, void, void> {
  const source = new ByteSource(stream);
  try {
    let pending: { name?: string; link?: string; size?: number } = {};
    for (let entries = 0;; entries++) {
      const header = await source.exactly(blockBytes);
      if (header === undefined) throw corrupt("it ends without its closing blocks");
      if (header.every((byte) => byte === 0)) break;
      if (entries >= limits.entriesMax) throw corrupt(`it has more than ${limits.entriesMax} entries`);
      const fields = parseHeader(header);
      const size = pending.size ?? fields.size;
      if (size > limits.entrySizeMaxBytes) {
        throw unsafe(pending.name ?? fields.name, `it has ${size} bytes, at most ${limits.entrySizeMaxBytes} allowed`);
      }
      const metadata = "xgLK".includes(fields.type);
      if (metadata) {
        const text = decode(await readMetadata(source, fields.size));
        if (fields.type === "x") pending = { ...pending, ...parsePax(text) };
        if (fields.type === "L") pending.name = cString(text);
        if (fields.type === "K") pending.link = cString(text);
        continue;
      }
      const entry = safeEntry(fields.type, pending.name ?? fields.name, pending.link ?? fields.link);
      pending = {};
      const body = new EntryBody(source, entry.kind === "file" ? size : 0);
      yield { ...entry, size: body.size, body };
      await body.skip();
    }
    // There may be padding after the closing blocks. Reading to the end lets the decompressor verify the gzip checksum.
    for (let padding = 0; padding <= 1_048_576;) {
      const rest = await source.some(blockBytes * 128);
      if (rest === undefined) return;
      if (rest.some((byte) => byte !== 0)) throw corrupt("it has bytes after its closing blocks");
      padding += rest.length;
    }
    throw corrupt("it has more than a mebibyte of padding");
  } finally {
    await source.cancel();
  }
}

class EntryBody implements AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly size: number;
  readonly #source: ByteSource;
  #left: number;

  constructor(source: ByteSource, size: number) {
    this.#source = source;
    this.size = size;
    this.#left = size;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    while (this.#left > 0) {
      const part = await this.#source.some(this.#left);
      if (part === undefined) throw corrupt("it ends in the middle of an entry");
      this.#left -= part.length;
      yield part;
    }
  }

  /** Reads the rest of the body and the padding to the next block. */
  async skip(): Promise<void> {
    for await (const _ of this);
    await skipPadding(this.#source, this.size);
  }
}

async function skipPadding(source: ByteSource, size: number): Promise<void> {
  const padding = (blockBytes - size % blockBytes) % blockBytes;
  if (padding > 0 && await source.exactly(padding) === undefined) throw corrupt("it ends in the middle of an entry");
}

async function readMetadata(source: ByteSource, size: number): Promise<Uint8Array<ArrayBuffer>> {
  if (size > metadataMaxBytes) throw corrupt(`a name record has ${size} bytes`);
  const data = size === 0 ? new Uint8Array(0) : await source.exactly(size);
  if (data === undefined) throw corrupt("it ends in the middle of a name record");
  await skipPadding(source, size);
  return data;
}

function parseHeader(header: Uint8Array<ArrayBuffer>): { name: string; type: string; size: number; link: string } {
  const stored = octal(header.subarray(148, 156));
  let sum = 0;
  // The checksum counts its own eight bytes as spaces.
  for (let i = 0; i < blockBytes; i++) sum += i >= 148 && i < 156 ? 32 : header[i]!;
  if (stored !== sum) throw corrupt("a header does not match its checksum");
  const posix = decode(header.subarray(257, 263)) === "ustar\0";
  const prefix = posix ? cString(decode(header.subarray(345, 500))) : "";
  const name = cString(decode(header.subarray(0, 100)));
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    type: String.fromCharCode(header[156]!).replace("\0", "0"),
    size: number(header.subarray(124, 136)),
    link: cString(decode(header.subarray(157, 257))),
  };
}

/** Octal text, or GNU's big-endian binary number when the first bit is set. */
function number(field: Uint8Array): number {
  if ((field[0]! & 0x80) === 0) return octal(field);
  let value = field[0]! & 0x7f;
  for (const byte of field.subarray(1)) value = value * 256 + byte;
  if (!Number.isSafeInteger(value)) throw corrupt("a size is too large");
  return value;
}

function octal(field: Uint8Array): number {
  const text = decode(field).replace(/[\0 ]+$/, "").trim();
  if (!/^[0-7]{1,12}$/.test(text)) throw corrupt(`"${text}" is not an octal number`);
  return parseInt(text, 8);
}

/** pax records: "<length> <key>=<value>\n", where the length counts the whole record in bytes. */
function parsePax(text: string): { name?: string; link?: string; size?: number } {
  const found: { name?: string; link?: string; size?: number } = {};
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) {
    const record = /^(\d{1,6}) /.exec(decode(bytes.subarray(at, at + 8)));
    const length = Number(record?.[1] ?? 0);
    if (record === null || length <= record[0].length || at + length > bytes.length) {
      throw corrupt("a pax record has a wrong length");
    }
    const line = decode(bytes.subarray(at + record[0].length, at + length - 1));
    const key = line.slice(0, line.indexOf("="));
    const value = line.slice(line.indexOf("=") + 1);
    if (key === "path") found.name = value;
    if (key === "linkpath") found.link = value;
    if (key === "size") {
      if (!/^\d{1,15}$/.test(value)) throw corrupt(`"${value}" is not a size`);
      found.size = Number(value);
    }
    at += length;
  }
  return found;
}

function safeEntry(type: string, name: string, link: string): Pick<TarEntry, "name" | "kind"> {
  const parts = safeParts(name, name);
  switch (type) {
    case "0":
    case "7":
      return { name: parts.join("/"), kind: "file" };
    case "5":
      return { name: parts.join("/"), kind: "directory" };
    case "1": // A hard link's target is relative to the top of the archive.
      safeParts(name, link);
      return { name: parts.join("/"), kind: "link" };
    case "2": // A symbolic link's target is relative to its folder.
      safeParts(name, link, parts.length - 1);
      return { name: parts.join("/"), kind: "link" };
    default:
      throw unsafe(name, `it is neither a file nor a folder nor a link (type ${JSON.stringify(type)})`);
  }
}

/** The parts of a path, which must not leave the archive. `depth` is how far below its top the path starts. */
function safeParts(name: string, path: string, depth = 0): string[] {
  if (path === "" || path.includes("\0") || path.includes("\\")) throw unsafe(name, `"${path}" is not a plain path`);
  if (path.startsWith("/")) throw unsafe(name, `"${path}" is an absolute path`);
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  let level = depth;
  for (const part of parts) {
    level += part === ".." ? -1 : 1;
    if (level < 0) throw unsafe(name, `"${path}" leads out of the archive`);
  }
  if (depth === 0 && parts.includes("..")) throw unsafe(name, `"${path}" leads out of its folder`);
  return parts;
}

const decoder = new TextDecoder("utf-8", { fatal: false });
const decode = (bytes: Uint8Array) => decoder.decode(bytes);
const cString = (text: string) => text.split("\0", 1)[0]!;
