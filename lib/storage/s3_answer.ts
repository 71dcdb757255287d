/**
 * Parses the XML answers of S3. Must throw for anything but the expected document: a page of a proxy, a truncated body or
 * another root element never means "absent".
 */
import { XMLParser, XMLValidator } from "fast-xml-parser";
import type { StoredInfo } from "./store.ts";

export interface ListingPage {
  readonly objects: readonly StoredInfo[];
  /** The continuation token; undefined on the last page. */
  readonly next?: string;
}

/**
 * Blanks at the ends of a key are part of it. Entities are decoded here, because the parser leaves numeric ones in place
 * and limits their number, and each ETag of a listing has two.
 */
const parser = new XMLParser({
  ignoreAttributes: true,
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  isArray: (name) => name === "Contents" || name === "Upload",
});

type Fields = Readonly<Record<string, unknown>>;

/** One page of ListObjectsV2. Throws an Error whose message completes "its answer is no listing: ". */
export function parseListing(text: string): ListingPage {
  const page = rootOf(text, "ListBucketResult");
  const decoded = decoderOf(page);
  const contents = (page["Contents"] ?? []) as readonly (Fields | string)[];
  const objects = contents.map((entry): StoredInfo => {
    if (typeof entry === "string") throw new Error("an entry is empty");
    const [key, size] = [textOf(entry, "Key"), textOf(entry, "Size")];
    if (key === undefined || size === undefined || !/^\d+$/.test(size)) {
      throw new Error("an entry has no key or no size");
    }
    return {
      key: decoded(key),
      size: Number(size),
      modifiedMs: Date.parse(textOf(entry, "LastModified") ?? "") || 0,
    };
  });
  const count = textOf(page, "KeyCount");
  if (count !== undefined && Number(count) > objects.length) {
    throw new Error(`it announces ${count} keys and lists ${objects.length}`);
  }
  if (textOf(page, "IsTruncated") !== "true") return { objects };
  const next = textOf(page, "NextContinuationToken");
  if (next === undefined || next === "") throw new Error("it is cut and names no continuation token");
  return { objects, next };
}

export interface CutUpload {
  readonly key: string;
  readonly uploadId: string;
  /** By the store's clock. */
  readonly begunMs: number;
}

export interface UploadsPage {
  readonly uploads: readonly CutUpload[];
  /** Markers of the next page; undefined on the last one. */
  readonly next?: { readonly key: string; readonly uploadId: string };
}

/** One page of ListMultipartUploads. Throws an Error whose message completes "its answer is no listing: ". */
export function parseUploads(text: string): UploadsPage {
  const page = rootOf(text, "ListMultipartUploadsResult");
  const decoded = decoderOf(page);
  const uploads = ((page["Upload"] ?? []) as readonly Fields[]).map((entry): CutUpload => {
    const [key, uploadId, begun] = [textOf(entry, "Key"), textOf(entry, "UploadId"), textOf(entry, "Initiated")];
    const begunMs = Date.parse(begun ?? "");
    if (!key || !uploadId || Number.isNaN(begunMs)) throw new Error("an upload has no key, no id or no time");
    return { key: decoded(key), uploadId, begunMs };
  });
  if (textOf(page, "IsTruncated") !== "true") return { uploads };
  const [key, uploadId] = [textOf(page, "NextKeyMarker"), textOf(page, "NextUploadIdMarker") ?? ""];
  if (!key) throw new Error("it is cut and names no next key");
  return { uploads, next: { key: decoded(key), uploadId } };
}

/** Returns the text if it is whole XML. Throws an Error. */
export function requireWhole(text: string): string {
  if (XMLValidator.validate(text) !== true) throw new Error("it is not whole XML");
  return text;
}

const decoderOf = (page: Fields) => textOf(page, "EncodingType") === "url" ? decodeKey : (key: string) => key;

function rootOf(text: string, name: string): Fields {
  const document = parser.parse(requireWhole(text)) as Fields;
  const root = document[name];
  if (root === undefined) {
    const found = Object.keys(document).find((key) => !key.startsWith("?") && key !== "#text");
    throw new Error(`its root is ${JSON.stringify(found)}, not ${JSON.stringify(name)}`);
  }
  return typeof root === "object" && root !== null ? root as Fields : {};
}

function textOf(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return typeof value === "string" ? decodeXml(value) : undefined;
}

const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decodeXml(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|lt|gt|quot|apos));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return named[name.toLowerCase()]!;
    const point = decimal === undefined ? parseInt(hex, 16) : Number(decimal);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}

/** `encoding-type=url` writes a blank as "+" or "%20", and a plus sign as "%2B". */
function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    throw new Error(`key ${JSON.stringify(key)} is not URL-encoded`);
  }
}
