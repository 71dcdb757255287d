/** `e2d etcd …`: the flags of these commands. */
import { type Command, command } from "./command.ts";
import { dryRun, globalFlags, logOf } from "./common_flags.ts";
import { text, toggle } from "./flag.ts";
import { runFlags } from "./run_flags.ts";

/** In the order of the help. */
export const etcdCommands: readonly Command[] = [
  command({
    path: "etcd install",
    summary: "download an official etcd release",
    flags: {
      ...globalFlags,
      version: text("VERSION", "version to install; default: the newest with a pinned checksum"),
      to: text("DIR", "folder to install to; default: the cache of this user", { path: true }),
      dryRun,
    },
    async run(values) {
      const { etcdInstall } = await import("../etcd.ts");
      const { version, to, dryRun } = values;
      await etcdInstall({ version, to, dryRun }, await logOf(values));
      return 0;
    },
  }),
  command({
    path: "etcd list",
    summary: "list the etcd versions installed on this machine",
    flags: {
      ...globalFlags,
      etcdDir: runFlags.etcdDir,
      json: toggle("print JSON"),
    },
    async run(values) {
      const { etcdList } = await import("../etcd.ts");
      await etcdList({ etcdDir: values.etcdDir, json: values.json }, await logOf(values));
      return 0;
    },
  }),
];
