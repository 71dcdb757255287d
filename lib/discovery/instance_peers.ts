/** Converts the instances of a cloud to peers: running ones with a private address. Logs the instances it leaves out. */
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

  fromInstances(instances: readonly Instance[]): PeerAddress[] {
    const running = instances.filter((instance) => instance.running);
    const isPeer = ({ address }: Instance) => address !== undefined && isUsable(address);
    const usable = running.filter(isPeer);
    // Several tags may find the same instance.
    const leftOut = [...new Set(running.filter((one) => !isPeer(one)).map(({ name }) => name))].sort();
    if (leftOut.join() !== this.#leftOut) {
      this.#leftOut = leftOut.join();
      if (leftOut.length > 0) {
        const fields = { method: this.#method, instances: leftOut.slice(0, 20), count: leftOut.length };
        this.#log.warn("Discovery ignores instances without a private address", fields);
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
 * The tags to search for: the given ones, else this instance's own. Own tags whose names begin with one of `ignored` are
 * set by the cloud and do not identify the cluster. Throws E2dError `discovery_no_tags` when no tag is left.
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
  // A search without tags would find every machine of the account.
  throw new E2dError("discovery_no_tags", `Cannot find peers by "${method}": this instance has no tags`, {
    hint: `tag the instances of the cluster, or name the tags after "${method}:"`,
  });
}
