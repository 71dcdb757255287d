/** The head of an HTTP/1 request (RFC 9112), as far as somebody needs it who answers GET and nothing else. */

export interface HttpHead {
  readonly method: string;
  /** Absolute; its host is what the asker calls this server. */
  readonly url: string;
}

/** A name or an address, and a port: whatever else RFC 9110 allows nobody sends in earnest. */
const hostForm = /^([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?$/;

/**
 * Reads the text before the empty line. Undefined for what is no request, or one that could be read in two ways: two
 * hosts, folded lines, a space before a colon.
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
  // HTTP/1.0 knows no hosts: then this machine is meant.
  const host = hosts.length === 0 && minor === "0" ? "localhost" : hosts.length === 1 ? hosts[0]! : "";
  if (!hostForm.test(host)) return undefined;
  const url = URL.parse(target.startsWith("/") ? `${scheme}://${host}${target}` : target);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return undefined;
  return { method, url: url.href };
}
