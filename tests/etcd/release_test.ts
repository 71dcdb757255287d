import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { pinnedReleaseSum, release, releaseArch, sumInList } from "../../lib/etcd/install/release.ts";
import { pinnedSum, pinnedVersions } from "../../lib/etcd/install/pinned_sums.ts";
import { defaultVersion } from "../../lib/etcd/version.ts";

const linux = { os: "linux", arch: "x86_64" };

Deno.test("release() names archive and addresses as etcd publishes them, under any mirror", () => {
  const official = release("3.6.14", linux);
  assertEquals(
    official.url.replace(/^https:\/\/[^/]+/, ""),
    "/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz",
  );
  const mirror = release("3.5.33", { os: "linux", arch: "aarch64" }, "http://127.0.0.1:8080/etcd//");
  assertEquals(mirror.url, "http://127.0.0.1:8080/etcd/v3.5.33/etcd-v3.5.33-linux-arm64.tar.gz");
  assertEquals(mirror.sumsUrl, "http://127.0.0.1:8080/etcd/v3.5.33/SHA256SUMS");
});

Deno.test("release() refuses a mirror that is not an http URL, and a platform without archives", async () => {
  for (const mirror of ["", "example.com/etcd", "ftp://127.0.0.1/", "http://127.0.0.1/?key=1"]) {
    const error = await assertE2dError("etcd_mirror", () => release("3.6.14", linux, mirror));
    assert(error.message.includes(`"${mirror}"`), error.message);
  }
  const error = await assertE2dError("etcd_platform", () => releaseArch({ os: "darwin", arch: "aarch64" }));
  assert(error.message.includes('"darwin-aarch64"') && error.hint!.includes("--etcd-dir"), error.message);
});

Deno.test("pinnedSum() has 64 hex digits for every pinned version, including the default one", () => {
  for (const arch of ["amd64", "arm64"]) {
    const versions = pinnedVersions(arch);
    assertEquals(versions.length, 43);
    assert(versions.includes(defaultVersion));
    const sums = versions.map((version) => pinnedSum(version, arch)!);
    assert(sums.every((sum) => /^[0-9a-f]{64}$/.test(sum)));
    assertEquals(new Set(sums).size, sums.length);
  }
  assertEquals(pinnedSum("3.6.1", "amd64") === pinnedSum("3.6.14", "amd64"), false);
  assertEquals(pinnedSum("3.6", "amd64"), undefined);
  assertEquals(pinnedReleaseSum(release("3.7.3", linux)), undefined);
});

Deno.test("sumInList() finds an archive in text and binary mode, and no archive whose name only ends with it", () => {
  const [a, b] = ["a".repeat(64), "B".repeat(64)];
  const list = `${a}  etcd-v3.7.3-linux-arm64.tar.gz\n${b} *etcd-v3.7.3-linux-amd64.tar.gz\nnot a line\n`;
  assertEquals(sumInList(list, "etcd-v3.7.3-linux-amd64.tar.gz"), "b".repeat(64));
  assertEquals(sumInList(list, "etcd-v3.7.3-linux-arm64.tar.gz"), a);
  assertEquals(sumInList(list, "linux-amd64.tar.gz"), undefined);
  assertEquals(sumInList(`${a.slice(1)}  x`, "x"), undefined);
});
