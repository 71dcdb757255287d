/**
 * The list of all commands of e2d with their flags. A command's `run` imports the module that executes it, so that no
 * command loads the modules of another.
 */
import { type Command, command } from "./command.ts";
import { globalFlags, logOf } from "./common_flags.ts";
import { shells } from "./completion.ts";
import { controlCommands } from "./control_commands.ts";
import { etcdCommands } from "./etcd_commands.ts";
import { pkiCommands } from "./pki_commands.ts";
import { contradictions, runFlags, toNodeConfig } from "./run_flags.ts";
import { snapshotCommands } from "./snapshot_commands.ts";
import { statusCommands } from "./status_commands.ts";

const plain: readonly Command[] = [
  command({
    path: "run",
    summary: "run and manage one node of an etcd cluster",
    flags: runFlags,
    check: contradictions,
    async run(values) {
      const { run } = await import("../run.ts");
      return await run(toNodeConfig(values), await logOf(values));
    },
  }),
  ...pkiCommands,
  ...snapshotCommands,
  ...etcdCommands,
  ...statusCommands,
  ...controlCommands,
  command({
    path: "completion",
    summary: "print the completion script for a shell",
    flags: { help: globalFlags.help },
    operands: [{ name: "SHELL", help: "bash, zsh or fish", required: true, choices: shells }],
    async run(_values, [shell]) {
      const { completionScript } = await import("./completion.ts");
      const { systemTerminal } = await import("../terminal.ts");
      systemTerminal.out(completionScript(shell as (typeof shells)[number], commands));
      return 0;
    },
  }),
  command({
    path: "version",
    summary: "print the versions of e2d and of its default etcd",
    flags: { help: globalFlags.help },
    run: () => Promise.reject(new Error("main.ts handles this command")),
  }),
];

/** `e2d plan scale 5` is `e2d scale 5 --dry-run`; exists for every command with `--dry-run`. */
const plans = plain.filter(({ flags }) => "dryRun" in flags).map((each): Command => {
  const { dryRun: _, ...flags } = each.flags;
  const { path, run } = each;
  return {
    ...each,
    path: `plan ${path}`,
    details: `Equivalent to "e2d ${path} --dry-run".`,
    planOf: path,
    flags,
    run: (values, operands) => run({ ...values, dryRun: true }, operands),
  };
});

export const commands: readonly Command[] = [...plain, ...plans];
