/** `e2d status` and `e2d why`: the flags of these commands. */
import { endpointProblems } from "../client_endpoints.ts";
import { clientPems, clientTlsFlags } from "./client_tls.ts";
import { type Command, command } from "./command.ts";
import { caFlags, globalFlags } from "./common_flags.ts";
import { address, listOf, toggle } from "./flag.ts";

const statusFlags = {
  statusAddr: address(7981, "status address of the node to query", { default: "127.0.0.1:7981" }),
  caCert: caFlags.caCert,
  json: toggle("print JSON"),
} as const;

/** In the order of the help. */
export const statusCommands: readonly Command[] = [
  command({
    path: "status",
    summary: "show the state of the cluster as one node reports it",
    details: "With --endpoints the command queries the etcd members directly, for when no e2d answers.",
    flags: {
      ...globalFlags,
      ...statusFlags,
      endpoints: listOf("URLS", "client URLs of members, to query instead of a node", (url) => url),
      ...clientTlsFlags,
      watch: toggle("refresh every two seconds"),
    },
    // The status address of a node needs only --ca-cert.
    check: (values) => values.endpoints === undefined ? [] : endpointProblems(values.endpoints, values),
    async run(values) {
      const { status } = await import("../status.ts");
      const { systemTerminal } = await import("../terminal.ts");
      const tls = values.endpoints === undefined ? undefined : await clientPems(values);
      return await status({ ...values, tls }, systemTerminal);
    },
  }),
  command({
    path: "why",
    summary: "show the latest decisions of a node and their reasons",
    flags: { ...globalFlags, ...statusFlags },
    async run(values) {
      const { why } = await import("../status.ts");
      const { systemTerminal } = await import("../terminal.ts");
      return await why(values, systemTerminal);
    },
  }),
];
