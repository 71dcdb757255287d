import {
  decideAddressChange,
  decideAllMoved,
  movedEntry,
  runsElsewhere,
} from "../../../../lib/core/rules/start/address_change.ts";
import { decideStart } from "../../../../lib/core/rules/start/start.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import { assertEquals } from "../../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, nowMs, peer, silent, view } from "../../facts.ts";
import type { GossipPeer, PeerData } from "../../../../lib/core/facts/peer.ts";
import type { EtcdAnswer, EtcdMember, RaftFacts } from "../../../../lib/core/facts/cluster.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const running = new Map(["a", "b"].map((name) => [`http://${name}:2379`, answering(answer(name, members))] as const));
const raft = (active: boolean): RaftFacts => ({
  kind: "read",
  memberId: "id-a",
  sinceMs: nowMs - 4_000,
  atMs: nowMs,
  members: new Map([["id-c", { receivedBytes: 1, ...(active ? { heardAtMs: nowMs } : {}) }]]),
});

/** The data of member c on a machine at another address. */
function moved(change: Partial<View> = {}): View {
  return view("c", {
    self: { name: "c", peerUrl: "http://x:2380", clientUrl: "http://x:2379", gossipAddr: "x:7980" },
    data: data("c", members),
    peers: [peer("a", { status: "running" }), peer("b", { status: "running" })],
    endpoints: new Map([...running, ["http://c:2379", silent(nowMs - 1_000)]]),
    raft: raft(false),
    ...change,
  });
}

function outcome(seen: View): string {
  const { kind, reason } = decideStart(seen);
  return kind === "wait" ? reason.code : kind;
}

Deno.test("decideStart() registers a new address only when the member does not run at its registered one", () => {
  assertEquals(outcome(moved()), "updateAddress");
  const answers = new Map([...running, ["http://c:2379", answering(answer("c", members))]]);
  assertEquals(outcome(moved({ endpoints: answers })), "member_runs_twice");
  assertEquals(outcome(moved({ endpoints: running })), "asking_member");
  assertEquals(outcome(moved({ raft: raft(true) })), "member_runs_twice");
  const { raft: _, ...unasked } = moved();
  assertEquals(outcome(unasked), "asking_member");
  const conflict = { name: "c", addresses: ["x:7980", "c:7980"] } as const;
  assertEquals(outcome(moved({ nameConflicts: [conflict] })), "name_taken");
  // Another member may answer at its former client URL.
  const other = new Map([...running, ["http://c:2379", answering(answer("b", members))]]);
  assertEquals(outcome(moved({ endpoints: other })), "updateAddress");
});

Deno.test("decideStart() starts no copy of a live member when there is no quorum to ask either", () => {
  const lineage = { id: "l", epoch: 1, token: "t" };
  const held: PeerData = { kind: "held", clusterId: "c1", memberId: "id-c", lineage, revision: 1 };
  const holder = peer("c2", { facts: facts("c2", { data: held }) });
  const silentOnly = new Map([["http://c:2379", silent(nowMs - 1_000)]]);
  const alone = (change: Partial<View>) => outcome(moved({ endpoints: silentOnly, peers: [peer("a")], ...change }));
  assertEquals(alone({}), "restart");
  assertEquals(alone({ peers: [peer("a"), holder] }), "member_runs_twice");
  assertEquals(alone({ endpoints: new Map() }), "asking_member");
});

Deno.test("decideStart() never holds a member at its registered address up for a clone elsewhere", () => {
  const conflict = { name: "c", addresses: ["c:7980", "x:7980"] } as const;
  const seen = view("c", { data: data("c", members), peers: [peer("a")], nameConflicts: [conflict] });
  assertEquals(outcome(seen), "restart");
});

Deno.test("decideAddressChange() frees one address first when two members exchanged theirs, and else waits for it", () => {
  const lineage = { id: "l", epoch: 1, token: "t" };
  const holds = (id: string, at: string) =>
    peer("p", {
      peerUrl: `http://${at}:2380`,
      gossipAddr: `${at}:7980`,
      facts: facts("p", { data: { kind: "held", clusterId: "c1", memberId: id, lineage, revision: 1 } }),
    });
  const at = (name: string, address: string, peers: View["peers"]) =>
    view(name, {
      self: {
        name,
        peerUrl: `http://${address}:2380`,
        clientUrl: `http://${address}:2379`,
        gossipAddr: `${address}:7980`,
      },
      data: data(name, members),
      endpoints: new Map(members.map((each) => [each.clientUrls[0]!, silent(nowMs)])),
      raft: { kind: "unreadable", atMs: nowMs },
      peers,
    });
  const change = (seen: View, name: string) => {
    const decided = decideAddressChange(seen, members.find((each) => each.name === name)!, answer("c", members));
    return decided.kind === "update" ? decided.peerUrl : `${decided.reason.code} ${decided.level}`;
  };
  assertEquals(change(at("a", "b", [holds("id-b", "a")]), "a"), "http://id-a.moving.invalid:2380");
  assertEquals(change(at("b", "a", [holds("id-a", "b")]), "b"), "address_taken info");
  assertEquals(change(at("a", "b", [holds("id-b", "d")]), "a"), "address_taken info");
  assertEquals(change(at("a", "b", []), "a"), "address_taken error");
  assertEquals(change(at("a", "d", []), "a"), "http://d:2380");
  // Three in a ring: a is where b was, b where c was, c where a was.
  const ring = { a: "b", b: "c", c: "a" } as const;
  const inRing = (name: "a" | "b" | "c") =>
    change(
      at(
        name,
        ring[name],
        (["a", "b", "c"] as const).filter((each) => each !== name).map((each) => holds(`id-${each}`, ring[each])),
      ),
      name,
    );
  assertEquals((["a", "b", "c"] as const).map(inRing), [
    "http://id-a.moving.invalid:2380",
    "address_taken info",
    "address_taken info",
  ]);
});

Deno.test("runsElsewhere() goes by a peer that holds the data, the client port, gossip's names and raft, in this order", () => {
  const cluster = answer("a", members);
  const c = members[2]!;
  const lineage = { id: "l", epoch: 1, token: "t" };
  const holder = (change: Partial<Extract<PeerData, { kind: "held" }>> = {}, of: Parameters<typeof peer>[1] = {}) =>
    peer("c2", {
      facts: facts("c2", {
        data: { kind: "held", clusterId: "c1", memberId: "id-c", lineage, revision: 1, ...change },
      }),
      ...of,
    });
  const found = (change: Partial<View>, asked: EtcdAnswer | undefined = cluster, of = c) => {
    const reason = runsElsewhere(moved(change), of, asked);
    return reason === undefined ? "free" : `${reason.level} ${reason.reason.code}`;
  };
  const twice = "error member_runs_twice";
  const beside = (of: GossipPeer): Partial<View> => ({ peers: [goPeer("g"), of] });
  assertEquals(found({}), "free");
  assertEquals(found(beside(holder())), twice);
  assertEquals(found(beside(holder({}, { state: "dead" }))), "free");
  assertEquals(found(beside(holder({}, { gossipAddr: "x:7980" }))), "free", "its own word");
  assertEquals(found(beside(holder({ memberId: "id-b" }))), "free");
  assertEquals(found(beside(holder({ clusterId: "c2" }))), "free");
  assertEquals(found({ ...beside(holder({ clusterId: "c2" })), data: { kind: "absent" } }), twice);
  const conflict = (name: string) => ({ nameConflicts: [{ name, addresses: ["x:7980", "c:7980"] as const }] });
  assertEquals(found(conflict("c")), "error name_taken");
  assertEquals(found(conflict("b")), "free");
  // The leader hears the own etcd, too, once it runs.
  assertEquals(found({ raft: raft(true) }), twice);
  for (const kind of ["starting", "ready"] as const) {
    assertEquals(found({ raft: raft(true), etcd: { kind, sinceMs: 0 } }), "free", kind);
  }
  const { raft: _, ...unread } = moved();
  assertEquals(runsElsewhere(unread, c, cluster)?.reason.code, "asking_member");
  assertEquals(runsElsewhere(unread, c, undefined), undefined, "no leader to ask");
  const text = (of: EtcdMember) => {
    const answers = new Map([...running, ["http://c:2379", answering(answer("c", members))]]);
    return runsElsewhere(moved({ endpoints: answers }), of, cluster)?.reason.text;
  };
  assertEquals(
    text({ ...c, peerUrls: ["http://x:2380", "http://c:2380"] })?.includes(
      "runs at http://c:2380 (http://c:2379 answers)",
    ),
    true,
  );
  assertEquals(text({ ...c, peerUrls: ["http://x:2380"] })?.includes("runs at another address ("), true);
});

Deno.test("decideAddressChange() names who has the address, and exchanges only with members that are seen elsewhere", () => {
  const lineage = { id: "l", epoch: 1, token: "t" };
  const holds = (id: string, at: string, state: GossipPeer["state"] = "alive") =>
    peer(`p-${id}`, {
      state,
      peerUrl: `http://${at}:2380`,
      gossipAddr: `${at}:7980`,
      facts: facts("p", { data: { kind: "held", clusterId: "c1", memberId: id, lineage, revision: 1 } }),
    });
  /** Member a at this address, whose list is `list`. */
  const change = (address: string, peers: readonly GossipPeer[], list = members) => {
    const self = {
      name: "a",
      peerUrl: `http://${address}:2380`,
      clientUrl: `http://${address}:2379`,
      gossipAddr: `${address}:7980`,
    };
    const seen = view("a", {
      self,
      data: data("a", list),
      peers: [goPeer("g"), peer("n"), ...peers],
      endpoints: new Map(list.map((each) => [each.clientUrls[0]!, silent(nowMs)])),
      raft: { kind: "unreadable", atMs: nowMs },
    });
    const decided = decideAddressChange(seen, list[0]!, answer("c", list));
    return decided.kind === "update"
      ? `${decided.reason.code} ${decided.peerUrl}`
      : `${decided.level} ${decided.reason.code}`;
  };
  const freed = "addresses_exchanged http://id-a.moving.invalid:2380";
  assertEquals(change("b", [holds("id-b", "a")]), freed);
  assertEquals(change("b", [holds("id-b", "a", "suspect")]), "error address_taken");
  assertEquals(change("b", [holds("id-c", "a")]), "error address_taken");
  // Its node reports the very address of this node.
  assertEquals(change("b", [holds("id-b", "b")]), "error address_taken");
  assertEquals(change("b", [holds("id-b", "c"), holds("id-c", "a")]), freed, "three in a ring");
  assertEquals(change("b", [holds("id-b", "c"), holds("id-c", "a", "dead")]), "info address_taken");
  assertEquals(change("b", [holds("id-b", "c"), holds("id-c", "c")]), "info address_taken", "c is in its place");
  assertEquals(change("b", [holds("id-b", "free")]), "info address_taken");
  const four = [...members, member("d")];
  const apart = [holds("id-b", "c"), holds("id-c", "d"), holds("id-d", "c")];
  assertEquals(change("b", apart, four), "info address_taken", "a ring without this member");
  const port = (url: string) => {
    const list = [members[0]!, { ...members[1]!, peerUrls: [url] }];
    const seen = view("a", {
      self: { ...view("a").self, peerUrl: url },
      data: data("a", list),
      peers: [holds("id-b", "a")],
      endpoints: new Map(list.map((each) => [each.clientUrls[0]!, silent(nowMs)])),
      raft: { kind: "unreadable", atMs: nowMs },
    });
    const decided = decideAddressChange(seen, list[0]!, answer("c", list));
    return decided.kind === "update" ? decided.peerUrl : decided.kind;
  };
  assertEquals(port("https://b"), "https://id-a.moving.invalid:2380");
  assertEquals(port("https://b:7001"), "https://id-a.moving.invalid:7001");
  const label = (holder: EtcdMember) => {
    const list = [members[0]!, holder];
    const seen = view("a", {
      self: { ...view("a").self, peerUrl: "http://b:2380" },
      data: data("a", list),
      endpoints: new Map(list.map((each) => [each.clientUrls[0]!, silent(nowMs)])),
      raft: { kind: "unreadable", atMs: nowMs },
    });
    return decideAddressChange(seen, list[0]!, answer("c", list)).reason.text;
  };
  assertEquals(label(members[1]!), 'http://b:2380 is registered for "b", and etcd lists no address twice');
  assertEquals(
    label({ ...members[1]!, name: "" }),
    "http://b:2380 is registered for id-b, and etcd lists no address twice",
  );
});

Deno.test("movedEntry() is the own entry at other addresses; undefined where the data names none", () => {
  const entry = (list: readonly EtcdMember[]) => movedEntry(view("a"), data("a", list))?.id;
  assertEquals(entry([member("a", { peerUrls: ["http://old:2380"] })]), "id-a");
  assertEquals(entry([member("a")]), undefined);
  assertEquals(entry([member("a", { peerUrls: [] })]), undefined);
  assertEquals(entry([member("b")]), undefined);
});

Deno.test("decideAllMoved() starts no member at a new address while no other one is at its registered address", () => {
  const lineage = { id: "l", epoch: 1, token: "t" };
  const holds = (name: string, at: string, change: Partial<Extract<PeerData, { kind: "held" }>> = {}) =>
    peer(at, {
      facts: facts(at, {
        data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage, revision: 1, ...change },
      }),
    });
  const decided = (peers: readonly GossipPeer[], change: Partial<View> = {}, list = members) => {
    const own = data("c", list);
    const found = decideAllMoved(moved({ bootedAtMs: nowMs - 599_999, data: own, peers, ...change }), own);
    return found === undefined ? "starts" : `${found.level} ${found.reason.code}`;
  };
  const awaited = "info members_awaited", all = "error members_moved";
  assertEquals(decided([]), awaited);
  assertEquals(decided([holds("a", "a")]), "starts", "a is at its registered address");
  assertEquals(decided([{ ...holds("a", "a"), state: "dead" }]), awaited);
  assertEquals(decided([holds("b", "a")]), all, "another member's disk is at that address");
  assertEquals(decided([holds("a", "a", { clusterId: "c2" })]), awaited);
  assertEquals(decided([peer("a")]), awaited, "it has no data");
  assertEquals(decided([holds("c", "z")]), awaited, "a second copy of the own disk is no other disk");
  assertEquals(decided([goPeer("a", { state: "dead" })]), awaited);
  assertEquals([decided([goPeer("a")]), decided([goPeer("y")])], ["starts", awaited]);
  assertEquals(decided([holds("a", "y"), holds("b", "z")]), all);
  assertEquals(decided([holds("a", "y"), holds("b", "b")]), "starts");
  // Time ends the waiting for other disks, and never makes copies of a quorum start.
  const later = { bootedAtMs: nowMs - 600_000 };
  assertEquals([decided([], later), decided([holds("a", "y")], later)], ["starts", all]);
  const five = ["a", "b", "c", "d", "e"].map((name) => member(name));
  assertEquals(decided([holds("a", "y")], {}, five), awaited);
  assertEquals(decided([holds("a", "y"), holds("b", "z")], {}, five), all);
  const learners = members.map((each) => ({ ...each, isLearner: each.name !== "c" }));
  assertEquals([decided([], {}, learners), decided([], {}, members.slice(2))], ["starts", "starts"]);
  assertEquals(decided([], { self: view("c").self }), "starts", "it is at its registered address");
  const found = decideAllMoved(moved({ peers: [holds("b", "z")] }), data("c", members));
  assertEquals([found?.reason.text, found?.reason.hint?.slice(0, 137)], [
    '"b", "c" hold data at other addresses than their members are registered at, where etcd looks for them',
    "give the machines their former addresses or disks back " +
    '("b" from http://z:2380 to http://b:2380; "c" from http://x:2380 to http://c:2380)',
  ]);
});
