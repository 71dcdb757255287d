/** A certificate and its key as they lie on disk. */
import { E2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { sameBytes } from "./der.ts";
import { readPemFile } from "./key_files.ts";
import { type PrivateKey, publicKeyOf, readPrivateKey } from "./private_key.ts";
import type { PairPaths } from "./tls_set.ts";

export interface Pair {
  paths: PairPaths;
  certificate: Certificate;
  /** What the certificate's file carries along. */
  intermediates: readonly Certificate[];
  key: PrivateKey;
}

/**
 * Reads a pair and holds its halves together. `role` is the word for it in errors: "server".
 *
 * Throws E2dError: all that readCertificates and readPrivateKey throw, `pki_file_missing`, `pki_key_mismatch`.
 */
export async function readPair(files: Files, paths: PairPaths, role: string): Promise<Pair> {
  const cert = await readPemFile(files, paths.cert, `${role} certificate`);
  const [certificate, ...intermediates] = await readCertificates(cert.text, {
    role: `${role} certificate`,
    path: cert.path,
  });
  const source = { role: `${role} key`, path: paths.key };
  const key = readPrivateKey((await readPemFile(files, paths.key, source.role)).text, source);
  if (!sameBytes(await publicKeyOf(key, source), certificate.publicKey)) {
    throw new E2dError(
      "pki_key_mismatch",
      `Cannot use ${role} certificate "${paths.cert}" with key "${paths.key}": the key belongs to another certificate`,
      { hint: "put the matching two together, or make both anew with e2d pki renew --rekey" },
    );
  }
  return { paths, certificate, intermediates, key };
}
