/**
 * PEM, the text format of keys and certificates (RFC 7468, with the `Proc-Type` headers of RFC 1421 of old encrypted
 * keys). Reading ignores text around the blocks, as Go and openssl do, and is strict inside them.
 */
import { E2dError } from "../errors.ts";

export interface PemBlock {
  /** The text between BEGIN and the dashes: "CERTIFICATE", "RSA PRIVATE KEY". */
  label: string;
  headers: Readonly<Record<string, string>>;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Far above any bundle of CA certificates. */
const pemFileBytesMax = 1024 * 1024;

/**
 * The blocks of a PEM text in order; empty without blocks. `what` names the text in errors, with its quoted path: `CA key
 * "/etc/e2d/ca.key"`.
 *
 * Throws E2dError `pki_pem` when a block is damaged or the text is too long.
 */
export function readPem(text: string, what: string): PemBlock[] {
  const fail = (state: string) => new E2dError("pki_pem", `Cannot read ${what}: ${state}`);
  if (text.length > pemFileBytesMax) throw fail(`it is longer than ${pemFileBytesMax} bytes`);
  const blocks: PemBlock[] = [];
  let open: { label: string; headers: Record<string, string>; body: string[] } | undefined;
  for (const raw of text.split(/\r\n|\r|\n/)) {
    const line = raw.trim();
    const edge = /^-----(BEGIN|END) ([A-Z0-9][A-Z0-9 ]{0,62})-----$/.exec(line);
    if (edge?.[1] === "BEGIN") {
      if (open) throw fail(`the block ${open.label} does not end before the next begins`);
      open = { label: edge[2]!, headers: {}, body: [] };
    } else if (edge) {
      if (open === undefined || edge[2] !== open.label) throw fail(`END ${edge[2]} without its BEGIN`);
      const bytes = decodeBase64(open.body.join(""));
      if (bytes === undefined) throw fail(`the block ${open.label} is not base64`);
      if (bytes.length === 0) throw fail(`the block ${open.label} is empty`);
      blocks.push({ label: open.label, headers: open.headers, bytes });
      open = undefined;
    } else if (open) {
      const header = open.body.length === 0 ? /^([A-Za-z0-9-]{1,64}): ?(.*)$/.exec(line) : null;
      if (header) open.headers[header[1]!] = header[2]!;
      else if (line !== "") open.body.push(line);
    }
  }
  if (open) throw fail(`the block ${open.label} is cut off`);
  return blocks;
}

/** One block as text with lines of 64 characters and a final newline, as openssl and Go write it. */
export function writePem(label: string, bytes: Uint8Array): string {
  const base64 = bytes.toBase64();
  const lines: string[] = [];
  for (let at = 0; at < base64.length; at += 64) lines.push(base64.slice(at, at + 64));
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return undefined;
  }
}
