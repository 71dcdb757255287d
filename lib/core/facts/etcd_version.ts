/** Versions of etcd as its members report them. */
import type { View } from "./view.ts";
import type { EtcdMember } from "./cluster.ts";

/** The version in the member's last answer, of any age; undefined if the last probe failed. */
export function versionOf(member: EtcdMember, { endpoints }: Pick<View, "endpoints">): string | undefined {
  for (const url of member.clientUrls) {
    const last = endpoints.get(url)?.last;
    if (last?.kind === "answer" && last.memberId === member.id) return last.version;
  }
  return undefined;
}
