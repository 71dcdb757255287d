/**
 * The subset of DER that is needed to read and convert private key containers. Certificates are read by a full X.509
 * library. This reader gets a few kilobytes at most and must refuse every structure that it does not know.
 */

export const derTag = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectId: 0x06,
  sequence: 0x30,
} as const;

/** One element: its tag byte, its content and its whole encoding. Views of the input, not copies. */
export interface DerElement {
  tag: number;
  content: Uint8Array<ArrayBuffer>;
  encoded: Uint8Array<ArrayBuffer>;
}

/** Invalid or truncated DER. Must not leave lib/pki: callers convert it to an E2dError that names the file. */
export class DerError extends Error {
  override readonly name = "DerError";
}

/** All consecutive elements of `bytes`. Throws DerError. */
export function readDerList(bytes: Uint8Array<ArrayBuffer>): DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length;) {
    const element = readElement(bytes, at);
    elements.push(element);
    at += element.encoded.length;
  }
  return elements;
}

/** The single element of `bytes`. Throws DerError when more bytes follow it. */
function readDer(bytes: Uint8Array<ArrayBuffer>): DerElement {
  const element = readElement(bytes, 0);
  if (element.encoded.length !== bytes.length) throw new DerError("bytes follow the end of the structure");
  return element;
}

/** The members of a SEQUENCE. Throws DerError for another type. */
export function readDerSequence(bytes: Uint8Array<ArrayBuffer>): DerElement[] {
  const element = readDer(bytes);
  if (element.tag !== derTag.sequence) throw new DerError("the structure is not a SEQUENCE");
  return readDerList(element.content);
}

function readElement(bytes: Uint8Array<ArrayBuffer>, start: number): DerElement {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw new DerError("the structure ends early");
  if ((tag & 0x1f) === 0x1f) throw new DerError("long tags are not used in keys");
  let length = first;
  let at = start + 2;
  if (first >= 0x80) {
    const count = first & 0x7f;
    // No key needs more than four length bytes; zero is BER's indefinite length, which DER forbids.
    if (count === 0 || count > 4) throw new DerError("a length is not DER");
    length = 0;
    for (let i = 0; i < count; i++) {
      const byte = bytes[at++];
      if (byte === undefined) throw new DerError("the structure ends early");
      length = length * 256 + byte;
    }
  }
  if (at + length > bytes.length) throw new DerError("the structure ends early");
  return { tag, content: bytes.subarray(at, at + length), encoded: bytes.subarray(start, at + length) };
}

/** Encodes one element from its tag and its content. */
export function writeDer(tag: number, ...content: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = content.reduce((sum, part) => sum + part.length, 0);
  const lengthBytes: number[] = [];
  if (size < 0x80) lengthBytes.push(size);
  else {
    for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) lengthBytes.unshift(rest % 256);
    lengthBytes.unshift(0x80 | lengthBytes.length);
  }
  const out = new Uint8Array(1 + lengthBytes.length + size);
  out[0] = tag;
  out.set(lengthBytes, 1);
  let at = 1 + lengthBytes.length;
  for (const part of content) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** "1.2.840.10045.2.1" of an OBJECT IDENTIFIER's content. Throws DerError. */
export function readObjectId(content: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const [index, byte] of content.entries()) {
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new DerError("an object identifier is too long");
    if (byte & 0x80) {
      if (index === content.length - 1) throw new DerError("an object identifier ends early");
      continue;
    }
    if (arcs.length === 0) arcs.push(Math.min(2, Math.floor(arc / 40)), arc - 40 * Math.min(2, Math.floor(arc / 40)));
    else arcs.push(arc);
    arc = 0;
  }
  if (arcs.length === 0) throw new DerError("an object identifier is empty");
  return arcs.join(".");
}
