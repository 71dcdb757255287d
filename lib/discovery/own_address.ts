/**
 * Chooses the address that this node announces when `--host` is unset: from the metadata service of the chosen cloud,
 * else from the interface of the default route. Must never choose a public address, and the loopback address only for a
 * cluster of one node.
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
 * Tries, and the pause between them, before the default route decides: during the boot of a machine the metadata service
 * may not answer yet, and a wrong address isolates the node.
 */
const triesMax = 5;
const pauseMs = 1_000;

/**
 * `clusterSize` is `-n`. Throws E2dError `own_address_public` when there are only public addresses,
 * `own_address_unknown` when there is no address or more than one, and the error of an invalid response of the metadata
 * service.
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
  const fromMethod = await addressFromMethod(method, { clock, log }, signal);
  if (fromMethod !== undefined) return { host: fromMethod, source: "metadata service" };

  const all = network.addresses();
  const usable = all.filter(({ address }) => ["private", "public"].includes(addressKind(address) ?? ""));
  const privateAddresses = usable.filter(({ address }) => addressKind(address) === "private").sort(ipv4First);
  const devices = await network.defaultDevices();
  for (const device of devices) {
    const found = privateAddresses.find((one) => one.device === device);
    if (found !== undefined) return { host: found.address, source: "default route" };
  }
  if (devices.length === 0 && new Set(privateAddresses.map(({ device }) => device)).size === 1) {
    return { host: privateAddresses[0]!.address, source: "only private address" };
  }
  if (clusterSize === 1) return { host: "127.0.0.1", source: "loopback" };
  throw noAddressError(
    devices.length === 0 ? usable : usable.filter(({ device }) => devices.includes(device)),
    devices.length > 0,
  );
}

async function addressFromMethod(
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
        log.warn("Cannot read the address of this machine from the metadata service: using the default route", {
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
 * A private network of a cloud may use a public range of its customer. A loopback address other than 127.0.0.1 is the
 * address of one of several instances in a simulated cloud on one machine.
 */
function isReachable(address: string): boolean {
  const kind = addressKind(address);
  return kind === "private" || kind === "public" ||
    (kind === "loopback" && address !== "127.0.0.1" && address !== "::1");
}

const ipv4First = (a: { address: string }, b: { address: string }) =>
  Number(a.address.includes(":")) - Number(b.address.includes(":"));

function noAddressError(found: readonly { device: string; address: string }[], routed: boolean): E2dError {
  const list = found.map(({ device, address }) => `${address} (${device})`).join(", ");
  if (found.length > 0 && found.every(({ address }) => addressKind(address) === "public")) {
    return new E2dError(
      "own_address_public",
      `Cannot choose the address of this node: it has only public ones, ${list}`,
      {
        hint: "pass the one that peers may use: --host ADDRESS",
      },
    );
  }
  const state = found.length > 0
    ? `there are several, ${list}`
    : `no interface${routed ? " of the default route" : ""} has a usable one`;
  return new E2dError("own_address_unknown", `Cannot choose the address of this node: ${state}`, {
    hint: "pass --host ADDRESS",
  });
}
