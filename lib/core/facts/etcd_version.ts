/** Versions of etcd as its members report them. */
import type { View } from "./view.ts";
import type { EtcdMember } from "./cluster.ts";

/** As it answered last: a version outlives the freshness of an answer, and a failure since then makes it unknown. */
export function versionOf(member: EtcdMember, { endpoints }: Pick<View, "endpoints">): string | undefined {
  for (const url of member.clientUrls) {
    const last = endpoints.get(url)?.last;
    if (last?.kind === "answer" && last.memberId === member.id) return last.version;
  }
  return undefined;
}
