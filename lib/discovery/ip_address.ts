/** Classifies textual IP addresses for discovery. Pure. */

/** Four numbers, or undefined for anything but a dotted IPv4 address. */
function parseIpv4(text: string): [number, number, number, number] | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const four = match?.slice(1).map(Number);
  return four !== undefined && four.every((part) => part <= 255) ? four as [number, number, number, number] : undefined;
}

export type AddressKind = "private" | "public" | "loopback" | "link-local" | "unusable";

/**
 * The kind of an address; undefined for text that is not an IP address. Private: RFC 1918, RFC 6598 (carrier-grade NAT,
 * overlay networks) and RFC 4193. Unusable: unspecified, multicast, reserved.
 */
export function addressKind(text: string): AddressKind | undefined {
  const four = parseIpv4(text);
  if (four !== undefined) {
    const [a, b] = four;
    if (a === 127) return "loopback";
    if (a === 10 || a === 172 && b >= 16 && b < 32 || a === 192 && b === 168) return "private";
    if (a === 100 && b >= 64 && b < 128) return "private";
    if (a === 169 && b === 254) return "link-local";
    return a === 0 || a >= 224 ? "unusable" : "public";
  }
  if (!text.includes(":") || text.includes("%")) return undefined;
  let plain: string;
  try {
    plain = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  } catch {
    return undefined;
  }
  if (plain === "::1") return "loopback";
  if (plain === "::" || plain.startsWith("ff")) return "unusable";
  if (/^fe[89ab]/.test(plain)) return "link-local";
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(plain);
  if (mapped !== null) {
    const [high, low] = [parseInt(mapped[1]!, 16), parseInt(mapped[2]!, 16)];
    return addressKind(`${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`);
  }
  return /^f[cd]..:/.test(plain) ? "private" : "public";
}
