/** `e2d snapshot list`, `verify` and `restore --dry-run` on a folder of this machine. */
import { list } from "../../lib/cli/snapshot/list.ts";
import { restore, type RestoreFlags } from "../../lib/cli/snapshot/restore.ts";
import { verify } from "../../lib/cli/snapshot/verify.ts";
import { isE2dError } from "../../lib/errors.ts";
import { manifestSuffix } from "../../lib/snapshot/manifest.ts";
import { caSecret, database, key, save, type Saved } from "../snapshot/support.ts";
import { publication, publishSnapshot } from "../snapshot/publication.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { TestLog } from "../support/test_log.ts";

const plain: Saved = { sealed: false };
/** The member that `restoreFlags` names. */
const target = "--name a --peer-url http://a:2380";

async function withFolder(store: MemoryStore, work: (folder: string) => Promise<void>): Promise<void> {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/${key}.history`);
  for (const [name, { bytes }] of store.objects) await Deno.writeFile(`${dir.path}/${name}`, bytes);
  await work(dir.path);
}

const flagsOf = (folder: string) => ({
  url: `file://${folder}/${key}`,
  credentials: {},
  snapshotRecipient: [],
  json: false,
  snapshotEncryption: false,
  snapshotAllowUnsealed: false,
  deep: false,
});

const restoreFlags = (folder: string): RestoreFlags => ({
  ...flagsOf(folder),
  dataDir: `${folder}/data`,
  name: "a",
  peerUrl: "http://a:2380",
  initialCluster: "",
  token: "",
  asNewCluster: false,
  skipHashCheck: false,
  dryRun: true,
});

/** The exit status, or the code of the error, with all that was printed. */
async function run(
  command: (
    terminal: { out(text: string): void; err(text: string): void; columns: undefined },
    log: TestLog,
  ) => Promise<number>,
): Promise<{ outcome: number | string; text: string }> {
  let text = "";
  const terminal = { out: (each: string) => void (text += each), err: () => {}, columns: undefined };
  try {
    return { outcome: await command(terminal, new TestLog()), text };
  } catch (error) {
    if (!isE2dError(error)) throw error;
    return { outcome: error.code, text: `${text}${error.message}\n${error.hint}` };
  }
}

const nameOf = ({ key }: { readonly key: string }) => key.split("/").at(-1)!;

Deno.test("e2d snapshot verify verifies the object of the history, whatever the copy at the key is", async () => {
  const store = new MemoryStore();
  await save(store, { ...plain, minute: 1 });
  const newest = await save(store, { ...plain, minute: 2 });
  const { bytes } = store.objects.get(newest.key)!;
  store.objects.set(key, { bytes, modifiedMs: store.nowMs });
  await withFolder(store, async (folder) => {
    assertEquals((await run((terminal, log) => verify(flagsOf(folder), terminal, log))).outcome, 0);
    const flipped = bytes.slice();
    flipped[flipped.length - 100]! ^= 1;
    const cases = [["snapshot_truncated", bytes.slice(0, -100)], ["snapshot_corrupt", flipped], [
      "snapshot_gone",
      undefined,
    ]] as const;
    for (const [code, left] of cases) {
      if (left === undefined) await Deno.remove(`${folder}/${newest.key}`);
      else await Deno.writeFile(`${folder}/${newest.key}`, left);
      for (const snapshot of [undefined, nameOf(newest)]) {
        const { outcome, text } = await run((terminal, log) => verify({ ...flagsOf(folder), snapshot }, terminal, log));
        assertEquals(outcome, code);
        assert(text.includes(`"${newest.key}"`) && text.includes(`the copy at "${key}" is whole`), text);
      }
      // A restore takes the copy.
      assertEquals((await run((terminal, log) => restore(restoreFlags(folder), terminal, log))).outcome, 0);
      const listed = await run((terminal, log) => list(flagsOf(folder), terminal, log));
      const isListed = code === "snapshot_corrupt" || listed.text.includes(`damaged: ${nameOf(newest)}`);
      assertEquals([isListed, listed.outcome], [true, code === "snapshot_corrupt" ? 0 : 1], listed.text);
    }
  });
});

Deno.test("e2d snapshot list prints the whole list and ends with exit status 1 if something is damaged", async () => {
  const store = new MemoryStore();
  const [first, second, third] = [
    await save(store, { ...plain, minute: 1 }),
    await save(store, { ...plain, minute: 2 }),
    await save(store, { ...plain, minute: 3 }),
  ];
  store.objects.delete(key);
  const manifestOf = ({ key }: { readonly key: string }) => `${key}${manifestSuffix}`;
  const damages: Readonly<Record<string, (folder: string) => Promise<void>>> = {
    "nothing": () => Promise.resolve(),
    "an object is short": (folder) => Deno.truncate(`${folder}/${first.key}`, 10),
    "an object is gone": (folder) => Deno.remove(`${folder}/${first.key}`),
    "a manifest is unreadable": (folder) => Deno.writeTextFile(`${folder}/${manifestOf(first)}`, "{"),
    "the newest is gone": (folder) => Deno.remove(`${folder}/${third.key}`),
  };
  for (const [damage, make] of Object.entries(damages)) {
    await withFolder(store, async (folder) => {
      await make(folder);
      for (const json of [false, true]) {
        const { outcome, text } = await run((terminal, log) => list({ ...flagsOf(folder), json }, terminal, log));
        assertEquals([damage, outcome], [damage, damage === "nothing" ? 0 : 1]);
        assert(text.includes(nameOf(second)), text);
        assert(damage === "nothing" || text.includes("damaged"), text);
      }
    });
  }
});

Deno.test("e2d snapshot restore refuses to choose between two branches of a life, and names the newest of each", async () => {
  const store = new MemoryStore();
  for (const [minute, revision, now] of [[1, 4, 4], [2, 34, 34], [10, 5, 5], [11, 7, 7]] as const) {
    store.nowMs = minute * 60_000;
    await publishSnapshot({ store, key }, publication(minute, { revision, now }));
  }
  const names = [/Z-34-\w+$/, /Z-7-\w+$/].map((name) =>
    nameOf({ key: [...store.objects.keys()].find((each) => name.test(each))! })
  );
  await withFolder(store, async (folder) => {
    const { outcome, text } = await run((terminal, log) => restore(restoreFlags(folder), terminal, log));
    assertEquals(outcome, "stored_fork");
    for (const name of names) {
      assert(
        text.includes(
          `e2d snapshot restore file://${folder}/${key} --data-dir ${folder}/data ${target} --snapshot ${name}`,
        ),
        text,
      );
    }
    assert(!text.includes("revision 4 ") && !text.includes("revision 5 "), text);
    // An operator has chosen: what is saved here is no database, which is found later.
    const named = await run((terminal, log) => restore({ ...restoreFlags(folder), snapshot: names[0] }, terminal, log));
    assertEquals(named.outcome, "snapshot_manifest_mismatch");
  });
});

Deno.test("e2d snapshot verify and restore name the file that is no snapshot, and the newest older one", async () => {
  for (const bytes of [new Uint8Array(7), new TextEncoder().encode("E2DSNAP2garbage"), database("x").slice(0, 700)]) {
    const store = new MemoryStore();
    store.objects.set(key, { bytes, modifiedMs: 0 });
    await withFolder(store, async (folder) => {
      for (const command of [verify, restore]) {
        const { text } = await run((terminal, log) => command(restoreFlags(folder) as never, terminal, log));
        assert(text.includes(`snapshot "${key}" in file://${folder}`), text);
      }
    });
  }
  const store = new MemoryStore();
  const older = await save(store, { ...plain, minute: 1 });
  const newest = await save(store, { ...plain, minute: 2 });
  const { bytes } = store.objects.get(newest.key)!;
  bytes[bytes.length - 50]! ^= 1;
  store.objects.delete(key);
  await withFolder(store, async (folder) => {
    const { outcome, text } = await run((terminal, log) => restore(restoreFlags(folder), terminal, log));
    assertEquals(outcome, "snapshot_corrupt");
    assert(text.includes(`snapshot "${newest.key}"`), text);
    assert(text.includes(`"${older.key}" of 1970-01-01T00:01:00Z at revision 1`), text);
    assert(text.includes(`--data-dir ${folder}/data ${target} --snapshot ${nameOf(older)}`), text);
  });
});

Deno.test("e2d snapshot verify and restore open a snapshot with --snapshot-identity, and refuse bad files of keys", async () => {
  const identityPath = new URL("../vectors/vector-v2-age.identity", import.meta.url).pathname;
  const [publicRecipient] = /age1\S+/.exec(await Deno.readTextFile(identityPath)) as unknown as [string];
  const store = new MemoryStore();
  await save(store, { keys: { recipients: [caSecret], publicRecipients: [publicRecipient], secret: caSecret } });
  await withFolder(store, async (folder) => {
    const verified = (change: object) =>
      run((terminal, log) => verify({ ...flagsOf(folder), ...change }, terminal, log));
    assertEquals((await verified({})).outcome, "snapshot_wrong_key");
    assertEquals((await verified({ snapshotIdentity: [identityPath] })).outcome, 0);
    // A public key opens nothing, and an identity authenticates no manifest.
    assertEquals((await verified({ snapshotRecipient: [publicRecipient] })).outcome, "snapshot_wrong_key");
    const strict = { snapshotIdentity: [identityPath], snapshotEncryption: true };
    assertEquals((await verified(strict)).outcome, "snapshot_wrong_key");
    await Deno.writeTextFile(`${folder}/cut`, "AGE-SECRET-KEY-1QQ\n");
    for (const name of ["cut", "missing"]) {
      const { outcome, text } = await verified({ snapshotIdentity: [`${folder}/${name}`] });
      assert(outcome === "identity_key" && !text.includes("QQ"), text);
    }
    const flags = { ...restoreFlags(folder), snapshotIdentity: [identityPath] };
    assertEquals((await run((terminal, log) => restore(flags, terminal, log))).outcome, 0);
  });
});
