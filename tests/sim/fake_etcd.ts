/**
 * A model of etcd clusters that keeps raft's promises and breaks them when its user breaks the rules: logs with terms
 * on simulated disks, elections by up-to-date logs, commits by quorum, membership changes through the log with etcd's
 * own refusals (unhealthy cluster, one learner, a learner that lags, the last quorum). A member that starts again
 * from an empty disk under its old id has forgotten its log and its votes here just as it would in life.
 */
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
  | { term: number; kind: "noop" };

/** What lies in one data-dir. */
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
  /** The term in which it replicated as leader last. */
  termBegan: number;
  frozen: boolean;
  slow: boolean;
}

export interface EtcdWorld {
  nowMs(): number;
  random(): number;
  /** Both directions. */
  connected(a: string, b: string): boolean;
  onLeader(member: Member): void;
  onRemoved(member: Member): void;
  fail(what: string): never;
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

export function valuesOf(log: readonly Entry[], length: number): Set<number> {
  const values = new Set<number>();
  for (let i = 0; i < length; i++) {
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

/** A data-dir as `--initial-cluster-state new` makes it: every founder computes the same ids. */
export function foundedData(
  founders: readonly { name: string; peerUrl: string; clientUrl: string }[],
  token: string,
  self: string,
  known: Map<string, Entry[]>,
  base?: { values: readonly number[]; revision: number },
): EtcdData {
  const members = founders.map(({ name, peerUrl, clientUrl }) => ({
    id: hashText(`${peerUrl} ${token}`),
    name,
    peerUrl,
    clientUrl,
    isLearner: false,
  })).sort((a, b) => a.id < b.id ? -1 : 1);
  const log: Entry[] = [{ term: 1, kind: "conf", members }];
  // Entries made alike on each founder are one and the same: keyed by everything that went into them.
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

export class FakeEtcds {
  readonly running = new Map<string, Member>();
  /** First log of each cluster, so that all founders hold the very same entries. */
  readonly firstLogs = new Map<string, Entry[]>();

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
      // One side that knows the other's address is enough: its connections carry both directions.
      const knows = other === from || other.peerUrl === to.peerUrl ||
        configOf(other.data).some((each) => each.id === from.data.memberId && each.peerUrl === from.peerUrl);
      if (!knows) return undefined;
      if (other.data.clusterId !== from.data.clusterId || other.frozen || from.frozen) return undefined;
      return other === from || this.world.connected(from.node, other.node) ? other : undefined;
    }
    return undefined;
  }

  leaderOf(member: Member): Member | undefined {
    if (member.leaderId === undefined) return undefined;
    for (const other of this.running.values()) {
      if (other.data.memberId === member.leaderId && other.data.clusterId === member.data.clusterId) {
        if (other.leaderId !== other.data.memberId || other.frozen) return undefined;
        return other === member || this.world.connected(member.node, other.node) ? other : undefined;
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

  hasQuorum(leader: Member): boolean {
    const voters = votersOf(configOf(leader.data));
    const up = voters.filter((each) => this.#peer(leader, each) !== undefined).length;
    return up >= quorum(voters.length);
  }

  tick(): void {
    const nowMs = this.world.nowMs();
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
      // A learner that never got a log dials the members it was started with, and they know that it was removed.
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
        // A joiner that has not applied its own addition elsewhere is not removed: only a longer log knows better.
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
      // Who hears a leader grants nothing (pre-vote and lease).
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

  /** Push the leader's log to all it reaches, commit what a quorum holds. */
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
      // Connections outlive leaders: a new one finds them as old as the younger of the two processes.
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
        if (same < peer.data.commit) this.world.fail(`${peer.name} would lose committed entries to ${leader.name}`);
        theirs.length = same;
        for (let i = same; i < log.length; i++) theirs.push(log[i]!);
      }
      matched.set(each.id, peer.data.log.length);
    }
    leader.termBegan = leader.data.term;
    const voters = votersOf(config);
    const sorted = voters.map((each) => matched.get(each.id) ?? 0).sort((a, b) => b - a);
    const held = sorted[quorum(voters.length) - 1] ?? 0;
    if (held > leader.data.commit && log[held - 1]!.term === leader.data.term) leader.data.commit = held;
    if (this.hasQuorum(leader)) leader.heardMs = nowMs;
    for (const peer of peers) {
      peer.data.commit = Math.max(peer.data.commit, Math.min(leader.data.commit, peer.data.log.length));
    }
    if (!configOf(leader.data).some((each) => each.id === leader.data.memberId)) this.#removed(leader);
  }

  /** A client's write through this endpoint: true when acknowledged. */
  put(endpoint: Member, value: number): boolean {
    const leader = this.leaderOf(endpoint);
    if (leader === undefined || endpoint.frozen || !this.hasQuorum(leader)) return false;
    if (configOf(endpoint.data).find((each) => each.id === endpoint.data.memberId)?.isLearner) return false;
    const index = this.#append(leader, { term: leader.data.term, kind: "put", value });
    this.replicate(leader);
    return leader.data.commit >= index;
  }

  /** A read through the leader: false when there is no quorum. */
  linearizable(endpoint: Member): boolean {
    const leader = this.leaderOf(endpoint);
    if (leader === undefined || endpoint.frozen || !this.hasQuorum(leader)) return false;
    this.replicate(leader);
    return endpoint.data.commit >= leader.data.commit && this.running.get(endpoint.node) === endpoint;
  }

  /** Change the member list through this endpoint, by etcd's rules. Throws Refusal. */
  change(
    endpoint: Member,
    change:
      | { kind: "add"; peerUrl: string; salt: string; voter?: boolean }
      | { kind: "remove"; id: string }
      | { kind: "promote"; id: string }
      | { kind: "update"; id: string; peerUrl: string },
  ): string {
    const leader = this.leaderOf(endpoint);
    if (leader === undefined || endpoint.frozen) throw new Refusal("no_leader");
    if (!this.hasQuorum(leader)) throw new Refusal("timeout");
    const config = configOf(leader.data);
    const pending = leader.data.log.slice(leader.data.commit).some((entry) => entry.kind === "conf");
    if (pending) throw new Refusal("timeout");
    let next: ConfMember[];
    let id: string;
    switch (change.kind) {
      case "add": {
        if (config.some((each) => each.peerUrl === change.peerUrl)) throw new Refusal("peer_url_exists");
        const voter = change.voter === true;
        if (!voter && config.some((each) => each.isLearner)) throw new Refusal("too_many_learners");
        if (voter && votersOf(config).filter((each) => each.name !== "").length < quorum(votersOf(config).length + 1)) {
          throw new Refusal("not_enough_started");
        }
        if (!this.#connectedFully(leader, votersOf(config))) throw new Refusal("unhealthy");
        id = hashText(`${change.peerUrl} ${leader.data.token} ${change.salt}`);
        next = [...config, { id, name: "", peerUrl: change.peerUrl, clientUrl: "", isLearner: !voter }];
        break;
      }
      case "remove": {
        id = change.id;
        const target = config.find((each) => each.id === id);
        if (target === undefined) return id;
        if (!target.isLearner) {
          const rest = votersOf(config).filter((each) => each.id !== id);
          if (rest.filter((each) => each.name !== "").length < quorum(rest.length)) {
            throw new Refusal("not_enough_started");
          }
          if (id === leader.data.memberId || this.#peer(leader, target) !== undefined) {
            const active = votersOf(config).filter((each) => this.#peer(leader, each) !== undefined).length;
            if (active - 1 < 1 + Math.floor((votersOf(config).length - 1) / 2)) throw new Refusal("unhealthy");
          }
        }
        next = config.filter((each) => each.id !== id);
        break;
      }
      case "promote": {
        id = change.id;
        const target = config.find((each) => each.id === id);
        if (target === undefined) throw new Refusal("not_found");
        if (!target.isLearner) return id;
        const peer = this.#peer(leader, target);
        if (peer === undefined || peer.data.commit < leader.data.commit * 0.9) throw new Refusal("learner_not_ready");
        next = config.map((each) => each.id === id ? { ...each, isLearner: false } : each);
        break;
      }
      case "update":
        id = change.id;
        if (!config.some((each) => each.id === id)) throw new Refusal("not_found");
        next = config.map((each) => each.id === id ? { ...each, peerUrl: change.peerUrl } : each);
        break;
    }
    this.#conf(leader, next);
    return id;
  }

  #conf(leader: Member, members: readonly ConfMember[]): void {
    const index = this.#append(leader, { term: leader.data.term, kind: "conf", members });
    this.replicate(leader);
    if (leader.data.commit < index) throw new Refusal("timeout");
    this.replicate(leader);
  }

  /** Hands the lead to a member that has the whole log. */
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

  /** A started member makes its name and client URL known. */
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

  #connectedFully(leader: Member, voters: readonly ConfMember[]): boolean {
    const nowMs = this.world.nowMs();
    return voters.every((each) => {
      if (each.id === leader.data.memberId) return true;
      const since = leader.activeSinceMs.get(each.id);
      return since !== undefined && nowMs - since >= healthIntervalMs && this.#peer(leader, each) !== undefined;
    });
  }
}
