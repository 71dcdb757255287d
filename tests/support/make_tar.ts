/** Creates tar archives byte by byte, including malicious ones that a tar program refuses to write. */
export interface TarMember {
  name: string;
  /** "0" file, "5" folder, "2" symbolic link, "1" hard link, "x" pax record, "L" long name. Default "0". */
  type?: string;
  data?: Uint8Array | string;
  link?: string;
  /** The size in the header; default: the length of `data`. */
  size?: number;
}

const encoder = new TextEncoder();

export function makeTar(members: readonly TarMember[], { closed = true } = {}): Uint8Array<ArrayBuffer> {
  const blocks: Uint8Array[] = [];
  for (const { name, type = "0", data = "", link = "", size } of members) {
    const body = typeof data === "string" ? encoder.encode(data) : data;
    const header = new Uint8Array(512);
    const put = (at: number, text: string) => header.set(encoder.encode(text), at);
    put(0, name);
    put(100, "0000755\0");
    put(124, (size ?? body.length).toString(8).padStart(11, "0") + "\0");
    put(148, "        ");
    put(156, type);
    put(157, link);
    put(257, "ustar\x0000");
    const sum = header.reduce((total, byte) => total + byte, 0);
    put(148, sum.toString(8).padStart(6, "0") + "\0 ");
    blocks.push(header, body, new Uint8Array((512 - body.length % 512) % 512));
  }
  if (closed) blocks.push(new Uint8Array(1024));
  return concat(blocks);
}

export async function gzip(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(
    await new Response(new Blob([data]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
  );
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
