/**
 * Decodes branch and leaf pages of a bbolt file (go.etcd.io/bbolt, internal/common/page.go; little-endian). Every offset
 * and length in a page is checked against its bytes before it is used.
 */
import { damage } from "./damage.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

export interface BoltEntry {
  readonly key: Bytes;
  readonly value: Bytes;
}

export const headerBytes = 16;
export const elementBytes = 16;
const branchFlag = 0x01;
const leafFlag = 0x02;
const bucketFlag = 0x01;

export interface PageHeader {
  readonly kind: "branch" | "leaf";
  /** Elements in the page. */
  readonly count: number;
  /** Further pages that this one continues into. */
  readonly overflow: number;
}

/** Throws E2dError `data_damaged`. The page of an inline bucket has no id of its own. */
export function headerOf(page: Bytes, id: number | "inline"): PageHeader {
  if (page.length < headerBytes) throw damage(`page ${id} ends within its header`);
  const view = new DataView(page.buffer, page.byteOffset, headerBytes);
  if (id !== "inline" && number64(view, 0) !== id) throw damage(`page ${id} has the id of another page`);
  const flags = view.getUint16(8, true);
  if (flags !== branchFlag && flags !== leafFlag) throw damage(`page ${id} is neither a branch nor a leaf`);
  return {
    kind: flags === branchFlag ? "branch" : "leaf",
    count: view.getUint16(10, true),
    overflow: view.getUint32(12, true),
  };
}

/** A branch or leaf page together with the pages that it continues into. */
export class BoltPage {
  readonly kind: "branch" | "leaf";
  readonly count: number;
  readonly #id: number | "inline";
  readonly #data: Bytes;
  readonly #view: DataView;

  /** Throws E2dError `data_damaged`, as every method. */
  constructor(data: Bytes, id: number | "inline") {
    const { kind, count } = headerOf(data, id);
    if (headerBytes + count * elementBytes > data.length) throw damage(`page ${id} has too many elements`);
    if (kind === "branch" && count === 0) throw damage(`page ${id} is a branch without children`);
    this.kind = kind;
    this.count = count;
    this.#id = id;
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.length);
  }

  isBucket(index: number): boolean {
    return (this.#view.getUint32(elementOffset(index), true) & bucketFlag) !== 0;
  }

  child(index: number): number {
    return number64(this.#view, elementOffset(index) + 8);
  }

  key(index: number): Bytes {
    const at = elementOffset(index);
    const [position, length] = this.kind === "branch"
      ? [this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true)]
      : [this.#view.getUint32(at + 4, true), this.#view.getUint32(at + 8, true)];
    return this.#slice(at + position, length);
  }

  value(index: number): Bytes {
    const at = elementOffset(index);
    const [position, keyBytes, valueBytes] = [4, 8, 12].map((field) => this.#view.getUint32(at + field, true));
    return this.#slice(at + position! + keyBytes!, valueBytes!);
  }

  #slice(start: number, length: number): Bytes {
    if (start + length > this.#data.length) throw damage(`page ${this.#id} has an entry beyond its end`);
    return this.#data.subarray(start, start + length);
  }
}

const elementOffset = (index: number) => headerBytes + index * elementBytes;

/** Numbers beyond 2^53 lose their last bits. No file is that long, so the checks of ids and lengths reject them. */
export function number64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
}
