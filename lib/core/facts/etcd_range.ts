/** A range of minor versions of etcd. */
import { compareMinors } from "../../facts/etcd_version.ts";

/** Minor versions such as "3.6", both inclusive; undefined: no limit. */
export interface EtcdRange {
  readonly atLeast?: string | undefined;
  readonly atMost?: string | undefined;
}

/** True if this version, such as "3.6.14", is of a minor version within the range. */
export function isWithin(version: string, { atLeast, atMost }: EtcdRange): boolean {
  return (atLeast === undefined || compareMinors(version, atLeast) >= 0) &&
    (atMost === undefined || compareMinors(version, atMost) <= 0);
}

/** "3.4 to 3.5" */
export function rangeText({ atLeast, atMost }: EtcdRange): string {
  if (atLeast === atMost) return atLeast ?? "any version";
  if (atMost === undefined) return `${atLeast} or newer`;
  return atLeast === undefined ? `${atMost} or older` : `${atLeast} to ${atMost}`;
}
