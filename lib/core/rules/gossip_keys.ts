/**
 * What gossip keys that do not fit mean to an operator. Rests on unauthenticated traffic, so it explains why a node waits
 * and decides nothing.
 */
import type { View } from "../facts/view.ts";
import type { GossipKeys, KeyMismatch } from "../facts/peer.ts";
import type { Reason } from "../facts/reason.ts";

export const codes = {
  differs: "gossip_key_differs",
  peer_has_none: "peer_without_gossip_key",
  own_missing: "gossip_key_missing",
} as const satisfies Record<KeyMismatch["kind"], string>;

/** One reason for each kind of mismatch, the strongest evidence first. */
export function keyReasons({ fingerprint, mismatches }: GossipKeys): Reason[] {
  const kinds = Object.keys(codes) as KeyMismatch["kind"][];
  return kinds.flatMap((kind) => {
    const of = mismatches.filter((each) => each.kind === kind);
    return of.length === 0 ? [] : [reasonOf(kind, of, fingerprint)];
  });
}

function reasonOf(kind: KeyMismatch["kind"], of: readonly KeyMismatch[], fingerprint: string | undefined): Reason {
  const who = (Object.keys(verbs) as KeyMismatch["evidence"][]).flatMap((evidence) => {
    const addresses = of.filter((each) => each.evidence === evidence).map(({ address }) => address);
    return addresses.length === 0 ? [] : [`${some(addresses)} ${verbs[evidence][addresses.length === 1 ? 0 : 1]}`];
  }).join(" and ");
  const own = fingerprint === undefined ? "" : ` (ours ${fingerprint})`;
  switch (kind) {
    case "differs":
      return {
        code: codes.differs,
        text: `${who}, but with another gossip key${own}`,
        hint:
          'the gossip key comes from the CA key: compare the fingerprints that "e2d pki inspect" prints on each node, ' +
          'then copy one ca.key to all nodes; "e2d pki init" runs on one node only',
      };
    case "peer_has_none":
      return {
        code: codes.peer_has_none,
        text: `${who}, but without a gossip key, and this node has one${own}`,
        hint: "start that node with --ca-key and a copy of this node's ca.key",
      };
    case "own_missing":
      return {
        code: codes.own_missing,
        text: `${who}, but encrypted, and this node has no gossip key`,
        hint: "start this node with --ca-key and a copy of that node's ca.key",
      };
    default:
      return kind satisfies never;
  }
}

const verbs = {
  answer: ["answers", "answer"],
  stream: ["connects", "connect"],
  packet: ["sends packets", "send packets"],
} as const satisfies Record<KeyMismatch["evidence"], readonly [string, string]>;

/** A few tell as much as all, and the text stays readable. */
const some = (addresses: readonly string[]) =>
  addresses.length <= 3 ? addresses.join(", ") : `${addresses.slice(0, 3).join(", ")} and ${addresses.length - 3} more`;

/** Waits for nodes that do not show up: where a key does not fit, that is why. */
const silences: ReadonlySet<string> = new Set([
  "no_peer_answers",
  "too_few_peers",
  "too_many_silent",
  "cluster_silent",
  "running_peer_silent",
]);

/** The reason of a wait, explained by a gossip key that does not fit where there is one. */
export function explainSilence(reason: Reason, { gossipKeys }: View): Reason {
  if (!silences.has(reason.code)) return reason;
  const [first] = keyReasons(gossipKeys);
  return first === undefined ? reason : { ...first, text: `${first.text}; ${reason.text}` };
}
