/**
 * A separate process that finds or installs an etcd as e2d does, for tests that kill it, run it twice, or fill its disk:
 * `install_etcd.ts <install|find> <request as JSON>`. Prints one JSON line: the result or the error.
 */
import { describeError, isE2dError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import { systemProviderPorts } from "../../lib/cli/etcd_provider.ts";
import { type EtcdRequest, findEtcd, installEtcd } from "../../lib/etcd/install/provider.ts";

const warn = (message: string) => console.error(message);
const log: Logger = { debug: () => {}, info: () => {}, warn, error: warn, with: () => log };
const request: EtcdRequest = {
  path: "",
  platform: { os: Deno.build.os, arch: Deno.build.arch },
  ...JSON.parse(Deno.args[1]!),
  onProgress: ({ receivedBytes }) => console.error(`received ${receivedBytes}`),
};
try {
  const found = await (Deno.args[0] === "find" ? findEtcd : installEtcd)(request, systemProviderPorts(log));
  console.log(JSON.stringify({ found }));
} catch (error) {
  console.log(JSON.stringify({ code: isE2dError(error) ? error.code : undefined, message: describeError(error) }));
}
