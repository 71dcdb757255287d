/** Parses lists of peers, as text or JSON. Pure. */
import { E2dError } from "../errors.ts";
import { addressKind } from "./ip_address.ts";
import type { PeerAddress } from "./method.ts";

export const peerListBytesMax = 1024 * 1024;
const hostName = /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*\.?$/;

/** `10.0.0.1`, `10.0.0.1:7980`, `node-1.example.com`, `fd00::1` or `[fd00::1]:7980`; undefined for anything else. */
export function parsePeer(text: string): PeerAddress | undefined {
  if (addressKind(text) !== undefined) return usable(text, undefined);
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || match?.[1] !== undefined && !host.includes(":")) return undefined;
  return usable(host, match?.[3]);
}

function usable(host: string, portText: string | undefined): PeerAddress | undefined {
  const kind = addressKind(host);
  if (kind === "unusable" || kind === undefined && (!hostName.test(host) || /^[\d.]+$/.test(host))) return undefined;
  if (portText === undefined) return { host };
  const port = Number(portText);
  return port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

/**
 * A JSON array of addresses, or text with one address a line (or several, separated by spaces or commas) and comments
 * after "#". An empty text is an empty list. Throws E2dError `discovery_list`, which names the first invalid entry and
 * its position.
 */
export function parsePeerList(text: string, source: string): PeerAddress[] {
  const body = text.replace(/^\ufeff/, "");
  const entries = body.trimStart().startsWith("[") && !/^\s*\[[0-9a-fA-F:]+\](?::\d+)?\s*(?:[#,\s]|$)/.test(body)
    ? jsonEntries(body, source)
    : lineEntries(body);
  return entries.map(({ entry, place }) => {
    const peer = typeof entry === "string" ? parsePeer(entry.trim()) : undefined;
    if (peer !== undefined) return peer;
    const shown = JSON.stringify(entry)?.slice(0, 80) ?? "nothing";
    throw new E2dError("discovery_list", `Cannot read the peers of ${source}: ${shown} ${place} is not an address`, {
      hint: "write one IP address or host name per line, with :PORT for another gossip port",
    });
  });
}

interface Entry {
  entry: unknown;
  place: string;
}

function jsonEntries(text: string, source: string): Entry[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new E2dError("discovery_list", `Cannot read the peers of ${source}: the JSON list is truncated or malformed`);
  }
  return (value as unknown[]).map((entry, index) => ({ entry, place: `(entry ${index + 1})` }));
}

function lineEntries(text: string): Entry[] {
  return text.split(/\r?\n/).flatMap((line, index) =>
    line.replace(/#.*/, "").split(/[\s,]+/).filter((entry) => entry !== "")
      .map((entry) => ({ entry, place: `in line ${index + 1}` }))
  );
}
