/** Flags shared by several commands, and the logger that follows from them. */
import { choice, path, toggle } from "./flag.ts";

export const globalFlags = {
  verbose: toggle("also log debug messages", { short: "v" }),
  logFormat: choice(["auto", "text", "json"], "log format; auto selects text on a terminal and JSON otherwise", {
    default: "auto",
  }),
  help: toggle("help for this command", { short: "h" }),
} as const;

/** For commands that can read the configuration file of a node. */
export const configFlag = { config: path("YAML file whose keys are the names of these flags") } as const;

export const caFlags = {
  caCert: path("CA certificate"),
  caKey: path("CA key; the keys for gossip and snapshots are derived from it"),
} as const;

export const dryRun = toggle("print what the command would do, and change nothing");

/** The logger of a command, by its {@link globalFlags}. */
export const logOf = async (values: { logFormat: "auto" | "text" | "json"; verbose: boolean }) => {
  const { systemLogger } = await import("../../sys/log.ts");
  return systemLogger(values.logFormat, values.verbose);
};
