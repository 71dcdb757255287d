/**
 * Executes the core's effects through the adapters, and returns each result as an event. It decides nothing: no effect
 * is retried, reordered or dropped here.
 */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock, Files, Logger } from "../ports.ts";
import type { AnsweredEffect, Effect, JournalEntry } from "../core/facts/effect.ts";
import type { DoneValue, Event, Now } from "../core/facts/event.ts";
import type { ClusterAdapter } from "./adapters/cluster_adapter.ts";
import type { EtcdAdapter } from "./adapters/etcd_adapter.ts";
import type { EventQueue } from "./event_queue.ts";
import type { GossipAdapter } from "./adapters/gossip_adapter.ts";
import type { DecisionLog } from "./status/decision_log.ts";
import { logMessage } from "./status/decision_text.ts";
import { quarantineDataDir } from "./data_dir/quarantine.ts";
import { readRecord, writeRecord } from "./data_dir/node_record.ts";
import type { SnapshotAdapter } from "./adapters/snapshot_adapter.ts";
import { withoutUndefined } from "./without_undefined.ts";
import type { DataDir } from "../core/facts/data_dir.ts";
import type { CommandAnswer } from "../core/facts/command.ts";
import type { Hold } from "../core/facts/settings.ts";
import type { PauseMark } from "../core/facts/node_record.ts";

export interface EffectAdapters {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly files: Files;
  readonly log: Logger;
  readonly journal: DecisionLog;
  readonly inspectDataDir: () => Promise<DataDir>;
  readonly etcd: EtcdAdapter;
  readonly cluster: ClusterAdapter;
  /** Undefined for a single node, which runs no gossip. */
  readonly gossip: GossipAdapter | undefined;
  readonly snapshots: SnapshotAdapter;
  /** Persists the newest pause of the cluster that this node knows. */
  readonly keepPause: (mark: PauseMark) => void;
  /** The hold is on disk when it resolves. */
  readonly writeHold: (hold: Hold | undefined) => Promise<void>;
  /** Sends the answer to an operator's command. */
  readonly reply: (id: string, answer: CommandAnswer) => void;
  /** Installs the newest etcd of this minor version, and restarts the own etcd with it. */
  readonly upgradeEtcd: (minor: string) => Promise<void>;
}

const nothing: DoneValue = { kind: "nothing" };

export class EffectRunner {
  readonly events: EventQueue<Event>;
  readonly #adapters: EffectAdapters;
  #timer = new AbortController();
  #exitCode = 0;

  /** The adapters push into `events`, so the queue is created before them. */
  constructor(adapters: EffectAdapters, events: EventQueue<Event>) {
    this.#adapters = adapters;
    this.events = events;
  }

  get exitCode(): number {
    return this.#exitCode;
  }

  now(): Now {
    const { clock } = this.#adapters;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  perform(effect: Effect): void {
    const { clock, cluster, gossip, snapshots } = this.#adapters;
    switch (effect.kind) {
      case "inspectData":
        return void this.#inspect();
      case "probe":
        for (const endpoint of effect.endpoints) {
          const askedMs = clock.monotonicMs();
          void cluster.probe(endpoint).then((probe) => this.events.push({ kind: "probed", endpoint, probe, askedMs }));
        }
        return;
      case "probeRaft":
        return void cluster.probeRaft(effect.endpoint).then((probe) => this.events.push({ kind: "raftProbed", probe }));
      case "lookUpSnapshot":
        return void snapshots.latestSnapshot().then((lookup) => this.events.push({ kind: "snapshotLookedUp", lookup }));
      case "readPlan":
        return void this.#readPlan();
      case "setStatus":
        return gossip?.setStatus(effect.status);
      case "publishFacts":
        return gossip?.publish(effect.facts);
      case "keepPause":
        return this.#adapters.keepPause(effect.mark);
      case "abortSnapshot":
        return snapshots.abortTake();
      case "shunPeers":
        return gossip?.shun(effect.names);
      case "reply":
        return this.#adapters.reply(effect.commandId, effect.answer);
      case "armTimer":
        return this.#arm(effect.atMs - clock.monotonicMs());
      case "journal":
        return this.#journal(effect.entry);
      case "exit":
        this.#exitCode = effect.code;
        this.#timer.abort();
        return this.events.close();
      default:
        return void this.#answer(effect);
    }
  }

  /** Pushes exactly one `done` or `failed` event, also for an unexpected error. */
  async #answer(effect: AnsweredEffect): Promise<void> {
    const { id } = effect;
    try {
      this.events.push({ kind: "done", id, value: await this.#execute(effect) });
    } catch (error) {
      const code = isE2dError(error) ? error.code : "unexpected";
      if (!isE2dError(error)) {
        this.#adapters.log.error(`unexpected error in ${effect.kind}`, {
          error: error instanceof Error ? error.stack ?? error.message : String(error),
        });
      }
      this.events.push({ kind: "failed", id, code, message: describeError(error) });
    }
  }

  async #execute(effect: AnsweredEffect): Promise<DoneValue> {
    const { etcd, cluster, snapshots, files, dataDir, clock, log } = this.#adapters;
    switch (effect.kind) {
      case "writeRecord":
        await writeRecord(files, dataDir, effect.record);
        return nothing;
      case "quarantineData": {
        // A running etcd would keep writing to the renamed data-dir.
        if (etcd.running) throw new E2dError("etcd_running", `Cannot quarantine "${dataDir}": etcd runs on it`);
        const to = await quarantineDataDir(files, dataDir, { ...effect, wallMs: clock.wallMs() });
        if (to !== undefined) {
          log.warn("quarantined the data-dir: it was renamed, nothing was deleted", { dataDir, to });
        }
        return nothing;
      }
      case "startEtcd":
        await etcd.start(effect.start);
        return nothing;
      case "provideEtcd":
        await etcd.requireWithin(effect.range);
        return { kind: "etcdProvided", version: etcd.programs.version };
      case "stopEtcd":
        await etcd.stop(effect.withinMs);
        return nothing;
      case "upgradeEtcd":
        await this.#adapters.upgradeEtcd(effect.to);
        return nothing;
      case "prepareSource":
        return { kind: "sourceVerified", hash: await snapshots.prepareSource(effect.plan, effect.from) };
      case "exportSurvivor":
        return { kind: "exported", ...await snapshots.exportSurvivor(effect.plan) };
      case "restoreData":
        await snapshots.restoreData(effect.plan);
        return nothing;
      case "takeSnapshot":
        return { kind: "snapshotTaken", ...await snapshots.take(effect) };
      case "memberAdd":
        return { kind: "memberAdded", memberId: await cluster.addMember(effect.via, effect.peerUrl, effect.beside) };
      case "memberRemove":
        await cluster.removeMember(effect.via, effect.memberId);
        return nothing;
      case "memberPromote":
        await cluster.promoteMember(effect.via, effect.memberId);
        return nothing;
      case "memberUpdate":
        await cluster.updateMember(effect.via, effect.memberId, effect.peerUrl);
        return nothing;
      case "moveLeader":
        await cluster.moveLeader(effect.to, effect.via);
        return nothing;
      case "defragment":
        await cluster.defragment(effect.endpoint);
        return nothing;
      case "allowDowngrade":
        await cluster.allowDowngrade(effect.to);
        return nothing;
      case "reclaimSpace":
        return { kind: "spaceReclaimed", detail: await cluster.reclaimSpace(effect.endpoints) };
      case "hashMembers":
        return { kind: "membersHashed", hashes: await cluster.hashMembers(effect.members, effect.revision) };
      case "disarmCorrupt":
        await cluster.disarmCorrupt(effect.memberId);
        return nothing;
      case "checkRecord":
        return { kind: "recordChecked", ...await cluster.checkRecord(effect.requiredSize) };
      case "changeRecord":
        await cluster.changeRecord(effect.from, effect.to);
        return nothing;
      case "writePlan":
        await cluster.writePlan(effect.plan);
        return nothing;
      case "clearVolatile":
        await cluster.clearVolatile(effect.lineage);
        return nothing;
      case "writePause":
        await cluster.setPaused(effect.paused);
        return nothing;
      case "writeHold":
        await this.#adapters.writeHold(effect.hold);
        return nothing;
      case "writeLineage":
        await cluster.writeLineage(effect.clusterId, effect.lineage);
        return nothing;
      case "compareHashes":
        return { kind: "hashesCompared", ...await cluster.compareHashes(effect.endpoints) };
      default:
        return effect satisfies never;
    }
  }

  async #inspect(): Promise<void> {
    const { files, dataDir, inspectDataDir } = this.#adapters;
    let data: DataDir = await inspectDataDir();
    try {
      const record = await readRecord(files, dataDir);
      this.events.push({ kind: "dataInspected", data, ...withoutUndefined({ record }) });
    } catch (error) {
      data = { kind: "unreadable", why: describeError(error) };
      this.events.push({ kind: "dataInspected", data });
    }
  }

  async #readPlan(): Promise<void> {
    try {
      const plan = await this.#adapters.cluster.readPlan();
      this.events.push({ kind: "plan", ...withoutUndefined({ plan }) });
    } catch (error) {
      // The core reads the plan again later; the last known plan stays valid until then.
      this.#adapters.log.debug("cannot read the plan", { error: describeError(error) });
    }
  }

  #arm(inMs: number): void {
    this.#timer.abort();
    this.#timer = new AbortController();
    this.#adapters.clock.sleep(Math.max(0, inMs), this.#timer.signal).then(
      () => this.events.push({ kind: "timer" }),
      () => {},
    );
  }

  #journal(entry: JournalEntry): void {
    const { journal, log, clock } = this.#adapters;
    const repeated = journal.add(entry, clock.wallMs());
    const { reason, facts } = entry;
    log[repeated ? "debug" : entry.level](logMessage(entry), {
      phase: entry.phase,
      outcome: entry.outcome,
      reason: reason.code,
      hint: reason.hint,
      ...facts,
    });
  }
}
