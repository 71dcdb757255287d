/** Parses, compares and matches the host names and addresses of certificates, with the rules of TLS clients. */
import { E2dError } from "../errors.ts";

export type Host =
  | { kind: "dns"; name: string }
  /** `text` is canonical: equal addresses have equal texts. */
  | { kind: "ip"; text: string };

/**
 * One host of `--hosts`: a DNS name (also with a leading "*."), an IPv4 address, or an IPv6 address with or without
 * brackets. Throws E2dError `pki_host` for every other text, such as a URL or a port.
 */
export function parseHost(text: string): Host {
  const fail = (state: string, hint?: string) =>
    new E2dError("pki_host", `Cannot put the host "${text}" into a certificate: ${state}`, hint ? { hint } : {});
  const given = text.trim();
  if (given === "") throw fail("the name is empty");
  if (given.includes("://")) throw fail("it is a URL", "pass only the host name or address");
  const ip = parseIp(given.replace(/^\[(.*)\]$/, "$1"));
  if (ip !== undefined) return { kind: "ip", text: ip };
  if (given.includes(":")) {
    throw /^[^:]+:\d+$/.test(given) || given.startsWith("[")
      ? fail("a certificate names hosts, not ports", "pass only the host name or address")
      : fail("the IPv6 address is not valid");
  }
  if (/^[\d.]+$/.test(given)) throw fail("the IPv4 address is not valid");
  const name = given.toLowerCase().replace(/\.$/, "");
  // deno-lint-ignore no-control-regex
  if (/[^\x00-\x7f]/.test(name)) throw fail("the name is not ASCII", "pass its punycode form, xn--…");
  if (name.length > 253) throw fail("the name is longer than 253 characters");
  const labels = name.split(".");
  const rest = labels[0] === "*" ? labels.slice(1) : labels;
  if (rest.length === 0 || (rest.length < labels.length && rest.length < 2)) {
    throw fail("a wildcard must stand for one label of a longer name", 'pass a name like "*.etcd.example.com"');
  }
  for (const label of rest) {
    // RFC 952 forbids underscores in host names, but Kubernetes, Docker and DNS use them.
    if (!/^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label)) {
      throw fail(`"${label}" is not a valid label of a host name`);
    }
  }
  return { kind: "dns", name };
}

/** Parses hosts and removes duplicates, in the order of first mention. */
export function parseHosts(texts: Iterable<string>): Host[] {
  const unique = new Map<string, Host>();
  for (const text of texts) {
    const host = parseHost(text);
    const key = formatHost(host);
    if (!unique.has(key)) unique.set(key, host);
  }
  return [...unique.values()];
}

export function formatHost(host: Host): string {
  return host.kind === "dns" ? host.name : host.text;
}

/** True when a TLS client that dials `host` accepts a certificate with these names (RFC 6125, as implemented by Go). */
export function coversHost(names: readonly Host[], host: Host): boolean {
  return names.some((name) => {
    if (name.kind === "ip" || host.kind === "ip") {
      return name.kind === host.kind && formatHost(name) === formatHost(host);
    }
    if (name.name === host.name) return true;
    if (!name.name.startsWith("*.")) return false;
    // The wildcard matches exactly one label, the leftmost.
    return host.name.slice(host.name.indexOf(".") + 1) === name.name.slice(2) && host.name.indexOf(".") > 0;
  });
}

/** The canonical text of an address; undefined for other text. An IPv4-mapped IPv6 address becomes IPv4. */
export function parseIp(text: string): string | undefined {
  const v4 = parseIpv4(text);
  if (v4) return v4.join(".");
  // The URL parser reads every form of IPv6 and returns the form of RFC 5952. Certificates have no zones.
  if (!/^[0-9a-fA-F:.]{2,45}$/.test(text) || !text.includes(":")) return undefined;
  const url = URL.parse(`http://[${text}]/`);
  if (url === null) return undefined;
  const v6 = url.hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(v6);
  if (!mapped) return v6;
  const [high, low] = [parseInt(mapped[1]!, 16), parseInt(mapped[2]!, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return undefined;
  const numbers = parts.map(Number);
  return numbers.every((number) => number <= 255) ? numbers : undefined;
}
