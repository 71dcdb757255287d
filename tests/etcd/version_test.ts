import { assertE2dError, assertEquals } from "../support/assert.ts";
import { isSupported, parseSupportedVersion, versionInOutput } from "../../lib/etcd/version.ts";
import { compareVersions, parseVersion } from "../../lib/facts/etcd_version.ts";

Deno.test("parseVersion() reads releases and pre-releases, with and without a v, and no other text", () => {
  assertEquals(parseVersion("v3.6.14"), { major: 3, minor: 6, patch: 14, preRelease: "" });
  assertEquals(parseVersion("3.4.23+dfsg"), { major: 3, minor: 4, patch: 23, preRelease: "" });
  assertEquals(parseVersion("3.7.0-rc.1"), { major: 3, minor: 7, patch: 0, preRelease: "rc.1" });
  for (const text of ["", "3.6", "3.6.x", "../3.6.14", "3.6.14/..", "3.6.14\n3", "three"]) {
    assertEquals(parseVersion(text), undefined, text);
  }
});

Deno.test("compareVersions() orders by number, and a pre-release before its release", () => {
  const sorted = ["3.4.23", "3.5.9", "3.5.33", "3.6.0-rc.0", "3.6.0-rc.1", "3.6.0", "3.6.14"];
  const order = (a: string, b: string) => compareVersions(parseVersion(a)!, parseVersion(b)!);
  assertEquals([...sorted].reverse().sort(order), sorted);
});

Deno.test("isSupported() is true from 3.4 to 3.7 only", () => {
  const supported = ["3.3.27", "3.4.0", "3.7.9", "3.8.0", "2.3.8", "4.5.0"].map((v) => isSupported(parseVersion(v)!));
  assertEquals(supported, [false, true, true, false, false, false]);
});

Deno.test("parseSupportedVersion() returns the plain form and throws for all other texts", async () => {
  assertEquals(parseSupportedVersion("v3.6.14"), "3.6.14");
  const invalid = await assertE2dError("etcd_version_invalid", () => parseSupportedVersion("latest"));
  assertEquals(invalid.message, 'Cannot use etcd version "latest": it is not a version');
  const old = await assertE2dError("etcd_version_unsupported", () => parseSupportedVersion("3.3.1"));
  assertEquals(old.message, 'Cannot use etcd version "3.3.1": e2d manages 3.4 to 3.7');
});

Deno.test("versionInOutput() reads what etcd --version prints, and is undefined for other programs", () => {
  assertEquals(versionInOutput("etcd Version: 3.6.14\nGit SHA: 1a2b\nGo Version: go1.26.8\n"), "3.6.14");
  assertEquals(versionInOutput('{"level":"warn"}\netcd Version: 3.4.23\n'), "3.4.23");
  assertEquals(versionInOutput("curl 8.1\n"), undefined);
});
