/** A trial restore of a snapshot of each release: its content is compared with that of the restored etcd. */
import { openEtcd } from "../../lib/etcd/client/client.ts";
import { rehearseRestore } from "../../lib/etcd/restore/rehearse.ts";
import type { Logger } from "../../lib/ports.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemFileReader } from "../../lib/sys/file_reader.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { systemProcesses } from "../../lib/sys/process.ts";
import { systemStaging } from "../../lib/sys/staging.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { etcdDir, etcdVersions } from "../support/parts.ts";
import { PlainCluster } from "./plain_cluster.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };
const log: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, with: () => log };
const ports = {
  processes: systemProcesses,
  files: systemFiles,
  staging: systemStaging,
  reader: systemFileReader,
  clock: systemClock,
  log,
};

for (const version of etcdVersions) {
  Deno.test(
    `rehearseRestore() finds the content of a snapshot of etcd ${version} in the restored etcd`,
    sanitize,
    async () => {
      await enableGrpcTls();
      await using directory = await temporaryDirectory();
      await using cluster = await PlainCluster.start({ directory: directory.path, size: 1, version });
      const member = cluster.members[0]!;
      const etcd = await openEtcd({ endpoints: [member.clientUrl], clock: systemClock, callTimeoutMs: 30_000 });
      for (let round = 0; round < 3; round++) {
        for (let n = 0; n < 50; n++) await etcd.put(`key${n}`, `value ${round}`);
      }
      await etcd.txn({ compare: [], success: [{ kind: "delete", key: "key7" }] });
      const { revision } = await etcd.status(member.clientUrl);
      const { stream } = await etcd.snapshot(member.clientUrl);
      await Deno.writeFile(`${directory.path}/good.db`, stream);
      etcd.close();
      const dir = etcdDir(version);
      const programs = version.startsWith("3.4")
        ? { etcd: `${dir}/etcd`, etcdctl: `${dir}/etcdctl`, version }
        : { etcd: `${dir}/etcd`, etcdutl: `${dir}/etcdutl`, version };
      const rehearse = async (file: string, skipHashCheck: boolean) => {
        await Deno.mkdir(`${directory.path}/${file}.work`, { mode: 0o700 });
        return await rehearseRestore({
          programs,
          snapshotPath: `${directory.path}/${file}.db`,
          workDir: `${directory.path}/${file}.work`,
          skipHashCheck,
        }, ports);
      };
      const { keys, revision: restored, hash } = await rehearse("good", false);
      assertEquals([keys, restored, hash.compared], [49, revision, true]);

      // etcd itself checks only the checksum at the end, and that check can be skipped.
      const bytes = await Deno.readFile(`${directory.path}/good.db`);
      const at = new TextDecoder("latin1").decode(bytes).lastIndexOf("value 2");
      bytes[at] = bytes[at]! ^ 1;
      await Deno.writeFile(`${directory.path}/touched.db`, bytes);
      await assertE2dError("restore_failed", () => rehearse("touched", false));
    },
  );
}
