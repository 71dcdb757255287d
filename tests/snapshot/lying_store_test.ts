/** A store that lies may make a node wait. It never makes one believe that there is no snapshot unless each answer does. */
import fc from "fast-check";
import { latestSnapshot, listSnapshots, newestSnapshot } from "../../lib/snapshot/lookup.ts";
import { isE2dError } from "../../lib/errors.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { type Lie, LyingStore } from "../support/lying_store.ts";
import { key, minuteMs, publication, publishSnapshot } from "./publication.ts";

const lie: fc.Arbitrary<Lie> = fc.oneof(
  fc.record({ kind: fc.constant("stale listing" as const), missing: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ kind: fc.constant("cut listing" as const), left: fc.integer({ min: 0, max: 4 }) }),
  fc.constant({ kind: "empty listing" as const }),
  fc.constant({ kind: "read 404" as const }),
  fc.constant({ kind: "head 404" as const }),
  fc.constant({ kind: "stale read" as const }),
);
/** For each question in turn. */
const lies = fc.array(fc.option(lie, { freq: 1, nil: undefined }), { maxLength: 30 });

const saveAt = async (store: LyingStore, at: number) => {
  store.truth.nowMs = at * minuteMs;
  return await publishSnapshot({ store, key }, publication(at, { epoch: 1 }));
};

async function acknowledged(saves: number): Promise<LyingStore> {
  const store = new LyingStore();
  for (let at = 1; at <= saves; at++) await saveAt(store, at);
  return store;
}

/** From now on the n-th answer is the n-th lie, where there is one. */
function lieNow(store: LyingStore, script: readonly (Lie | undefined)[], only?: readonly string[]): void {
  let at = 0;
  store.answers.length = 0;
  store.lies = ({ operation }) => only === undefined || only.includes(operation) ? script[at++] : undefined;
}

Deno.test("latestSnapshot() is absent only if history and key were listed as empty and the key was queried by name", async () => {
  let absent = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 3 }), lies, async (saves, script) => {
      const store = await acknowledged(saves);
      lieNow(store, script);
      const found = await latestSnapshot({ store, key });
      if (found.kind !== "absent") return;
      absent++;
      const shown = store.answers.flatMap(({ shown }) => shown).filter((name) => name.startsWith(key));
      assertEquals(shown, []);
      const asked = new Set(store.answers.map(({ operation, asked }) => `${operation} ${asked}`));
      assertEquals([...asked].sort(), [`info ${key}`, `list ${key}`, `list ${key}.history/`]);
    }),
    { seed: 20261129, numRuns: 2_000 },
  );
  assert(absent > 100, `${absent} were absent`);
});

Deno.test("latestSnapshot() never selects an older snapshot if listings are true, whatever reads and HEADs answer", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 3 }), lies, async (saves, script) => {
      const store = await acknowledged(saves);
      lieNow(store, script, ["read", "info"]);
      const found = await latestSnapshot({ store, key });
      assert(found.kind === "unreadable" || found.kind === "newest" && found.revision === saves, JSON.stringify(found));
    }),
    { seed: 20261129, numRuns: 1_000 },
  );
});

Deno.test("publishSnapshot() ends only if its snapshot is found, and a wrong answer removes nothing from the history", async () => {
  let saved = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 }), lies, async (saves, script) => {
      const store = await acknowledged(saves);
      const before = new Map([...store.truth.objects].filter(([name]) => name !== key));
      lieNow(store, script);
      const done = await saveAt(store, 9).then(() => true, (error) => {
        assert(isE2dError(error), String(error));
        return false;
      });
      store.lies = () => undefined;
      for (const [name, object] of before) assertEquals(store.truth.objects.get(name), object);
      const revisions = (await listSnapshots({ store, key })).map(({ revision }) => revision);
      if (done) assertEquals(revisions[0], 9);
      saved += Number(done);
      const newest = await newestSnapshot({ store, key }).catch((error) => error.code);
      // A publishing that was cut off may have left an object whose manifest is missing: unknown, not absent.
      assert(newest !== undefined || store.truth.objects.size === 0, "absent");
    }),
    { seed: 20261129, numRuns: 1_000 },
  );
  assert(saved > 100, `${saved} were saved`);
});

Deno.test("an object that HEAD finds and no listing shows is a contradiction, not absence", async () => {
  const store = await acknowledged(2);
  store.lies = ({ operation }) => operation === "list" ? { kind: "empty listing" } : undefined;
  const found = await latestSnapshot({ store, key });
  assert(found.kind === "unreadable" && found.code === "store_contradiction", JSON.stringify(found));
  await assertE2dError("store_contradiction", () => newestSnapshot({ store, key }));
});
