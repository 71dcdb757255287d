/** Raw addresses of gossip: conversion from and to text, and comparison byte by byte. Pure. */
import { sameBytes } from "../bytes.ts";
import { E2dError } from "../errors.ts";
import type { Endpoint } from "./swim/types.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * The raw form of a textual IP address: 4 bytes for IPv4 (also for an IPv4-mapped IPv6 address), 16 bytes for IPv6.
 * Undefined for every other text, including host names.
 */
export function addressFromText(text: string): Bytes | undefined {
  const plain = text.replace(/^\[(.*)\]$/, "$1").replace(/%.*$/, "");
  const four = /^(?:::ffff:)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/i.exec(plain);
  if (four) {
    const bytes = four.slice(1).map(Number);
    return bytes.every((byte) => byte <= 255) ? Uint8Array.from(bytes) : undefined;
  }
  if (!/^[0-9a-f:]+$/i.test(plain) || !plain.includes(":")) return undefined;
  const [head, tail, ...more] = plain.split("::");
  if (more.length > 0) return undefined;
  const groups = (part: string) => part === "" ? [] : part.split(":");
  const left = groups(head!);
  const right = tail === undefined ? [] : groups(tail);
  const gap = 8 - left.length - right.length;
  if (tail === undefined ? gap !== 0 : gap < 1) return undefined;
  const all = [...left, ...new Array<string>(gap).fill("0"), ...right];
  if (!all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return Uint8Array.from(all.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 0xff]));
}

/**
 * The text of a raw address. IPv4-mapped addresses become plain IPv4. Throws E2dError `gossip_address` for a length
 * other than 4 or 16 bytes.
 */
export function addressToText(address: Uint8Array): string {
  if (address.length === 4) return address.join(".");
  if (address.length !== 16) {
    throw new E2dError("gossip_address", `Cannot use an address of ${address.length} bytes: an IP address has 4 or 16`);
  }
  if (address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff && address[11] === 0xff) {
    return address.subarray(12).join(".");
  }
  const groups = Array.from({ length: 8 }, (_, at) => (address[2 * at]! << 8 | address[2 * at + 1]!).toString(16));
  return groups.join(":");
}

/** Compares byte by byte, as all peers do: the two forms of an IPv4 address are two addresses. */
export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && sameBytes(a.address, b.address);
}
