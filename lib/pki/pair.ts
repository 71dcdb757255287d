/** Reads a certificate and its key from disk. */
import { E2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { sameBytes } from "../bytes.ts";
import { readPemFile } from "./key_files.ts";
import { type PrivateKey, publicKeyOf, readPrivateKey } from "./private_key.ts";
import type { PairPaths } from "./tls_set.ts";

export interface Pair {
  paths: PairPaths;
  certificate: Certificate;
  /** The further certificates of the certificate's file. */
  intermediates: readonly Certificate[];
  key: PrivateKey;
}

/**
 * Reads a pair and verifies that the key belongs to the certificate. `role` names the pair in errors: "server".
 *
 * Throws E2dError: the errors of readCertificates and readPrivateKey, `pki_file_missing`, `pki_key_mismatch`.
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
      { hint: "restore the matching file, or create both again: e2d pki renew --rekey" },
    );
  }
  return { paths, certificate, intermediates, key };
}
