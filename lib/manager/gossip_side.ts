/**
 * Gossip for lib/core: who is there, what they say of themselves, and this node's own status and facts. Each change
 * becomes one `gossip` event with all of what is known.
 */
import type { Clock, HostPort, Logger } from "../ports.ts";
import type { Event } from "../core/event.ts";
import type { GossipPeer, PeerFacts, Status } from "../core/view.ts";
import { type E2dGossip, type E2dGossipOptions, startE2dGossip } from "../gossip/e2d_gossip.ts";
import type { GossipMetrics } from "../gossip/gossip.ts";
import { FactsChannel } from "./facts_channel.ts";

export interface GossipSideOptions extends Omit<E2dGossipOptions, "onChange" | "onNote" | "seeds"> {
  /** Random text of this process. */
  readonly life: string;
  readonly seeds: () => readonly HostPort[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly deliver: (event: Extract<Event, { kind: "gossip" }>) => void;
}

/** A stopped node tells its leave for this long at most: an operator waits for it. */
const leaveTimeoutMs = 2_000;

export interface GossipSide {
  setStatus(status: Status): void;
  publish(facts: PeerFacts): void;
  peers(): GossipPeer[];
  metrics(): GossipMetrics;
  /** Who is new among the seeds is asked at once: a first list may come long after the start. */
  seedsChanged(): void;
  /** The first one seals from now on, each opens; only for a node that was started with keys. */
  setKeys(keys: readonly Uint8Array<ArrayBuffer>[]): void;
  /** Says goodbye, and frees the sockets. */
  close(): Promise<void>;
}

/** Throws what startE2dGossip throws. */
export async function startGossipSide(options: GossipSideOptions): Promise<GossipSide> {
  const { name, clock, log, deliver } = options;
  const closing = new AbortController();
  // It may call back before it is handed over.
  let gossip: E2dGossip | undefined = undefined as E2dGossip | undefined;
  let said = "";

  const others = () => (gossip?.members() ?? []).filter((member) => member.name !== name);
  const channel = new FactsChannel({
    name,
    life: options.life,
    clock,
    log,
    signal: closing.signal,
    peers: () =>
      others().filter((member) => !member.go && (member.state === "alive" || member.state === "suspect"))
        .map((member) => member.name),
    send: (to, note) => gossip!.sendNote(to, note),
    onChange: tell,
  });

  function peers(): GossipPeer[] {
    return others().map((member) => {
      const facts = member.go ? undefined : channel.factsOf(member.name);
      return { ...member, ...(facts === undefined ? {} : { facts }) };
    });
  }

  function tell(): void {
    if (gossip === undefined || closing.signal.aborted) return;
    const list = peers();
    // Repeated statuses and facts are no news.
    const text = JSON.stringify(list);
    if (text === said) return;
    said = text;
    deliver({ kind: "gossip", joined: list.length > 0, peers: list });
  }

  gossip = await startE2dGossip({
    ...options,
    onChange: () => {
      channel.tell();
      tell();
    },
    onNote: (note) => channel.receive(note),
  });
  const running = channel.run();
  tell();

  return {
    setStatus: (status) => gossip.setStatus(status),
    publish: (facts) => channel.publish(facts),
    peers,
    metrics: () => gossip.metrics(),
    seedsChanged: () => gossip.seedsChanged(),
    setKeys: (keys) => gossip.keyring?.replace(keys),
    async close() {
      closing.abort();
      await gossip.leave(leaveTimeoutMs);
      await gossip.close();
      await running;
    },
  };
}
