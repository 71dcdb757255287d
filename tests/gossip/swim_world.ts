/** One core alone with a test: events go in by hand, what it asks for is read off. */
import type { Member, SwimEffect, SwimEvent } from "../../lib/gossip/swim/types.ts";
import type { Alive, Message, NodeState, Versions } from "../../lib/gossip/wire/message.ts";
import { decodeMessage } from "../../lib/gossip/wire/message_codec.ts";
import { Swim } from "../../lib/gossip/swim/swim.ts";
import { lanConfig, ownVersions, type SwimConfig } from "../../lib/gossip/swim/config.ts";
import { Prng } from "../sim/prng.ts";

export const endpoint = (number: number) => ({ address: Uint8Array.of(10, 0, 0, number), port: 7980 });

export class Alone {
  readonly swim: Swim;
  nowMs = 1000;

  constructor(config: Partial<SwimConfig> = {}) {
    const random = new Prng(4);
    this.swim = new Swim({
      name: "self",
      advertise: endpoint(1),
      meta: Uint8Array.of(1),
      config: { ...lanConfig, ...config },
      random: () => random.float(),
      nowMs: this.nowMs,
    });
  }

  feed(event: SwimEvent): SwimEffect[] {
    return this.swim.step(event, this.nowMs);
  }

  hear(...messages: Message[]): SwimEffect[] {
    return this.feed({ kind: "packet", messages, from: endpoint(9) });
  }

  /** Lets time pass, waking the core whenever it wants to be. */
  pass(ms: number): SwimEffect[] {
    const untilMs = this.nowMs + ms;
    const effects: SwimEffect[] = [];
    while (this.swim.wakeAtMs <= untilMs) {
      this.nowMs = Math.max(this.nowMs, this.swim.wakeAtMs);
      effects.push(...this.feed({ kind: "wake" }));
    }
    this.nowMs = untilMs;
    return effects;
  }

  member(name: string): Member | undefined {
    return this.swim.members().find((member) => member.name === name);
  }
}

export function alive(name: string, number: number, incarnation = 1, more: {
  meta?: Uint8Array<ArrayBuffer>;
  versions?: Versions;
} = {}): Alive {
  return {
    kind: "alive",
    node: name,
    ...endpoint(number),
    incarnation,
    meta: new Uint8Array(0),
    versions: ownVersions,
    ...more,
  };
}

export function record(name: string, number: number, state: NodeState["state"], incarnation = 1): NodeState {
  return { name, ...endpoint(number), incarnation, meta: new Uint8Array(0), state, versions: ownVersions };
}

/** All messages of all packets. */
export function sent(effects: readonly SwimEffect[]): Message[] {
  return effects.flatMap((effect) => effect.kind === "send" ? effect.messages.map(decodeMessage) : []);
}

/** "who what" of all changes of members. */
export function changes(effects: readonly SwimEffect[]): string[] {
  return effects.flatMap((effect) => effect.kind === "member" ? [`${effect.member.name} ${effect.change}`] : []);
}
