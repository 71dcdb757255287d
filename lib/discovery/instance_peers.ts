/** From the instances of a cloud to peers: those that run and have a private address; says who is left out. */
import { E2dError } from "../errors.ts";
import type { Logger } from "../ports.ts";
import { addressKind } from "./ip_address.ts";
import type { PeerAddress } from "./method.ts";

export interface Instance {
  name: string;
  running: boolean;
  address: string | undefined;
}

export class InstancePeers {
  readonly #method: string;
  readonly #log: Logger;
  #leftOut = "";

  constructor(method: string, log: Logger) {
    this.#method = method;
    this.#log = log;
  }

  of(instances: readonly Instance[]): PeerAddress[] {
    const running = instances.filter((instance) => instance.running);
    const isPeer = ({ address }: Instance) => address !== undefined && isUsable(address);
    const usable = running.filter(isPeer);
    // An instance may be found by each of several tags.
    const leftOut = [...new Set(running.filter((one) => !isPeer(one)).map(({ name }) => name))].sort();
    if (leftOut.join() !== this.#leftOut) {
      this.#leftOut = leftOut.join();
      if (leftOut.length > 0) {
        const fields = { method: this.#method, instances: leftOut.slice(0, 20), count: leftOut.length };
        this.#log.warn("Instances without a private address are left out", fields);
      }
    }
    return [...new Set(usable.map(({ address }) => address!))].map((host) => ({ host }));
  }
}

function isUsable(address: string): boolean {
  const kind = addressKind(address);
  return kind !== undefined && kind !== "unusable" && kind !== "link-local";
}

/**
 * The tags to look for: those that were named, else the instance's own. Tags that a cloud sets by itself (`ignored` at
 * the beginning of their names) say nothing about the cluster. Throws E2dError `discovery_no_tags` when nothing is left.
 */
export async function tagsOrOwn<Tag extends { key: string }>(
  method: string,
  given: readonly Tag[],
  own: () => Promise<readonly Tag[]>,
  ignored: readonly string[] = [],
): Promise<readonly Tag[]> {
  if (given.length > 0) return given;
  const found = (await own()).filter(({ key }) => !ignored.some((start) => key.startsWith(start)));
  if (found.length > 0) return found;
  // To look for no tag would find every machine of the account.
  throw new E2dError("discovery_no_tags", `Cannot find peers by "${method}": this instance has no tags`, {
    hint: `tag the instances of the cluster, or name the tags after "${method}:"`,
  });
}
