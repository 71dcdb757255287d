/** Prepares the folder that `deno task compile --embed-etcd` embeds into the executable. */
import { createReadStream, createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createHash } from "node:crypto";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { noteText } from "../lib/etcd/install/cache.ts";
import { type EtcdPrograms, findEtcd, installEtcd } from "../lib/etcd/install/provider.ts";
import type { UnpackedFile } from "../lib/etcd/install/unpack.ts";
import { systemEtcdRequest, systemProviderPorts } from "../lib/cli/etcd_provider.ts";
import type { Logger } from "../lib/ports.ts";

/** Without etcdctl: e2d has its own client, and every embedded megabyte uses memory at run time. */
const embedded = ["etcd", "etcdutl"] as const;

const line = (message: string, fields?: Readonly<Record<string, unknown>>) =>
  console.error(`compile: ${message}${fields ? ` ${JSON.stringify(fields)}` : ""}`);
const log: Logger = { debug: () => {}, info: line, warn: line, error: line, with: () => log };

/** Fills `folder` with compressed programs and their description; from `etcdDir`, or from the default release. */
export async function embedEtcd({ folder, etcdDir }: { folder: string; etcdDir: string | undefined }): Promise<void> {
  const request = await systemEtcdRequest({ etcdDir });
  const ports = systemProviderPorts(log);
  const found: EtcdPrograms = etcdDir === undefined
    ? await installEtcd(request, ports)
    : await findEtcd(request, ports);
  await Deno.mkdir(folder, { recursive: true });
  const files: Partial<Record<typeof embedded[number], UnpackedFile>> = {};
  for (const program of embedded) {
    const path = found[program];
    if (path === undefined) continue;
    // The executable keeps all embedded files in memory: compressed, etcd needs a third of the space.
    await pipeline(createReadStream(path), createGzip({ level: 9 }), createWriteStream(`${folder}/${program}.gz`));
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(path)) hash.update(chunk);
    files[program] = { sizeBytes: (await stat(path)).size, sha256: hash.digest("hex") };
  }
  const { etcd, ...rest } = files;
  if (etcd === undefined) throw new Error(`no etcd in "${etcdDir}"`);
  await Deno.writeTextFile(
    `${folder}/e2d.json`,
    noteText({ version: found.version, from: "embedded", files: { etcd, ...rest } }),
  );
  line("embedding etcd", { version: found.version, from: found.etcd });
}
