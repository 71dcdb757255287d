/** Values as a cluster may hold them, and as a stranger may make them up. */
import fc from "fast-check";
import { memberStates, type Message, type NodeState, type StreamMessage } from "../../lib/gossip/wire/message.ts";

export const seed = 20_260_304;
export const runs = { seed, numRuns: 300 };

/** Objects as literals make them: fast-check's own have no prototype, which a strict comparison sees. */
export const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;

export const bytes = (constraints: fc.IntArrayConstraints = {}) =>
  fc.uint8Array(constraints).map((array) => new Uint8Array(array));
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const port = fc.integer({ min: 1, max: 0xffff });
/** Texts as JavaScript has them, and names that are no valid UTF-8 and travel as lone surrogates. */
export const text = fc.oneof(
  { weight: 5, arbitrary: fc.string({ unit: "binary", maxLength: 60 }) },
  { weight: 1, arbitrary: fc.constantFrom("", "\udc80", "a\udcff", "x".repeat(40), "n".repeat(300)) },
);
export const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
).map((array) => new Uint8Array(array));
const versions = record({
  protocolMin: fc.nat(255),
  protocolMax: fc.nat(255),
  protocolCurrent: fc.nat(255),
  delegateMin: fc.nat(255),
  delegateMax: fc.nat(255),
  delegateCurrent: fc.nat(255),
});
const meta = bytes({ maxLength: 600 });

const source = fc.option(record({ address, port, name: text }), { nil: undefined })
  .map((source) => source === undefined ? {} : { source });

const ping = fc.tuple(record({ sequence: uint32, node: text }), source)
  .map(([rest, source]): Message & { kind: "ping" } => ({ kind: "ping", ...rest, ...source }));
const accusation = { node: text, incarnation: uint32, from: text };

export const message: fc.Arbitrary<Message> = fc.oneof(
  ping,
  fc.tuple(
    record({ sequence: uint32, target: address, port: fc.nat(0xffff), node: text, nack: fc.boolean() }),
    source,
  ).map(([rest, source]): Message => ({ kind: "indirectPing", ...rest, ...source })),
  record({ kind: fc.constant("ack" as const), sequence: uint32, payload: bytes({ maxLength: 64 }) }),
  record({ kind: fc.constant("nack" as const), sequence: uint32 }),
  record({ kind: fc.constant("suspect" as const), ...accusation }),
  record({ kind: fc.constant("dead" as const), ...accusation }),
  record({
    kind: fc.constant("alive" as const),
    node: text,
    incarnation: fc.integer({ min: 1, max: 0xffff_ffff }),
    address,
    port: fc.nat(0xffff),
    meta,
    versions,
  }),
  record({ kind: fc.constant("user" as const), data: bytes({ maxLength: 700 }) }),
);

export const nodeState: fc.Arbitrary<NodeState> = record({
  name: text,
  address,
  port: fc.nat(0xffff),
  incarnation: uint32,
  meta,
  state: fc.constantFrom(...memberStates),
  versions,
});

export const streamMessage: fc.Arbitrary<StreamMessage> = fc.oneof(
  record({
    kind: fc.constant("pushPull" as const),
    join: fc.boolean(),
    nodes: fc.array(nodeState, { maxLength: 12 }),
    userState: bytes({ maxLength: 2000 }),
  }),
  ping,
  record({ kind: fc.constant("ack" as const), sequence: uint32, payload: bytes({ maxLength: 64 }) }),
  record({ kind: fc.constant("user" as const), data: bytes({ maxLength: 3000 }) }),
  record({ kind: fc.constant("error" as const), text }),
);

export const key = fc.constantFrom(16, 32)
  .chain((length) => bytes({ minLength: length, maxLength: length }));
export const nonce = bytes({ minLength: 12, maxLength: 12 });
export const label = fc.oneof(fc.constant(""), fc.string({ minLength: 1, maxLength: 40 })).map((text) =>
  new TextEncoder().encode(text)
);

/** What compresses well, what does not, and what lies between. */
export const content = fc.oneof(
  bytes({ maxLength: 3000 }),
  fc.tuple(bytes({ minLength: 1, maxLength: 20 }), fc.nat(800)).map(([part, times]) => {
    const whole = new Uint8Array(part.length * times);
    for (let at = 0; at < whole.length; at += part.length) whole.set(part, at);
    return whole;
  }),
  fc.tuple(fc.nat(9000), fc.integer({ min: 1, max: 255 })).map(([length, mask]) =>
    Uint8Array.from({ length }, (_, at) => (Math.imul(at, 2654435761) >>> 13) & mask)
  ),
);
