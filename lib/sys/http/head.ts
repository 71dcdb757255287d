/** Parses the head of an HTTP/1 request (RFC 9112), as far as a server that answers only GET needs it. */

export interface HttpHead {
  readonly method: string;
  /** Absolute, with the host that the client used. */
  readonly url: string;
}

/** A name or an address, and a port. RFC 9110 allows more, which no client uses. */
const hostForm = /^([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?$/;

/**
 * Takes the text before the empty line. Undefined for an invalid or ambiguous request: two hosts, folded lines, a space
 * before a colon.
 */
export function parseHttpHead(text: string, scheme: "http" | "https"): HttpHead | undefined {
  const [first = "", ...lines] = text.split("\r\n");
  const [, method, target, minor] = /^([A-Z]{1,20}) ([\x21-\x7e]+) HTTP\/1\.([01])$/.exec(first) ?? [];
  if (method === undefined || target === undefined) return undefined;
  const hosts: string[] = [];
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    if (name.toLowerCase() === "host") hosts.push(value);
  }
  // HTTP/1.0 has no Host header.
  const host = hosts.length === 0 && minor === "0" ? "localhost" : hosts.length === 1 ? hosts[0]! : "";
  if (!hostForm.test(host)) return undefined;
  const url = URL.parse(target.startsWith("/") ? `${scheme}://${host}${target}` : target);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return undefined;
  return { method, url: url.href };
}
