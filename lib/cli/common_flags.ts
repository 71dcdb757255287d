/** Flags that several commands have. */
import { choice, path, toggle } from "./flag.ts";

export const globalFlags = {
  verbose: toggle("verbose log output (debug)", { short: "v" }),
  logFormat: choice(["auto", "text", "json"], "form of the log; auto is text on a terminal and JSON elsewhere", {
    default: "auto",
  }),
  help: toggle("help for this command", { short: "h" }),
} as const;

/** For commands whose settings a node also has. */
export const configFlag = { config: path("YAML file with the same names as these flags") } as const;

export const caFlags = {
  caCert: path("CA certificate"),
  caKey: path("CA key; gossip and snapshots are sealed with what derives from it"),
} as const;
