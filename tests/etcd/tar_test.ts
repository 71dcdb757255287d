import fc from "fast-check";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { concat, makeTar, type TarMember } from "../support/make_tar.ts";
import { isE2dError } from "../../lib/errors.ts";
import { readTar } from "../../lib/etcd/install/tar.ts";

const limits = { entriesMax: 100, entrySizeMaxBytes: 1_000_000 };

function streamOf(data: Uint8Array<ArrayBuffer>, chunkBytes = data.length): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= data.length) return controller.close();
      controller.enqueue(data.slice(at, at + chunkBytes));
      at += chunkBytes;
    },
  });
}

async function unpacked(data: Uint8Array<ArrayBuffer>, chunkBytes?: number): Promise<[string, string, string][]> {
  const found: [string, string, string][] = [];
  for await (const entry of readTar(streamOf(data, chunkBytes), limits)) {
    const parts: Uint8Array[] = [];
    for await (const part of entry.body) parts.push(part);
    found.push([entry.kind, entry.name, new TextDecoder().decode(concat(parts))]);
  }
  return found;
}

const refused = (code: string, member: TarMember) => assertE2dError(code, () => unpacked(makeTar([member])));

Deno.test("readTar() returns files and folders in order for every size of chunks", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ name: fc.stringMatching(/^[a-z]{1,8}(\/[a-z]{1,8}){0,3}$/), data: fc.string() }), {
        maxLength: 6,
      }),
      fc.integer({ min: 1, max: 1500 }),
      async (members, chunkBytes) => {
        const read = await unpacked(makeTar(members), chunkBytes);
        assertEquals(
          read,
          members.map(({ name, data }) => ["file", name, new TextDecoder().decode(new TextEncoder().encode(data))]),
        );
      },
    ),
    { seed: 20261123, numRuns: 200 },
  );
});

Deno.test("readTar() reads long names from pax and GNU records, and skips bodies that are not read", async () => {
  const long = `${"deep/".repeat(30)}file`;
  const record = (text: string) => {
    // The length of a pax record includes its own digits.
    for (let length = text.length;; length++) if (`${length} ${text}\n`.length === length) return `${length} ${text}\n`;
  };
  const archive = makeTar([
    { name: "x", type: "x", data: record(`path=${long}`) },
    { name: "short", data: "one" },
    { name: "././@LongLink", type: "L", data: `${long}2\0` },
    { name: "short", data: "two".repeat(1000) },
    { name: "folder/", type: "5" },
    { name: "folder/link", type: "2", link: "../short" },
  ]);
  const names: string[] = [];
  for await (const { kind, name } of readTar(streamOf(archive), limits)) names.push(`${kind} ${name}`);
  assertEquals(names, [`file ${long}`, `file ${long}2`, "directory folder", "link folder/link"]);
});

Deno.test("readTar() refuses names and links that leave the archive", async () => {
  for (const name of ["../etcd", "a/../../etcd", "a/..", "/etc/passwd", "a\\..\\b"]) {
    const error = await refused("archive_unsafe", { name, data: "x" });
    assert(error.message.startsWith(`Cannot unpack archive entry "${name}": `), error.message);
  }
  await refused("archive_unsafe", { name: "a/link", type: "2", link: "../../etc/passwd" });
  await refused("archive_unsafe", { name: "link", type: "2", link: "/etc/passwd" });
  await refused("archive_unsafe", { name: "a/link", type: "1", link: "../etcd" });
  await refused("archive_unsafe", { name: "device", type: "3" });
});

Deno.test("readTar() refuses entries beyond its limits before it reads them", async () => {
  const huge = await refused("archive_unsafe", { name: "etcd", size: 1_000_001 });
  assert(huge.message.includes("1000001 bytes"), huge.message);
  await refused("archive_corrupt", { name: "x", type: "x", size: 70_000 });
  const many = Array.from({ length: 101 }, (_, i) => ({ name: `f${i}` }));
  await assertE2dError("archive_corrupt", () => unpacked(makeTar(many)));
});

Deno.test("readTar() detects an archive that is truncated at any byte", async () => {
  const whole = makeTar([{ name: "d/", type: "5" }, { name: "d/etcd", data: "x".repeat(700) }]);
  for (let length = 0; length < whole.length - 512; length += 97) {
    await assertE2dError("archive_corrupt", () => unpacked(whole.slice(0, length)));
  }
});

Deno.test("readTar() detects a changed header and bytes after the end", async () => {
  const archive = makeTar([{ name: "etcd", data: "x" }]);
  const changed = archive.slice();
  changed[2] = 0x21;
  await assertE2dError("archive_corrupt", () => unpacked(changed));
  await assertE2dError("archive_corrupt", () => unpacked(concat([archive, new Uint8Array(512).fill(1)])));
  assertEquals((await unpacked(concat([archive, new Uint8Array(9728)]))).length, 1);
});

Deno.test("readTar() throws an E2dError for damaged and hostile archives, or returns safe names", async () => {
  const archive = makeTar([
    { name: "d/", type: "5" },
    { name: "x", type: "x", data: "20 path=d/long-name\n" },
    { name: "d/etcd", data: "x".repeat(600) },
    { name: "d/link", type: "2", link: "etcd" },
  ]);
  const change = fc.record({ at: fc.nat(archive.length - 1), byte: fc.nat(255) });
  let refusals = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), fc.boolean(), async (changes, repair) => {
      const damaged = archive.slice();
      for (const { at, byte } of changes) damaged[at] = byte;
      // With corrected header checksums the damage passes the first check.
      if (repair) {
        for (let at = 0; at + 512 <= damaged.length; at += 512) repairHeader(damaged.subarray(at, at + 512));
      }
      try {
        for (const [, name] of await unpacked(damaged)) {
          assert(!name.startsWith("/") && !name.split("/").includes(".."), name);
        }
      } catch (error) {
        assert(isE2dError(error), String(error));
        refusals++;
      }
    }),
    { seed: 20261124, numRuns: 2000 },
  );
  assert(refusals > 500, `${refusals} refusals: the damage is too mild`);
});

/** Corrects the checksum of a block that looks like a header. */
function repairHeader(block: Uint8Array): void {
  if (block[257] !== 0x75) return;
  block.set(new TextEncoder().encode("        "), 148);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
}
