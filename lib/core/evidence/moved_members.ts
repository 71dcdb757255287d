/** Members whose disks are at other addresses than the member list names: as a reason, with the way back. */
import type { EtcdMember } from "../facts/cluster.ts";
import { quotedNames, type Reason } from "../facts/reason.ts";

/** A quorum of disks is here, and no member can reach another one. `moved`: where the disk of each member is. */
export function allMovedReason(moved: readonly { readonly member: EtcdMember; readonly at: string }[]): Reason {
  const former = moved.map(({ member: { name, peerUrls }, at }) => `"${name}" from ${at} to ${peerUrls.join(", ")}`)
    .sort().join("; ");
  return {
    code: "members_moved",
    text: `${
      quotedNames(moved.map(({ member }) => member.name).sort())
    } hold data at other addresses than their members are registered at, where etcd looks for them`,
    hint:
      `give the machines their former addresses or disks back (${former}), or choose one copy of the data as docs/lost-all.md ` +
      'describes under "All disks are there, but at new addresses"',
  };
}
