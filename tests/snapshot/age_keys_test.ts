/** Snapshots for the public keys of age: who opens them, and what that proves. */
import { Decrypter, Encrypter, generateIdentity, identityToRecipient } from "age-encryption";
import { sameThreadCodec } from "../../lib/snapshot/format/codec.ts";
import { isAgeRecipient, parseIdentities, unwrapByAge, wrapForAge } from "../../lib/snapshot/format/age_keys.ts";
import { wrapSnapshot } from "../../lib/snapshot/format/seal.ts";
import { openSnapshot, type SnapshotKeys } from "../../lib/snapshot/format/unseal.ts";
import { workerCodec } from "../../lib/snapshot/format/worker_codec.ts";
import type { Manifest } from "../../lib/snapshot/manifest.ts";
import { fetchSnapshot } from "../../lib/snapshot/pipeline.ts";
import { MemoryDisk } from "../etcd/memory_disk.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import {
  type Bytes,
  caSecret,
  collect,
  counter,
  database,
  key,
  otherSecret,
  rewriteManifest,
  save,
  sha256,
  streamOf,
} from "./support.ts";

const identity = await generateIdentity();
const recipient = await identityToRecipient(identity);
const otherIdentity = await generateIdentity();
const plain = database("x", 8);

async function sealed(keys: SnapshotKeys): Promise<Bytes> {
  const facts = { clusterId: "c", lineage: { id: "l", epoch: 1, token: "t" }, revision: 1, etcdVersion: "3.6.14" };
  return await collect(wrapSnapshot(streamOf(plain), {
    facts: { ...facts, takenAt: "2026-01-02T03:04:05.000Z", plainBytes: plain.length },
    format: "v2",
    compression: "none",
    sealed: true,
    keys,
    mac: "HMAC-SHA-256",
    randomBytes: counter(),
  }));
}

const opened = async (file: Bytes, keys: SnapshotKeys) =>
  await collect((await openSnapshot(streamOf(file), keys)).stream);

Deno.test("a snapshot for the CA key and a public key opens with either of them, and with no other key", async () => {
  const file = await sealed({ recipients: [caSecret], publicRecipients: [recipient] });
  const fits: SnapshotKeys[] = [
    { recipients: [caSecret] },
    { recipients: [], identities: [identity] },
    { recipients: [otherSecret], identities: [otherIdentity, identity] },
  ];
  for (const keys of fits) assertEquals(await opened(file, keys), plain);
  const others: SnapshotKeys[] = [
    { recipients: [] },
    { recipients: [otherSecret], identities: [otherIdentity] },
    // The public key seals and opens nothing.
    { recipients: [], publicRecipients: [recipient] },
  ];
  for (const keys of others) await assertE2dError("snapshot_wrong_key", () => opened(file, keys));
  const database = await workerCodec.open(streamOf(file), { recipients: [], identities: [identity] }, {});
  assertEquals([await collect(database.stream), (await database.sums).storedSha256], [plain, sha256(file)]);
});

Deno.test("a snapshot for public keys alone is sealed, and does not open with any single bit flipped", async () => {
  const file = await sealed({ recipients: [], publicRecipients: [recipient] });
  const keys = { recipients: [], identities: [identity] };
  const { header } = await openSnapshot(streamOf(file), keys);
  assertEquals([header?.sealed, header?.recipients.map(({ id }) => id)], [true, ["age"]]);
  // Each twentieth byte: every flip in the wrapped key costs a key agreement.
  for (let at = 8; at < file.length; at += 20) {
    const touched = file.slice();
    touched[at]! ^= 1;
    const result = await opened(touched, keys).then(() => "opened", (error) => error.code as string);
    assert(result?.startsWith("snapshot_"), `byte ${at}: ${result}`);
  }
});

Deno.test("age's own file format holds the file key, and nothing but 32 bytes counts as one", async () => {
  const fileKey = new Uint8Array(32).fill(9);
  const { key } = await wrapForAge(fileKey, recipient);
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  assertEquals(await decrypter.decrypt(Uint8Array.fromHex(key)), fileKey);
  assertEquals(await unwrapByAge(["", "00", "zz", key], [otherIdentity, identity]), fileKey);
  assertEquals(await unwrapByAge([key], [otherIdentity]), undefined);
  const encrypter = new Encrypter();
  encrypter.addRecipient(recipient);
  const short = (await encrypter.encrypt(new Uint8Array(16))).toHex();
  assertEquals(await unwrapByAge([short], [identity]), undefined);
});

Deno.test("public keys and identities with an error are refused, and no message contains an identity", async () => {
  assert(isAgeRecipient(recipient) && !isAgeRecipient("age1.key") && !isAgeRecipient(identity));
  const wrong = `${recipient.slice(0, -1)}${recipient.endsWith("q") ? "p" : "q"}`;
  await assertE2dError("recipient_key", () => wrapForAge(new Uint8Array(32), wrong));
  assertEquals(await parseIdentities(`# created: …\n\n${identity}\r\n${otherIdentity}\n`), [identity, otherIdentity]);
  const cut = identity.slice(0, -1);
  for (const text of ["", "# nothing\n", cut, `${identity}\n${cut}q`, recipient, "AGE-PLUGIN-YUBIKEY-1QQ"]) {
    const error = await parseIdentities(text).then(() => undefined, (error: Error) => error.message);
    assert(error !== undefined && !error.includes("SECRET"), `${text}: ${error}`);
  }
});

const sealKeys = { recipients: [caSecret], publicRecipients: [recipient], secret: caSecret };
const identityOnly = { recipients: [], identities: [identity] };

async function fetched(store: MemoryStore, manifest: Manifest, trust: { keys: SnapshotKeys; requireSealed: boolean }) {
  const ports = { staging: new MemoryDisk(), clock: new TestClock(), log: new TestLog(), codec: sameThreadCodec };
  const choice = { key: manifest.key, manifest };
  return await fetchSnapshot({ store, key }, choice, { trust, path: "/work/x.db" }, ports).then(
    () => "restored",
    (error) => error.code as string,
  );
}

// A stream that is cancelled leaves the encryption of its last chunk to end on its own.
Deno.test(
  "an identity restores where no seal is required; with --snapshot-encryption it authenticates no manifest",
  { sanitizeOps: false },
  async () => {
    const store = new MemoryStore();
    const manifest = await save(store, { keys: sealKeys });
    assertEquals(manifest.authentication!.tags.length, 1);
    assertEquals(await fetched(store, manifest, { keys: sealKeys, requireSealed: true }), "restored");
    assertEquals(await fetched(store, manifest, { keys: identityOnly, requireSealed: false }), "restored");
    assertEquals(await fetched(store, manifest, { keys: identityOnly, requireSealed: true }), "snapshot_wrong_key");
    // Whoever knows the public key can seal for it; header, manifest and sum of the object must agree nonetheless.
    for (const change of [{ revision: 99 }, { sha256: "00".repeat(32) }, { plainBytes: plain.length + 512 }]) {
      rewriteManifest(store, manifest, change);
      const forged = { ...manifest, ...change };
      const code = await fetched(store, forged, { keys: identityOnly, requireSealed: false });
      assertEquals(code, "snapshot_manifest_mismatch", JSON.stringify(change));
    }
  },
);

Deno.test("the stored vector with a public key opens by its identity", async () => {
  const path = new URL("../vectors/vector-v2-age.snapshot", import.meta.url);
  const text = await Deno.readTextFile(new URL("../vectors/vector-v2-age.identity", import.meta.url));
  const [kept] = await parseIdentities(text) as [string];
  if (Deno.args.includes("--update")) {
    await Deno.writeFile(path, await sealed({ recipients: [], publicRecipients: [await identityToRecipient(kept)] }));
  }
  assertEquals(await opened(await Deno.readFile(path), { recipients: [], identities: [kept] }), plain);
});
