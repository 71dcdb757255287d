/**
 * A model of etcd clusters that keeps raft's guarantees and violates them if its user violates the rules: logs with terms
 * on simulated disks, elections by up-to-date logs, commits by quorum, membership changes through the log with etcd's
 * own refusals (unhealthy cluster, one learner, a learner that lags, the last quorum). A member that starts again from an
 * empty disk under its old id has lost its log and its votes, as in real etcd.
 */
import { hazards, isSafe } from "../../lib/core/evidence/etcd_hazards.ts";
import { compareMinors, oldestMinorOf } from "../../lib/facts/etcd_version.ts";

export interface ConfMember {
  id: string;
  name: string;
  peerUrl: string;
  clientUrl: string;
  isLearner: boolean;
}

export type Entry =
  | { term: number; kind: "conf"; members: readonly ConfMember[] }
  | { term: number; kind: "put"; value: number }
  | { term: number; kind: "base"; values: readonly number[]; revision: number }
  /** The version of the cluster, "3.6". */
  | { term: number; kind: "version"; minor: string }
  | { term: number; kind: "noop" };

/** The content of one data-dir. */
export interface EtcdData {
  clusterId: string;
  memberId: string;
  token: string;
  term: number;
  log: Entry[];
  /** Number of committed entries. */
  commit: number;
}

/** One running etcd process. */
export interface Member {
  readonly node: string;
  readonly peerUrl: string;
  readonly clientUrl: string;
  readonly name: string;
  readonly data: EtcdData;
  readonly startedMs: number;
  leaderId: string | undefined;
  heardMs: number;
  electionAtMs: number;
  /** As leader: since when each other member has been connected. */
  activeSinceMs: Map<string, number>;
  /** The last term in which it replicated as leader. */
  termBegan: number;
  frozen: boolean;
  slow: boolean;
}

export interface EtcdWorld {
  /** Of the etcd that this node runs, "3.6.14". */
  versionOf(node: string): string;
  /** The target minor version of a running downgrade of this cluster. */
  downgradeOf(clusterId: string): string | undefined;
  /** Every member runs the target version: etcd ends the downgrade. */
  onDowngraded(clusterId: string): void;
  nowMs(): number;
  random(): number;
  /** Both directions. */
  connected(a: string, b: string): boolean;
  onLeader(member: Member): void;
  onRemoved(member: Member): void;
  /** The leader's log contradicts what this member has committed: etcd panics. */
  onDiverged(member: Member, leader: Member): void;
  trace(text: string): void;
}

export class Refusal extends Error {
  constructor(readonly code: string) {
    super(code);
  }
}

const electionMs = 1_000;
const healthIntervalMs = 5_000;

export function configOf(data: EtcdData): readonly ConfMember[] {
  for (let i = data.commit - 1; i >= 0; i--) {
    const entry = data.log[i]!;
    if (entry.kind === "conf") return entry.members;
  }
  return [];
}

const versions = new WeakMap<EtcdData, { commit: number; minor: string | undefined }>();

/** The cluster's version that this data has applied, "3.6"; undefined while there is none. */
export function clusterVersionOf(data: EtcdData): string | undefined {
  let { commit, minor } = versions.get(data) ?? { commit: 0, minor: undefined };
  for (; commit < data.commit; commit++) {
    const entry = data.log[commit]!;
    if (entry.kind === "version") minor = entry.minor;
  }
  versions.set(data, { commit, minor });
  return minor;
}

export function valuesOf(log: readonly Entry[], length: number): Set<number> {
  const values = new Set<number>();
  for (let i = 0; i < Math.min(length, log.length); i++) {
    const entry = log[i]!;
    if (entry.kind === "put") values.add(entry.value);
    else if (entry.kind === "base") { for (const value of entry.values) values.add(value); }
  }
  return values;
}

export function revisionOf(data: EtcdData): number {
  let revision = 1;
  for (let i = 0; i < data.commit; i++) {
    const entry = data.log[i]!;
    if (entry.kind === "put") revision++;
    else if (entry.kind === "base") revision = entry.revision;
  }
  return revision;
}

const votersOf = (members: readonly ConfMember[]) => members.filter((member) => !member.isLearner);
const quorum = (voters: number) => Math.floor(voters / 2) + 1;

export function hashText(text: string): string {
  let h = 0x811c9dc5, g = 0x1234567;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 16777619);
    g = Math.imul(g ^ text.charCodeAt(i), 2246822519) ^ (g >>> 13);
  }
  return (h >>> 0).toString(16).padStart(8, "0") + (g >>> 0).toString(16).padStart(8, "0");
}

/** A data-dir as `--initial-cluster-state new` creates it: every initial member computes the same ids. */
export function bootstrappedData(
  initialMembers: readonly { name: string; peerUrl: string; clientUrl: string }[],
  token: string,
  self: string,
  known: Map<string, Entry[]>,
  base?: { values: readonly number[]; revision: number },
): EtcdData {
  const members = initialMembers.map(({ name, peerUrl, clientUrl }) => ({
    id: hashText(`${peerUrl} ${token}`),
    name,
    peerUrl,
    clientUrl,
    isLearner: false,
  })).sort((a, b) => a.id < b.id ? -1 : 1);
  const log: Entry[] = [{ term: 1, kind: "conf", members }];
  // Equal entries of all initial members are one object: keyed by all of their inputs.
  if (base !== undefined) log.unshift({ term: 1, kind: "base", ...base });
  const clusterId = hashText(members.map((member) => member.id).join(" ") + (base === undefined ? "" : base.revision));
  const first = known.get(clusterId) ?? log;
  known.set(clusterId, first);
  return {
    clusterId,
    memberId: members.find((member) => member.name === self)!.id,
    token,
    term: 1,
    log: [...first],
    commit: first.length,
  };
}

/** A change of the member list, as etcd's API has it; `salt` makes the id of a new member unique. */
export type MemberChange =
  | { kind: "add"; peerUrl: string; salt: string; voter?: boolean }
  | { kind: "remove"; id: string }
  | { kind: "promote"; id: string }
  | { kind: "update"; id: string; peerUrl: string };

export class FakeEtcds {
  readonly running = new Map<string, Member>();
  /** First log of each cluster, so that all initial members share the same entries. */
  readonly firstLogs = new Map<string, Entry[]>();
  readonly #received = new Map<string, number>();
  /** A follower learns the committed index by the next message of the leader, as in real etcd; else at once. */
  commitsLate = false;
  /** Interval at which the leader compares the members' versions and raises the cluster's version. */
  monitorEveryMs = 4_000;

  constructor(readonly world: EtcdWorld) {}

  start(
    member: Omit<Member, "leaderId" | "heardMs" | "electionAtMs" | "activeSinceMs" | "startedMs" | "termBegan">,
  ): Member {
    const nowMs = this.world.nowMs();
    const full: Member = {
      ...member,
      startedMs: nowMs,
      leaderId: undefined,
      heardMs: nowMs,
      electionAtMs: nowMs + electionMs * (0.3 + 0.5 * this.world.random()),
      activeSinceMs: new Map(),
      termBegan: 0,
    };
    this.running.set(member.node, full);
    return full;
  }

  stop(node: string): void {
    this.running.delete(node);
  }

  /** The running member that `from` finds behind a member of its configuration. */
  #peer(from: Member, to: ConfMember): Member | undefined {
    for (const other of this.running.values()) {
      if (other.data.memberId !== to.id) continue;
      // One side that knows the other's address is sufficient: its connections carry both directions.
      const knows = other === from || other.peerUrl === to.peerUrl ||
        configOf(other.data).some((each) => each.id === from.data.memberId && each.peerUrl === from.peerUrl);
      // A copy of a member's disk may run as well: each side finds the one that it can reach.
      if (!knows || other.data.clusterId !== from.data.clusterId || other.frozen || from.frozen) continue;
      if (other === from || this.world.connected(from.node, other.node)) return other;
    }
    return undefined;
  }

  leaderOf(member: Member): Member | undefined {
    if (member.leaderId === undefined) return undefined;
    for (const other of this.running.values()) {
      if (other.data.memberId === member.leaderId && other.data.clusterId === member.data.clusterId) {
        if (other.leaderId !== other.data.memberId || other.frozen) continue;
        if (other === member || this.world.connected(member.node, other.node)) return other;
      }
    }
    return undefined;
  }

  #reachable(leader: Member): Member[] {
    const found: Member[] = [];
    for (const each of configOf(leader.data)) {
      const peer = this.#peer(leader, each);
      if (peer !== undefined) found.push(peer);
    }
    return found;
  }

  /** `etcd_network_peer_received_bytes_total` of this member: it grows while messages arrive. */
  received(by: Member): { memberId: string; receivedBytes: number }[] {
    return configOf(by.data).filter(({ id }) => id !== by.data.memberId).map((each) => {
      const key = `${by.node} ${by.startedMs} ${each.id}`;
      if (this.#peer(by, each) !== undefined) this.#received.set(key, this.world.nowMs());
      return { memberId: each.id, receivedBytes: this.#received.get(key) ?? 0 };
    });
  }

  hasQuorum(leader: Member): boolean {
    const voters = votersOf(configOf(leader.data));
    const up = voters.filter((each) => this.#peer(leader, each) !== undefined).length;
    return up >= quorum(voters.length);
  }

  /** The leader sets the cluster's version to that of the oldest member once it knows all versions. */
  #monitor(leader: Member): void {
    const config = configOf(leader.data);
    const peers = config.map((each) => this.#peer(leader, each));
    const clusterId = leader.data.clusterId;
    const oldest = oldestMinorOf(peers.flatMap((peer) => peer === undefined ? [] : [this.world.versionOf(peer.node)]));
    const now = clusterVersionOf(leader.data);
    if (peers.includes(undefined) || oldest === undefined) return;
    const target = this.world.downgradeOf(clusterId);
    if (target === now && peers.every((peer) => this.world.versionOf(peer!.node).startsWith(`${target}.`))) {
      return this.world.onDowngraded(clusterId);
    }
    const minor = target ?? oldest;
    if (minor === now) return;
    if (now !== undefined && compareMinors(minor, now) < 0 && target === undefined) return;
    this.world.trace(`etcd ${leader.name} makes ${minor} the version of cluster ${clusterId.slice(0, 4)}`);
    this.#append(leader, { term: leader.data.term, kind: "version", minor });
    this.replicate(leader);
  }

  #monitoredMs = 0;

  tick(): void {
    const nowMs = this.world.nowMs();
    const monitors = nowMs - this.#monitoredMs >= this.monitorEveryMs;
    if (monitors) this.#monitoredMs = nowMs;
    for (const member of [...this.running.values()]) {
      if (member.frozen || this.running.get(member.node) !== member) continue;
      this.#noticeRemoval(member);
    }
    for (const member of [...this.running.values()]) {
      if (member.frozen || member.leaderId !== member.data.memberId) continue;
      const higher = this.#reachable(member).some((peer) => peer.data.term > member.data.term);
      if (higher || !this.hasQuorum(member)) {
        if (higher || nowMs - member.heardMs > electionMs) this.#stepDown(member);
        continue;
      }
      this.replicate(member);
      if (monitors && this.running.get(member.node) === member) this.#monitor(member);
    }
    for (const member of [...this.running.values()]) {
      if (member.frozen || member.leaderId === member.data.memberId) continue;
      if (nowMs - member.heardMs > electionMs) member.leaderId = undefined;
      if (member.leaderId === undefined && nowMs >= member.electionAtMs) this.#campaign(member);
    }
  }

  #stepDown(member: Member): void {
    member.leaderId = undefined;
    member.activeSinceMs.clear();
    member.electionAtMs = this.world.nowMs() + electionMs * (1 + this.world.random());
  }

  #noticeRemoval(member: Member): void {
    if (member.data.commit === 0) {
      // A learner that never got a log contacts its configured members, and they know that it was removed.
      for (const other of this.running.values()) {
        if (other.data.clusterId !== member.data.clusterId || other === member || other.frozen) continue;
        if (!this.world.connected(member.node, other.node) || this.leaderOf(other) === undefined) continue;
        if (!configOf(other.data).some((each) => each.id === member.data.memberId)) {
          this.#removed(member);
          return;
        }
      }
    } else if (configOf(member.data).some((each) => each.id === member.data.memberId)) {
      for (const each of configOf(member.data)) {
        const peer = this.#peer(member, each);
        if (peer === undefined || peer === member || peer.data.commit < member.data.commit) continue;
        // A joiner that has not applied its own addition is not removed: only a longer log can show a removal.
        const theirs = configOf(peer.data);
        if (theirs.some((one) => one.id === member.data.memberId)) continue;
        if (peer.data.commit > member.data.commit && this.leaderOf(peer) !== undefined) {
          this.#removed(member);
          return;
        }
      }
    } else if (member.data.commit > 0 && configOf(member.data).length > 0) this.#removed(member);
  }

  #removed(member: Member): void {
    this.running.delete(member.node);
    this.world.onRemoved(member);
  }

  #campaign(member: Member): void {
    const nowMs = this.world.nowMs();
    member.electionAtMs = nowMs + electionMs * (1 + this.world.random());
    const voters = votersOf(configOf(member.data));
    if (!voters.some((each) => each.id === member.data.memberId)) return;
    const last = member.data.log.at(-1)!;
    const granted: Member[] = [];
    let term = member.data.term;
    for (const each of voters) {
      const peer = this.#peer(member, each);
      if (peer === undefined) continue;
      term = Math.max(term, peer.data.term);
      const theirs = peer.data.log.at(-1);
      const upToDate = theirs === undefined || last.term > theirs.term ||
        last.term === theirs.term && member.data.log.length >= peer.data.log.length;
      // A member that hears a leader grants no vote (pre-vote and lease).
      const led = peer !== member && peer.leaderId !== undefined && this.leaderOf(peer) !== undefined;
      if (upToDate && !led) granted.push(peer);
    }
    if (granted.length < quorum(voters.length)) return;
    term++;
    for (const voter of granted) {
      voter.data.term = term;
      if (voter.leaderId === voter.data.memberId) this.#stepDown(voter);
      voter.leaderId = undefined;
    }
    member.leaderId = member.data.memberId;
    member.heardMs = nowMs;
    member.activeSinceMs.clear();
    this.#append(member, { term, kind: "noop" });
    this.replicate(member);
    this.world.trace(`etcd ${member.name} leads cluster ${member.data.clusterId.slice(0, 4)} in term ${term}`);
    this.world.onLeader(member);
  }

  #append(leader: Member, entry: Entry): number {
    leader.data.log.push(entry);
    return leader.data.log.length;
  }

  /** Sends the leader's log to all reachable members, and commits the entries of a quorum. */
  replicate(leader: Member): void {
    const nowMs = this.world.nowMs();
    const log = leader.data.log;
    const config = configOf(leader.data);
    const matched = new Map<string, number>();
    const peers: Member[] = [];
    for (const each of config) {
      const peer = this.#peer(leader, each);
      if (peer === undefined) {
        leader.activeSinceMs.delete(each.id);
        continue;
      }
      // Connections survive a change of leader: they are as old as the younger of the two processes.
      const first = leader.termBegan === leader.data.term ? nowMs : Math.max(peer.startedMs, leader.startedMs);
      if (!leader.activeSinceMs.has(each.id)) leader.activeSinceMs.set(each.id, first);
      if (peer !== leader) {
        if (peer.data.term > leader.data.term) continue;
        peer.data.term = leader.data.term;
        peer.leaderId = leader.data.memberId;
        peer.heardMs = nowMs;
        peers.push(peer);
        if (peer.slow && this.world.random() < 0.7) continue;
        const theirs = peer.data.log;
        let same = Math.min(theirs.length, log.length);
        while (same > 0 && theirs[same - 1] !== log[same - 1]) same--;
        if (same < peer.data.commit) {
          this.world.onDiverged(peer, leader);
          continue;
        }
        theirs.length = same;
        for (let i = same; i < log.length; i++) theirs.push(log[i]!);
      }
      matched.set(each.id, peer.data.log.length);
    }
    leader.termBegan = leader.data.term;
    const voters = votersOf(config);
    const committedBefore = leader.data.commit;
    const sorted = voters.map((each) => matched.get(each.id) ?? 0).sort((a, b) => b - a);
    const held = sorted[quorum(voters.length) - 1] ?? 0;
    if (held > leader.data.commit && log[held - 1]!.term === leader.data.term) leader.data.commit = held;
    if (this.hasQuorum(leader)) leader.heardMs = nowMs;
    const told = this.commitsLate ? committedBefore : leader.data.commit;
    for (const peer of peers) {
      peer.data.commit = Math.max(peer.data.commit, Math.min(told, peer.data.log.length));
    }
    if (!configOf(leader.data).some((each) => each.id === leader.data.memberId)) this.#removed(leader);
  }

  /** A client's write through this endpoint; returns true if acknowledged. */
  put(endpoint: Member, value: number): boolean {
    const leader = this.leaderOf(endpoint);
    if (leader === undefined || endpoint.frozen || !this.hasQuorum(leader)) return false;
    if (configOf(endpoint.data).find((each) => each.id === endpoint.data.memberId)?.isLearner) return false;
    const index = this.#append(leader, { term: leader.data.term, kind: "put", value });
    this.replicate(leader);
    return leader.data.commit >= index;
  }

  /** A read through the leader; returns false without a quorum. */
  linearizable(endpoint: Member): boolean {
    const leader = this.leaderOf(endpoint);
    if (leader === undefined || endpoint.frozen || !this.hasQuorum(leader)) return false;
    this.replicate(leader);
    if (this.commitsLate) this.replicate(leader);
    return endpoint.data.commit >= leader.data.commit && this.running.get(endpoint.node) === endpoint;
  }

  /** Changes the member list through this endpoint, by etcd's rules: the id of the member. Throws Refusal. */
  change(endpoint: Member, change: MemberChange): string {
    const leader = this.leaderOf(endpoint);
    if (leader === undefined || endpoint.frozen) throw new Refusal("no_leader");
    if (!this.hasQuorum(leader)) throw new Refusal("timeout");
    const config = configOf(leader.data);
    const pending = leader.data.log.slice(leader.data.commit).some((entry) => entry.kind === "conf");
    if (pending) throw new Refusal("timeout");
    if (change.kind === "add") {
      const added = this.#added(leader, config, change);
      this.#conf(leader, [...config, added]);
      return added.id;
    }
    const next = this.#changed(leader, config, change);
    if (next !== undefined) this.#conf(leader, next);
    return change.id;
  }

  #added(leader: Member, config: readonly ConfMember[], change: Extract<MemberChange, { kind: "add" }>): ConfMember {
    const { peerUrl, salt, voter = false } = change;
    if (config.some((each) => each.peerUrl === peerUrl)) throw new Refusal("peer_url_exists");
    if (!voter && config.some((each) => each.isLearner)) throw new Refusal("too_many_learners");
    if (voter && votersOf(config).filter((each) => each.name !== "").length < quorum(votersOf(config).length + 1)) {
      throw new Refusal("not_enough_started");
    }
    if (!this.#mayAdd(leader, votersOf(config))) throw new Refusal("unhealthy");
    const id = hashText(`${peerUrl} ${leader.data.token} ${salt}`);
    return { id, name: "", peerUrl, clientUrl: "", isLearner: !voter };
  }

  /** The member list after the change; undefined: it is so already. */
  #changed(
    leader: Member,
    config: readonly ConfMember[],
    change: Exclude<MemberChange, { kind: "add" }>,
  ): ConfMember[] | undefined {
    const target = config.find((each) => each.id === change.id);
    if (target === undefined) {
      if (change.kind === "remove") return undefined;
      throw new Refusal("not_found");
    }
    const replacedBy = (member: ConfMember) => config.map((each) => each === target ? member : each);
    switch (change.kind) {
      case "remove":
        if (!target.isLearner) this.#checkRemoval(leader, config, target);
        return config.filter((each) => each !== target);
      case "promote": {
        if (!target.isLearner) return undefined;
        const peer = this.#peer(leader, target);
        if (peer === undefined || peer.data.commit < leader.data.commit * 0.9) throw new Refusal("learner_not_ready");
        return replacedBy({ ...target, isLearner: false });
      }
      case "update":
        if (config.some((each) => each !== target && each.peerUrl === change.peerUrl)) {
          throw new Refusal("peer_url_exists");
        }
        return replacedBy({
          ...target,
          peerUrl: change.peerUrl,
          isLearner: target.isLearner && this.#keepsLearners(),
        });
      default:
        return change satisfies never;
    }
  }

  /** Throws Refusal if etcd would keep this voter. */
  #checkRemoval(leader: Member, config: readonly ConfMember[], target: ConfMember): void {
    const voters = votersOf(config);
    const rest = voters.filter((each) => each.id !== target.id);
    if (rest.filter((each) => each.name !== "").length < quorum(rest.length)) throw new Refusal("not_enough_started");
    if (target.id !== leader.data.memberId && this.#peer(leader, target) === undefined) return;
    const active = voters.filter((each) => this.#peer(leader, each) !== undefined).length;
    if (active - 1 < 1 + Math.floor((voters.length - 1) / 2)) throw new Refusal("unhealthy");
  }

  #conf(leader: Member, members: readonly ConfMember[]): void {
    const index = this.#append(leader, { term: leader.data.term, kind: "conf", members });
    this.replicate(leader);
    if (leader.data.commit < index) throw new Refusal("timeout");
    this.replicate(leader);
  }

  /** Transfers the leadership to a member with the whole log. */
  moveLeader(via: Member, id: string): void {
    const leader = this.leaderOf(via);
    const target = leader === undefined ? undefined : this.#reachable(leader).find((peer) => peer.data.memberId === id);
    if (leader === undefined || target === undefined) throw new Refusal("unreachable");
    this.replicate(leader);
    if (target.data.log.length < leader.data.log.length) throw new Refusal("timeout");
    this.#stepDown(leader);
    for (const peer of this.#reachable(target)) peer.leaderId = undefined;
    this.#campaign(target);
  }

  /** A started member publishes its name and client URL. */
  publish(member: Member): boolean {
    const leader = this.leaderOf(member);
    const config = leader === undefined ? [] : configOf(leader.data);
    const own = config.find((each) => each.id === member.data.memberId);
    if (leader === undefined || own === undefined) return false;
    if (own.name === member.name && own.clientUrl === member.clientUrl) return true;
    if (leader.data.log.slice(leader.data.commit).some((entry) => entry.kind === "conf")) return false;
    try {
      this.#conf(
        leader,
        config.map((each) => each.id === own.id ? { ...each, name: member.name, clientUrl: member.clientUrl } : each),
      );
    } catch (error) {
      if (error instanceof Refusal) return false;
      throw error;
    }
    return true;
  }

  /** An etcd of an unsafe release forgets in a member's update that it is a learner. */
  #keepsLearners(): boolean {
    return [...this.running.values()].every(({ node }) =>
      isSafe(hazards.memberUpdateOfLearner, this.world.versionOf(node))
    );
  }

  /** By the rule of the leader's release. */
  #mayAdd(leader: Member, voters: readonly ConfMember[]): boolean {
    if (!isSafe(hazards.addNeedsAllVoters, this.world.versionOf(leader.node))) {
      return this.#connectedFully(leader, voters);
    }
    const connected = voters.filter((each) => this.#connectedFully(leader, [each])).length;
    return voters.length === 1 || connected >= quorum(voters.length + 1);
  }

  #connectedFully(leader: Member, voters: readonly ConfMember[]): boolean {
    const nowMs = this.world.nowMs();
    return voters.every((each) => {
      if (each.id === leader.data.memberId) return true;
      const since = leader.activeSinceMs.get(each.id);
      return since !== undefined && nowMs - since >= healthIntervalMs && this.#peer(leader, each) !== undefined;
    });
  }
}
