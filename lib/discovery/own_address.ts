/**
 * The address this node tells its peers when `--host` is unset. Asks the metadata service of the chosen cloud, else
 * takes the interface of the default route. Never chooses a public address, and the loopback only for a cluster of one.
 */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock, Logger, Network } from "../ports.ts";
import { addressKind } from "./ip_address.ts";
import type { DiscoveryMethod } from "./method.ts";

export interface OwnAddress {
  host: string;
  source: "metadata service" | "default route" | "only private address" | "loopback";
}

/**
 * A metadata service that says nothing may be one that is not up yet, or a machine that is busy with its own start: so
 * often it is asked before the default route decides, with this pause between. A wrong address cuts the node off.
 */
const triesMax = 5;
const pauseMs = 1_000;

/**
 * `clusterSize` is `-n`. Throws E2dError `own_address_public` where there are only public addresses,
 * `own_address_unknown` where there is none or more than one to choose from, and what the metadata service's answer
 * led to, when it is there but answered badly.
 */
export async function ownAddress(
  { method, clusterSize, network, clock, log }: {
    method?: DiscoveryMethod | undefined;
    clusterSize: number;
    network: Network;
    clock: Clock;
    log: Logger;
  },
  signal: AbortSignal,
): Promise<OwnAddress> {
  const told = await askMethod(method, { clock, log }, signal);
  if (told !== undefined) return { host: told, source: "metadata service" };

  const all = network.addresses();
  const usable = all.filter(({ address }) => ["private", "public"].includes(addressKind(address) ?? ""));
  const privates = usable.filter(({ address }) => addressKind(address) === "private").sort(fourFirst);
  const devices = await network.defaultDevices();
  for (const device of devices) {
    const found = privates.find((one) => one.device === device);
    if (found !== undefined) return { host: found.address, source: "default route" };
  }
  if (devices.length === 0 && new Set(privates.map(({ device }) => device)).size === 1) {
    return { host: privates[0]!.address, source: "only private address" };
  }
  if (clusterSize === 1) return { host: "127.0.0.1", source: "loopback" };
  throw unknown(
    devices.length === 0 ? usable : usable.filter(({ device }) => devices.includes(device)),
    devices.length > 0,
  );
}

async function askMethod(
  method: DiscoveryMethod | undefined,
  { clock, log }: { clock: Clock; log: Logger },
  signal: AbortSignal,
): Promise<string | undefined> {
  if (method?.ownAddress === undefined) return undefined;
  for (let tries = 1;; tries++) {
    try {
      const address = await method.ownAddress(signal);
      return address !== undefined && isReachable(address) ? address : undefined;
    } catch (error) {
      if (!isE2dError(error, "no_metadata_service")) throw error;
      if (tries === triesMax) {
        log.warn("no metadata service tells the own address: the default route decides", {
          method: method.name,
          tries,
          error: describeError(error),
        });
        return undefined;
      }
    }
    await clock.sleep(pauseMs, signal);
  }
}

/**
 * What a cloud calls private may lie in a range of its customer's own. A loopback address of its own is what the
 * imitation of a cloud gives to each of the instances on one machine; 127.0.0.1 tells nothing.
 */
function isReachable(address: string): boolean {
  const kind = addressKind(address);
  return kind === "private" || kind === "public" ||
    (kind === "loopback" && address !== "127.0.0.1" && address !== "::1");
}

const fourFirst = (a: { address: string }, b: { address: string }) =>
  Number(a.address.includes(":")) - Number(b.address.includes(":"));

function unknown(found: readonly { device: string; address: string }[], routed: boolean): E2dError {
  const list = found.map(({ device, address }) => `${address} (${device})`).join(", ");
  if (found.length > 0 && found.every(({ address }) => addressKind(address) === "public")) {
    return new E2dError("own_address_public", `Cannot choose the own address: there are only public ones, ${list}`, {
      hint: "name the one that peers may use: --host ADDRESS",
    });
  }
  const state = found.length > 0
    ? `it may be any of ${list}`
    : `no interface${routed ? " of the default route" : ""} has one`;
  return new E2dError("own_address_unknown", `Cannot choose the own address: ${state}`, {
    hint: "pass --host ADDRESS",
  });
}
