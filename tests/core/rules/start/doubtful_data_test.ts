import {
  decideDamaged,
  decideDamagedNewer,
  decideLog,
  decideMemberAhead,
  decideOverwritten,
  type DoubtfulOutcome,
} from "../../../../lib/core/rules/start/doubtful_data.ts";
import type { ValidData } from "../../../../lib/core/facts/data_dir.ts";
import type { EtcdAnswer } from "../../../../lib/core/facts/cluster.ts";
import type { Lineage } from "../../../../lib/core/facts/node_record.ts";
import type { GossipPeer } from "../../../../lib/core/facts/peer.ts";
import { assert, assertEquals } from "../../../support/assert.ts";
import { answer, answering, data, facts, member, peer, settings, view } from "../../facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const damaged = { kind: "damaged", what: "checksum of the log" } as const;

function told(outcome: DoubtfulOutcome | undefined): string {
  if (outcome === undefined) return "nothing";
  return `${outcome.kind} ${outcome.kind === "wait" ? outcome.level : outcome.label} ${outcome.reason.code}`;
}

/** The only plan that an operator can approve. */
function planOf(outcome: DoubtfulOutcome | undefined): string {
  assert(outcome?.reason.choices?.length === 1 && outcome.reason.choices[0]!.label !== "", told(outcome));
  return outcome.reason.choices[0]!.plan;
}

Deno.test("decideDamaged() waits for the others, and for an operator where their data is unusable, too", () => {
  const unusable = (name: string) => peer(name, { facts: facts(name, { data: { kind: "unusable", why: "EIO" } }) });
  const decide = (peers: readonly GossipPeer[], approved: readonly string[] = []) =>
    decideDamaged(view("c", { peers, settings: settings({ approved }) }), damaged);
  const waits = decide([peer("a")]);
  assertEquals(told(waits), "wait info data_damaged");
  assertEquals(
    waits.reason.text,
    "the data-dir is damaged (checksum of the log), and no running cluster can give this node its data anew",
  );
  const others = decide([unusable("b"), unusable("a")]);
  assertEquals(told(others), "wait error data_damaged");
  assert(others.reason.text.includes('(checksum of the log), so is the data of "a", "b", and no'), others.reason.text);
  assertEquals(told(decide([unusable("b")])), "wait error data_damaged");
  assertEquals(told(decide([], [planOf(waits)])), "quarantine damaged data_damaged");
  assertEquals(told(decide([], ["0123456789abcdef"])), "wait info data_damaged");
});

Deno.test("decideDamagedNewer() speaks up for damaged data of a newer epoch only", () => {
  const [older, newer] = [1, 2].map((epoch) => ({ id: "l", epoch, token: `t${epoch}` })) as [Lineage, Lineage];
  const decide = (own: Lineage | undefined, theirs: Lineage | undefined, approved: readonly string[] = []) => {
    const started = own === undefined ? {} : { started: { lineage: own, how: "restored" as const, renounced: [] } };
    const record = { nonce: "n", pledges: [], ...started };
    return decideDamagedNewer(view("c", { record, settings: settings({ approved }) }), damaged, theirs);
  };
  assertEquals(told(decide(undefined, older)), "nothing");
  assertEquals(told(decide(newer, undefined)), "nothing");
  assertEquals(told(decide(older, newer)), "nothing");
  assertEquals(told(decide(newer, newer)), "nothing");
  const waits = decide(newer, older);
  assertEquals(told(waits), "wait error damaged_newer_epoch");
  assertEquals(told(decide(newer, older, [planOf(waits)])), "quarantine damaged damaged_newer_epoch");
  assertEquals(told(decide(newer, { ...older, token: "other" }, [planOf(waits)])), "wait error damaged_newer_epoch");
});

Deno.test("decideMemberAhead() holds a member against the furthest answer of its own cluster", () => {
  /** Member b; c answers besides a. */
  const decide = (
    own: Partial<ValidData>,
    { a = {}, c = {}, approved = [], isListed = false }: {
      a?: Partial<EtcdAnswer>;
      c?: Partial<EtcdAnswer>;
      approved?: readonly string[];
      isListed?: boolean;
    } = {},
  ) => {
    const first = answer("a", members, a);
    const seen = view("b", {
      peers: [peer("a"), peer("c")],
      endpoints: new Map([
        ["http://a:2379", answering(first)],
        ["http://c:2379", answering(answer("c", members, c))],
      ]),
      settings: settings({ approved }),
    });
    return decideMemberAhead(
      seen,
      data("b", members, own),
      { via: ["http://a:2379"], answer: first },
      isListed ? "listed" : "removed",
    );
  };
  const last = (term: number) => ({ lastLog: { term, index: 1 } });
  assertEquals(told(decide({ revision: 50 })), "nothing");
  assertEquals(told(decide({ revision: 51 })), "wait error removed_ahead");
  assertEquals(told(decide({ revision: 51 }, { c: { revision: 51 } })), "nothing", "another member has it");
  assertEquals(told(decide({ revision: 51 }, { a: { revision: 51 }, c: { revision: 40 } })), "nothing");
  assertEquals(told(decide({ revision: 51 }, { c: { revision: 51, clusterId: "c2" } })), "wait error removed_ahead");
  assertEquals(told(decide(last(2))), "nothing");
  assertEquals(told(decide(last(3))), "wait error removed_ahead");
  assertEquals(told(decide(last(3), { c: { raftTerm: 3 } })), "nothing");
  assertEquals(told(decide(last(3), { a: { raftTerm: 3 }, c: { raftTerm: 1 } })), "nothing");
  assertEquals(told(decide({}, { a: { raftTerm: 0 }, c: { raftTerm: 0 } })), "nothing", "no log is known");
  const ahead = decide({ revision: 51 });
  const text =
    "the cluster does not list member id-b any more, and its data is at revision 50, this member's at revision 51: ";
  assert(ahead!.reason.text.startsWith(text), ahead!.reason.text);
  const byTerm = "and it is at raft term 2, and this member's log ends in term 3: ";
  assert(decide({ revision: 50, ...last(3) })!.reason.text.includes(byTerm));
  const listed = decide({ revision: 51 }, { isListed: true });
  assertEquals(told(listed), "wait info member_ahead");
  assert(listed!.reason.text.startsWith("the cluster lists member id-b, and its data is at revision 50"));
  const [plan, ofListed] = [planOf(ahead), planOf(listed)];
  assert(plan !== ofListed);
  assertEquals(told(decide({ revision: 51 }, { approved: [plan] })), "quarantine removed removed_member");
  assertEquals(
    told(decide({ revision: 51 }, { approved: [ofListed], isListed: true })),
    "quarantine superseded member_ahead",
  );
});

Deno.test("decideMemberAhead() and decideOverwritten() see entries that the cluster has overwritten, whatever its revision", () => {
  const conflict = {
    logTerms: { clusterId: "c1", starts: [{ term: 2, index: 4 }], committedIndex: 37 },
    peers: [peer("a", { facts: facts("a", { logTerms: { clusterId: "c1", starts: [{ term: 3, index: 22 }] } }) })],
  };
  const seen = (approved: readonly string[] = []) =>
    view("b", { data: data("b", members), settings: settings({ approved }), ...conflict });
  const first = answer("a", members, { revision: 900, raftTerm: 9 });
  const decide = (entry: "listed" | "removed", approved: readonly string[] = []) =>
    decideMemberAhead(seen(approved), data("b", members), { via: [], answer: first }, entry);
  assertEquals([told(decide("listed")), told(decide("removed"))], [
    "wait error member_ahead",
    "wait error removed_ahead",
  ]);
  assert(
    decide("listed")!.reason.text.startsWith(
      'the cluster lists member id-b, and entry 22 of its raft log is of term 3 (node "a"), where this member has ' +
        "applied one of term 2: ",
    ),
  );
  assertEquals(told(decide("listed", [planOf(decide("listed"))])), "quarantine superseded member_ahead");
  assertEquals(told(decide("removed", [planOf(decide("removed"))])), "quarantine removed removed_member");
  assertEquals(told(decideOverwritten(seen(), data("b", members))), "wait error member_ahead");
  assertEquals(told(decideOverwritten(view("b", { data: data("b", members) }), data("b", members))), "nothing");
});

Deno.test("decideLog() keeps an older image from voting; a single voter may start from it with an approval", () => {
  const decide = (list = members, approved: readonly string[] = [], seenIndex = 101) =>
    decideLog(
      view("c", {
        data: data("c", list, { lastLog: { term: 2, index: 100 } }),
        record: {
          nonce: "n",
          pledges: [],
          logs: { clusterId: "c1", members: [{ memberId: "id-c", index: seenIndex }] },
        },
        settings: settings({ approved }),
      }),
      data("c", list, { lastLog: { term: 2, index: 100 } }),
    );
  assertEquals(told(decide(members, [], 100)), "nothing");
  const waits = decide();
  assertEquals(told(waits), "wait error log_went_back");
  assert(waits!.reason.hint!.startsWith("put the newer disk back; or run"), waits!.reason.hint);
  assertEquals(waits!.reason.choices![0]!.label, "rename this node's data-dir and join as a new member");
  assertEquals(told(decide(members, [planOf(waits)])), "quarantine damaged log_went_back");
  const single = [member("c"), member("d", { isLearner: true })];
  const alone = decide(single);
  assertEquals(alone!.reason.choices![0]!.label, "start from this older data; what was written later is lost");
  assertEquals(told(decide(single, [planOf(alone)])), "nothing");
});
