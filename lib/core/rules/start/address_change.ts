/**
 * Whether this node's member may be given this node's address in the member list. A data-dir can be copied: the member
 * may still run at its registered address, and then this node is a clone, which must neither take the address over nor
 * start. Also the order in which members that exchanged their addresses get them: etcd lists no address twice.
 */
import { nameConflictReason } from "../../evidence/name_conflict.ts";
import { clientEvidence } from "../../evidence/member_evidence.ts";
import { raftContact } from "../../evidence/raft_evidence.ts";
import type { View } from "../../facts/view.ts";
import { type EtcdAnswer, type EtcdMember, quorumOf } from "../../facts/cluster.ts";
import type { ValidData } from "../../facts/data_dir.ts";
import { isPresent } from "../../facts/peer.ts";
import { hasWaited } from "../../evidence/order.ts";
import type { Reason } from "../../facts/reason.ts";
import { allMovedReason } from "../../evidence/moved_members.ts";

export type AddressChange =
  /** Register this peer URL for the member; a placeholder where two members exchange their addresses. */
  | { readonly kind: "update"; readonly peerUrl: string; readonly reason: Reason }
  | { readonly kind: "wait"; readonly level: "info" | "error"; readonly reason: Reason };

type Waiting = Extract<AddressChange, { kind: "wait" }>;

const conflict = (reason: Reason): Waiting => ({ kind: "wait", level: "error", reason });
const wait = (code: string, text: string): Waiting => ({ kind: "wait", level: "info", reason: { code, text } });

/**
 * Why this member must not start, nor be registered, at this node's address: it may run elsewhere. Undefined: it was
 * asked at its registered address, and nothing shows a second holder. `member` is the list's own entry; `cluster` a
 * running cluster, if there is one.
 */
export function runsElsewhere(
  view: View,
  member: EtcdMember,
  cluster: EtcdAnswer | undefined,
): Waiting | undefined {
  const { self } = view;
  const elsewhere = member.peerUrls.filter((url) => url !== self.peerUrl).join(", ");
  const twice = (at: string) =>
    conflict({
      code: "member_runs_twice",
      text:
        `member "${member.name}" (${member.id}) runs at ${at}, and this node at ${self.peerUrl} holds a copy of its data`,
      hint:
        "stop whichever of the two is the copy; on this node: stop e2d, mv DATA_DIR DATA_DIR.copy, mv DATA_DIR.e2d.json DATA_DIR.copy.e2d.json, and start it with another --name",
    });
  const holder = view.peers.find((peer) =>
    isPresent(peer) && peer.gossipAddr !== self.gossipAddr &&
    peer.facts?.data.kind === "held" && peer.facts.data.memberId === member.id &&
    (view.data.kind !== "valid" || peer.facts.data.clusterId === view.data.clusterId)
  );
  if (holder !== undefined) return twice(`${holder.peerUrl} (node "${holder.name}")`);
  const evidence = clientEvidence(member, view);
  if (evidence.kind === "answers") return twice(`${elsewhere || "another address"} (${evidence.url} answers)`);
  const named = view.nameConflicts.find(({ name }) => name === self.name);
  if (named !== undefined) return conflict(nameConflictReason(named));
  if (evidence.kind === "unasked") {
    return wait(
      "asking_member",
      `asking ${evidence.urls.join(", ")} whether member "${member.name}" still runs at its registered address`,
    );
  }
  // The leader hears the own etcd, too, once it runs.
  const ownRuns = view.etcd.kind === "starting" || view.etcd.kind === "ready";
  if (cluster === undefined || ownRuns) return undefined;
  const contact = raftContact(member.id, cluster, view);
  if (contact === "active") return twice(`${elsewhere} (the leader's raft hears it)`);
  if (contact === "unasked") {
    return wait("asking_member", `asking the leader whether member "${member.name}" still runs`);
  }
  return undefined;
}

/** `listed` is the member's entry in the running cluster's list, at other addresses than this node's. */
export function decideAddressChange(view: View, listed: EtcdMember, cluster: EtcdAnswer): AddressChange {
  const { self } = view;
  const known = { code: "address_changed", text: `the cluster knows this member at ${listed.peerUrls.join(", ")}` };
  const second = runsElsewhere(view, listed, cluster);
  if (second !== undefined) return second;
  const holder = cluster.members.find((member) => member.id !== listed.id && member.peerUrls.includes(self.peerUrl));
  if (holder === undefined) return { kind: "update", peerUrl: self.peerUrl, reason: known };
  const label = holder.name === "" ? holder.id : `"${holder.name}"`;
  const theirs = view.peers.find((peer) =>
    peer.state === "alive" && peer.facts?.data.kind === "held" && peer.facts.data.memberId === holder.id
  );
  const exchanged = theirs !== undefined && theirs.peerUrl !== self.peerUrl &&
    isInCycle(listed, holder, cluster, view);
  // One of them gives its address up first. Raft continues over the connections that its etcd opens.
  if (exchanged) {
    return {
      kind: "update",
      peerUrl: placeholderUrl(self.peerUrl, listed.id),
      reason: {
        code: "addresses_exchanged",
        text:
          `this member, ${label} and perhaps others exchanged their addresses: its own is freed first, then each gets its new one`,
      },
    };
  }
  const text = `${self.peerUrl} is registered for ${label}, and etcd lists no address twice`;
  if (theirs !== undefined && theirs.peerUrl !== self.peerUrl) {
    return wait("address_taken", `${text}: waiting until it has its new one`);
  }
  return conflict({
    code: "address_taken",
    text,
    hint:
      `start that member at its new address, or this node at another one; a member that is gone for good is removed by "etcdctl member remove ${holder.id}"`,
  });
}

/**
 * True when the members whose addresses are taken one by another form a cycle, two or more, and this member has the
 * smallest id of them: each of the others waits for it.
 */
function isInCycle(listed: EtcdMember, holder: EtcdMember, { members }: EtcdAnswer, view: View): boolean {
  let at = holder;
  for (let steps = 0; steps < members.length; steps++) {
    if (at.id < listed.id) return false;
    const peer = view.peers.find(({ state, facts }) =>
      state === "alive" && facts?.data.kind === "held" && facts.data.memberId === at.id
    );
    if (peer === undefined) return false;
    if (listed.peerUrls.includes(peer.peerUrl)) return true;
    const next = members.find(({ id, peerUrls }) => id !== at.id && peerUrls.includes(peer.peerUrl));
    if (next === undefined) return false;
    at = next;
  }
  return false;
}

/** A name that is never resolved (RFC 2606), so that nobody is dialled there. */
function placeholderUrl(peerUrl: string, memberId: string): string {
  const { protocol, port } = new URL(peerUrl);
  return `${protocol}//${memberId}.moving.invalid:${port || "2380"}`;
}

/**
 * Why data at an unregistered address does not start while no cluster answers. etcd reaches the other members only at
 * their registered addresses. Without one of them there it cannot have a quorum, and whatever it reaches there is the
 * cluster that this data was copied from, in which its member would run twice. Where fewer disks than a quorum are here,
 * the others get the quorum-loss time-out, after which this member may be a survivor.
 */
export function decideAllMoved(view: View, data: ValidData): Waiting | undefined {
  const moved = movedEntry(view, data);
  const voters = data.members.filter((member) => !member.isLearner);
  if (moved === undefined || voters.length <= 1) return undefined;
  const others = voters.filter(({ id }) => id !== data.memberId).map((member) => ({
    member,
    holders: view.peers.filter(({ facts, ...peer }) =>
      isPresent(peer) && facts?.data.kind === "held" && facts.data.memberId === member.id &&
      facts.data.clusterId === data.clusterId
    ),
  }));
  const isReachable = others.some(({ member: { peerUrls }, holders }) =>
    holders.some(({ peerUrl }) => peerUrls.includes(peerUrl)) ||
    view.peers.some((peer) => isPresent(peer) && peer.isLegacy && peerUrls.includes(peer.peerUrl))
  );
  if (isReachable) return undefined;
  const elsewhere = others.flatMap(({ member, holders: [holder] }) =>
    holder === undefined ? [] : [{ member, at: holder.peerUrl }]
  );
  const all = [{ member: moved, at: view.self.peerUrl }, ...elsewhere];
  if (all.length >= quorumOf(voters.length)) return conflict(allMovedReason(all));
  if (hasWaited(view)) return undefined;
  const text = `this member is registered at ${moved.peerUrls.join(", ")}, and no other member is at its registered ` +
    "address, where etcd looks for it";
  const hint = "start the other members; if this data is a copy of a cluster that runs elsewhere, stop this node";
  return { kind: "wait", level: "info", reason: { code: "members_awaited", text, hint } };
}

/** The own entry of valid data whose registered address is another one; undefined: the data names this address, or none. */
export function movedEntry(view: View, data: ValidData): EtcdMember | undefined {
  const own = data.members.find(({ id }) => id === data.memberId);
  return own === undefined || own.peerUrls.length === 0 || own.peerUrls.includes(view.self.peerUrl) ? undefined : own;
}
