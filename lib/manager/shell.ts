/**
 * The world around the core: performs each effect through the side it belongs to, and hands back what came of it as an
 * event. Decides nothing.
 */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock, Files, Logger } from "../ports.ts";
import type { AnsweredEffect, Effect, JournalEntry } from "../core/effect.ts";
import type { DoneValue, Event, Now } from "../core/event.ts";
import type { Node } from "../core/node.ts";
import type { DataDir } from "../core/view.ts";
import type { ClusterSide } from "./cluster_side.ts";
import type { EtcdSide } from "./etcd_side.ts";
import type { EventQueue } from "./event_queue.ts";
import type { GossipSide } from "./gossip_side.ts";
import type { Journal } from "./journal.ts";
import { moveAside } from "./move_aside.ts";
import { readRecord, writeRecord } from "./node_record.ts";
import type { SnapshotSide } from "./snapshot_side.ts";

export interface ShellSides {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly files: Files;
  readonly log: Logger;
  readonly journal: Journal;
  readonly inspectDataDir: () => Promise<DataDir>;
  readonly etcd: EtcdSide;
  readonly cluster: ClusterSide;
  /** Undefined for a single node without peers. */
  readonly gossip: GossipSide | undefined;
  readonly snapshots: SnapshotSide;
  /** What the cluster's mark says, each time it was read. */
  readonly onPaused: (paused: boolean) => void;
  /** Finds, or gets, the newest etcd of this minor version, and makes the own etcd run it. */
  readonly upgradeEtcd: (minor: string) => Promise<void>;
}

const nothing: DoneValue = { kind: "nothing" };

export class Shell {
  readonly events: EventQueue<Event>;
  readonly #sides: ShellSides;
  #timer = new AbortController();
  #exitCode = 0;
  #node: Node | undefined;

  /** The sides deliver into `events`, so the queue is there before them. */
  constructor(sides: ShellSides, events: EventQueue<Event>) {
    this.#sides = sides;
    this.events = events;
  }

  get exitCode(): number {
    return this.#exitCode;
  }

  /** The node after its last step: for status and commands. */
  get node(): Node | undefined {
    return this.#node;
  }

  now(): Now {
    const { clock } = this.#sides;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  note(node: Node): void {
    this.#node = node;
  }

  perform(effect: Effect): void {
    const { clock, cluster, gossip, snapshots } = this.#sides;
    switch (effect.kind) {
      case "inspectData":
        return void this.#inspect();
      case "probe":
        for (const endpoint of effect.endpoints) {
          void cluster.probe(endpoint).then((probe) => this.events.push({ kind: "probed", endpoint, probe }));
        }
        return;
      case "readCatalogue":
        return void snapshots.readCatalogue().then((catalogue) => this.events.push({ kind: "catalogue", catalogue }));
      case "readPlan":
        return void this.#readPlan();
      case "setStatus":
        return gossip?.setStatus(effect.status);
      case "publishFacts":
        return gossip?.publish(effect.facts);
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

  /** Exactly one answer, whatever happens. */
  async #answer(effect: AnsweredEffect): Promise<void> {
    const { id } = effect;
    try {
      this.events.push({ kind: "done", id, value: await this.#deed(effect) });
    } catch (error) {
      const code = isE2dError(error) ? error.code : "unexpected";
      if (!isE2dError(error)) {
        this.#sides.log.error(`${effect.kind} failed in a way nobody foresaw`, {
          error: error instanceof Error ? error.stack ?? error.message : String(error),
        });
      }
      this.events.push({ kind: "failed", id, code, message: describeError(error) });
    }
  }

  async #deed(effect: AnsweredEffect): Promise<DoneValue> {
    const { etcd, cluster, snapshots, files, dataDir, clock, log } = this.#sides;
    switch (effect.kind) {
      case "writeRecord":
        await writeRecord(files, dataDir, effect.record);
        return nothing;
      case "moveDataAside": {
        // What runs on it would go on writing to it under its new name.
        if (etcd.running) throw new E2dError("etcd_running", `Cannot move "${dataDir}" aside: etcd runs on it`);
        const to = await moveAside(files, dataDir, effect.label, clock.wallMs());
        if (to !== undefined) log.warn("moved the data-dir aside; nothing was removed", { dataDir, to });
        return nothing;
      }
      case "startEtcd":
        await etcd.start(effect.start);
        return nothing;
      case "provideEtcd":
        await etcd.requireAtLeast(effect.atLeast);
        return nothing;
      case "stopEtcd":
        await etcd.stop();
        return nothing;
      case "upgradeEtcd":
        await this.#sides.upgradeEtcd(effect.to);
        return nothing;
      case "prepareSource":
        return { kind: "sourceVerified", hash: await snapshots.prepareSource(effect.founding, effect.from) };
      case "exportSurvivor":
        return { kind: "exported", ...await snapshots.exportSurvivor(effect.founding) };
      case "restoreData":
        await snapshots.restoreData(effect.founding);
        return nothing;
      case "takeSnapshot":
        return { kind: "snapshotTaken", ...await snapshots.take(effect) };
      case "memberAdd":
        return { kind: "memberAdded", memberId: await cluster.addMember(effect.via, effect.peerUrl) };
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
        await cluster.moveLeader(effect.to);
        return nothing;
      case "defragment":
        await cluster.defragment(effect.endpoint);
        return nothing;
      case "allowDowngrade":
        await cluster.allowDowngrade(effect.to);
        return nothing;
      case "makeRoom":
        return { kind: "roomMade", detail: await cluster.makeRoom(effect.endpoints) };
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
      case "compareHashes":
        return { kind: "hashesCompared", ...await cluster.compareHashes(effect.endpoints) };
      default:
        return effect satisfies never;
    }
  }

  async #inspect(): Promise<void> {
    const { files, dataDir, inspectDataDir } = this.#sides;
    let data: DataDir = await inspectDataDir();
    try {
      const record = await readRecord(files, dataDir);
      this.events.push({ kind: "dataInspected", data, ...(record === undefined ? {} : { record }) });
    } catch (error) {
      data = { kind: "unreadable", why: describeError(error) };
      this.events.push({ kind: "dataInspected", data });
    }
  }

  async #readPlan(): Promise<void> {
    try {
      const { plan, paused } = await this.#sides.cluster.readPlan();
      this.events.push({ kind: "plan", ...(plan === undefined ? {} : { plan }) });
      this.#sides.onPaused(paused);
    } catch (error) {
      // It is asked again in a while; what was known stands until then.
      this.#sides.log.debug("cannot read the plan", { error: describeError(error) });
    }
  }

  #arm(inMs: number): void {
    this.#timer.abort();
    this.#timer = new AbortController();
    this.#sides.clock.sleep(Math.max(0, inMs), this.#timer.signal).then(
      () => this.events.push({ kind: "timer" }),
      () => {},
    );
  }

  #journal(entry: JournalEntry): void {
    const { journal, log, clock } = this.#sides;
    const repeated = journal.add(entry, clock.wallMs());
    const { reason, facts } = entry;
    log[repeated ? "debug" : entry.level](`${entry.what}: ${entry.outcome}`, {
      phase: entry.phase,
      reason: reason.code,
      why: reason.text,
      ...(reason.hint === undefined ? {} : { hint: reason.hint }),
      ...facts,
    });
  }
}
