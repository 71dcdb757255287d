/** Whether a learner's peer URL may be changed: an etcd of an unsafe release clears the learner mark with it. */
import { hazards, isSafe } from "../../evidence/etcd_hazards.ts";
import { versionOf } from "../../facts/etcd_version.ts";
import type { View } from "../../facts/view.ts";
import type { EtcdAnswer, EtcdMember } from "../../facts/cluster.ts";

/** Every other member applies the change itself, so one of an unsafe release, or of an unknown one, is enough. */
export function mayUpdateLearner(learner: EtcdMember, cluster: EtcdAnswer, view: View): boolean {
  return cluster.members.every((member) =>
    member.id === learner.id || isSafe(hazards.memberUpdateOfLearner, versionOf(member, view))
  );
}
