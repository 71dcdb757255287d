import {
  blockersOfDrop,
  blockersOfEnd,
  blockersOfReissue,
  keyFilesInUse,
  type MemberTrust,
  oldKeyPath,
  type PortTrust,
  type RolloverFiles,
  rolloverPaths,
  rolloverPhase,
} from "../../lib/pki/rollover/rollover.ts";
import { blockersOf, rolloverPlan } from "../../lib/pki/rollover/plan.ts";
import { assert, assertEquals } from "../support/assert.ts";

const [old, next, extra] = ["a".repeat(64), "b".repeat(64), "c".repeat(64)];
const paths = rolloverPaths({ caCert: "/p.d/ca.crt", caKey: "/p.d/ca.key" });
const kept = { path: oldKeyPath("/p.d/ca.key", old), fingerprintStart: "a".repeat(12) };
const pairs = (...signers: (string | undefined)[]) =>
  signers.map((signedBy, index) => ({ role: `r${index}`, path: `/p.d/${index}.crt`, signedBy }));
const files = (changed: Partial<RolloverFiles>): RolloverFiles => ({
  trusted: [old],
  current: old,
  next: undefined,
  pairs: pairs(old, old),
  oldKeys: [],
  ...changed,
});
const stages: Record<string, RolloverFiles> = {
  none: files({}),
  prepared: files({ next }),
  trusted: files({ next, trusted: [old, next] }),
  reissuing: files({ next, trusted: [old, next], pairs: pairs(next, old) }),
  reissued: files({ next, trusted: [old, next], pairs: pairs(next, next), current: next, oldKeys: [kept] }),
  dropped: files({ next, trusted: [next], pairs: pairs(next, next), current: next, oldKeys: [kept] }),
};

Deno.test("rolloverPhase() tells every stage from the files alone", () => {
  for (const [kind, stage] of Object.entries(stages)) assertEquals(rolloverPhase(stage).kind, kind);
  const lateKey = files({ next, trusted: [old, next], pairs: pairs(next, next) });
  assertEquals(rolloverPhase(lateKey), { kind: "reissuing", old, next });
  const latePair = files({ next, trusted: [old, next], pairs: pairs(next, old), current: next, oldKeys: [kept] });
  assertEquals(rolloverPhase(latePair), { kind: "reissuing", old, next });
});

Deno.test("rolloverPhase() still knows the old authority when ca-next.* or the kept key was taken away early", () => {
  assertEquals(rolloverPhase({ ...stages.reissued!, next: undefined }), { kind: "reissued", old, next });
  assertEquals(rolloverPhase({ ...stages.reissued!, oldKeys: [] }), { kind: "reissued", old, next });
});

Deno.test("rolloverPhase() takes an authority that always stood beside ours for no rollover", () => {
  assertEquals(rolloverPhase(files({ trusted: [old, extra] })), { kind: "none" });
  assertEquals(rolloverPhase(files({ trusted: [extra, old, next], next })).kind, "trusted");
  const dropped = { ...stages.dropped!, trusted: [extra, next] };
  assertEquals(rolloverPhase(dropped), { kind: "dropped", next });
});

Deno.test("rolloverPhase() is none again once all is cleared away, whatever old keys are kept", () => {
  assertEquals(rolloverPhase({ ...stages.dropped!, next: undefined }), { kind: "none" });
});

Deno.test("keyFilesInUse() lets both keys work throughout: each two neighbouring stages read each other", () => {
  const use = Object.values(stages).map((stage) => ({ stage, use: keyFilesInUse(stage, paths) }));
  // The path ca.key changes its meaning in the middle: authorities are compared, not paths.
  const meaning = (stage: RolloverFiles, path: string) =>
    path === paths.caKey ? stage.current : path === paths.nextKey ? next : old;
  for (const [a, b] of use.slice(1).map((later, index) => [use[index]!, later] as const)) {
    for (const [sender, receiver] of [[a, b], [b, a]] as const) {
      // A machine that has nothing of the rollover yet cannot read the next key, and nobody sends under it by then.
      const sealed = meaning(sender.stage, sender.use.gossip.primary);
      const opens = [receiver.use.gossip.primary, ...receiver.use.gossip.accepted].map((p) =>
        meaning(receiver.stage, p)
      );
      assert(opens.includes(sealed), `${sealed.slice(0, 1)} is not read by ${opens}`);
      // Each recipient can open a snapshot sealed for several, so one key in common is enough.
      const recipients = sender.use.snapshot.recipients.map((p) => meaning(sender.stage, p));
      const openers = receiver.use.snapshot.openers.map((p) => meaning(receiver.stage, p));
      assert(recipients.some((recipient) => openers.includes(recipient)));
    }
  }
});

Deno.test("keyFilesInUse() seals snapshots for both keys from preparing to dropping, and opens old ones afterwards", () => {
  const snapshot = (stage: string) => keyFilesInUse(stages[stage]!, paths).snapshot;
  assertEquals(snapshot("none"), { recipients: ["/p.d/ca.key"], openers: ["/p.d/ca.key"] });
  for (const stage of ["prepared", "trusted", "reissuing"]) {
    assertEquals(snapshot(stage).recipients, ["/p.d/ca.key", "/p.d/ca-next.key"]);
  }
  assertEquals(snapshot("reissued").recipients, ["/p.d/ca.key", "/p.d/ca-old-aaaaaaaaaaaa.key"]);
  assertEquals(snapshot("dropped"), {
    recipients: ["/p.d/ca.key"],
    openers: ["/p.d/ca.key", "/p.d/ca-old-aaaaaaaaaaaa.key"],
  });
  assertEquals(keyFilesInUse(stages.dropped!, paths).gossip, { primary: "/p.d/ca.key", accepted: [] });
});

const port = (changed: Partial<PortTrust> = {}): PortTrust => ({
  url: "https://n1:2379",
  acceptsOld: "yes",
  acceptsNext: "yes",
  showsNext: "yes",
  detail: "",
  ...changed,
});
const member = (changed: Partial<PortTrust> = {}): MemberTrust => ({ name: "n1", ports: [port(), port(changed)] });

Deno.test("blockersOf() opens a phase only when every port of every member is ready for it", () => {
  assertEquals(blockersOf("reissue", [member({ showsNext: "no" })]), []);
  assertEquals(blockersOf("drop", [member()]), []);
  assertEquals(blockersOfEnd([{ ...member(), ports: [port({ acceptsOld: "no" })] }]), []);
  assertEquals(blockersOfReissue([member(), member({ acceptsNext: "no" })]), [
    'member "n1": https://n1:2379 does not trust the next authority yet: run trust there and restart it',
  ]);
  assertEquals(blockersOfDrop([member({ showsNext: "unreachable", detail: "refused" })]), [
    'member "n1": https://n1:2379 gave no answer (refused)',
  ]);
  assertEquals(blockersOfEnd([member()]).length, 1);
});

Deno.test("blockersOf() never takes no answer for a good one", () => {
  for (const phase of ["reissue", "drop"] as const) {
    assertEquals(blockersOf(phase, []).length, 1);
    assertEquals(blockersOf(phase, [{ ...member(), ports: [] }]).length, 1);
  }
  assertEquals(blockersOfEnd([]).length, 1);
  const silent = { ...member(), ports: [port({ acceptsOld: "unreachable" })] };
  assertEquals(blockersOfEnd([silent]), ['member "n1": https://n1:2379 gave no answer']);
});

Deno.test("rolloverPlan goes forward with the files: no step done at one stage is undone at the next", () => {
  let before = -1;
  for (const [kind, stage] of Object.entries(stages)) {
    const done = rolloverPlan.filter((step) => step.isDone({ files: stage, members: undefined }) === "yes").length;
    assert(done >= before, kind);
    before = done;
  }
  assertEquals(before, 4);
  const asked = { files: stages.trusted!, members: [member()] };
  assertEquals(rolloverPlan[2]!.isDone(asked), "yes");
  assertEquals(rolloverPlan[2]!.isDone({ ...asked, members: undefined }), "unknown");
});
