/** Hostile archives on a real disk, with matching checksums, as from a mirror that also serves the checksum list. */
import { isE2dError } from "../../lib/errors.ts";
import { unpack } from "../../lib/etcd/install/unpack.ts";
import { systemStaging } from "../../lib/sys/staging.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { gzip, makeTar, type TarMember } from "../support/make_tar.ts";

const top = "etcd-v3.6.14-linux-amd64";
const pax = (text: string) => {
  // The length of a record includes its own digits.
  for (let length = text.length;; length++) if (`${length} ${text}\n`.length === length) return `${length} ${text}\n`;
};

/** Unpacks into `<dir>/stage`; returns the error code, or undefined, and all files in `dir` afterwards. */
async function unpacked(members: readonly TarMember[]) {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/stage`);
  await Deno.writeTextFile(`${dir.path}/victim`, "precious");
  const archive = await gzip(makeTar(members));
  const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", archive)).toHex();
  let code: string | undefined;
  try {
    await unpack({
      archive: new Blob([archive]).stream(),
      sha256,
      folder: `${dir.path}/stage`,
      shown: "an archive",
    }, { staging: systemStaging });
  } catch (error) {
    assert(isE2dError(error), String(error));
    code = error.code;
  }
  assertEquals(await Deno.readTextFile(`${dir.path}/victim`), "precious");
  const { stdout } = await new Deno.Command("find", {
    args: [dir.path, "-mindepth", "1", "-printf", "%P %y %m\\n"],
  }).output();
  const found = new TextDecoder().decode(stdout).trim().split("\n").sort();
  return { code, found: found.filter((line) => !/^(stage d|victim f)/.test(line)) };
}

const etcd: TarMember = { name: `${top}/etcd`, data: "program" };

Deno.test("unpack() writes only the programs, executable and without special bits", async () => {
  assertEquals(
    await unpacked([
      { name: `${top}/`, type: "5" },
      etcd,
      { name: `${top}/README.md`, data: "text" },
      { name: `${top}/deeper/etcdctl`, data: "another" },
      { name: "etcdutl", data: "at the top" },
      { name: `${top}/etcdctl`, type: "2", link: "etcd" },
      { name: `${top}/link`, type: "1", link: `${top}/etcd` },
    ]),
    { code: undefined, found: [`stage/etcd f ${(0o755 & ~Deno.umask()).toString(8)}`] },
  );
});

const hostile: Record<string, TarMember[]> = {
  "a name that climbs": [{ name: `../victim`, data: "x" }],
  "a name that climbs from within": [{ name: `${top}/../../victim`, data: "x" }],
  "a climb that names a program": [{ name: `${top}/../../etcd`, data: "x" }],
  "an absolute name": [{ name: "/tmp/etcd", data: "x" }],
  "a backslash": [{ name: "..\\victim", data: "x" }],
  "a climb in a pax record": [{ name: "x", type: "x", data: pax("path=../../victim") }, etcd],
  "an absolute name in a pax record": [{ name: "x", type: "x", data: pax("path=/etc/passwd") }, etcd],
  "a NUL in a pax record": [{ name: "x", type: "x", data: pax(`path=${top}/etcd\0/../../../victim`) }, etcd],
  "a climb in a GNU long name": [{ name: "././@LongLink", type: "L", data: "../../victim\0" }, etcd],
  "a symbolic link out": [{ name: `${top}/etcd`, type: "2", link: "../../victim" }],
  "an absolute symbolic link": [{ name: `${top}/etcd`, type: "2", link: "/etc/passwd" }],
  "a symbolic link out in a pax record": [
    { name: "x", type: "x", data: pax("linkpath=../../victim") },
    { name: `${top}/etcd`, type: "2", link: "here" },
  ],
  "a hard link out": [{ name: `${top}/etcd`, type: "1", link: "../victim" }],
  "an absolute hard link": [{ name: `${top}/etcd`, type: "1", link: "/etc/passwd" }],
  "a hard link out by a GNU long name": [
    { name: "././@LongLink", type: "K", data: "../victim\0" },
    { name: `${top}/etcd`, type: "1", link: "here" },
  ],
  "a device": [{ name: `${top}/etcd`, type: "4" }],
  "a named pipe": [{ name: `${top}/etcd`, type: "6" }],
};

for (const [what, members] of Object.entries(hostile)) {
  Deno.test(`unpack() refuses ${what}, and writes nothing outside its folder`, async () => {
    const { code, found } = await unpacked([...members, etcd]);
    assertEquals(code, "archive_unsafe");
    assertEquals(found.filter((line) => !line.startsWith("stage/etcd ")), []);
  });
}

Deno.test("unpack() refuses a program that is a link, or that occurs twice", async () => {
  const linked = await unpacked([{ name: `${top}/other`, data: "x" }, {
    name: `${top}/etcd`,
    type: "2",
    link: "other",
  }]);
  assertEquals(linked, { code: "archive_corrupt", found: [] });
  assertEquals((await unpacked([etcd, { name: `${top}/./etcd`, data: "again" }])).code, "archive_corrupt");
});
