import { E2dError } from "../../lib/errors.ts";
import { EtcdAdapter, type EtcdAdapterOptions } from "../../lib/manager/adapters/etcd_adapter.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { TestLog } from "../support/test_log.ts";

/** An EtcdSide that has one version, and can get those of `others`. */
function side(version: string, others: readonly string[]) {
  const asked: string[] = [];
  const log = new TestLog();
  const options: Partial<EtcdAdapterOptions> = {
    log,
    programs: { etcd: "/etcd", version, source: "cache" },
    provide: (minor) => {
      asked.push(minor);
      const found = others.find((each) => each.startsWith(`${minor}.`));
      if (found !== undefined) return Promise.resolve({ etcd: "/etcd", version: found, source: "cache" });
      return Promise.reject(new E2dError("etcd_minor_unknown", `Cannot get an etcd ${minor}: none is here`));
    },
  };
  return { etcd: new EtcdAdapter(options as EtcdAdapterOptions), asked, lines: log.lines };
}

Deno.test("EtcdAdapter.requireWithin() keeps an etcd within the range, and otherwise installs the oldest within it", async () => {
  const table: [string, readonly string[], { atLeast?: string; atMost?: string }, string][] = [
    ["3.6.14", [], {}, "3.6.14"],
    ["3.6.14", [], { atLeast: "3.6", atMost: "3.7" }, "3.6.14"],
    ["3.7.3", [], { atLeast: "3.6", atMost: "3.7" }, "3.7.3"],
    // The default beside nodes of the Go original.
    ["3.6.14", ["3.5.33", "3.4.45"], { atLeast: "3.4", atMost: "3.5" }, "3.4.45"],
    ["3.6.14", ["3.5.33"], { atLeast: "3.4", atMost: "3.5" }, "3.5.33"],
    ["3.5.33", ["3.4.45"], { atLeast: "3.4", atMost: "3.5" }, "3.5.33"],
    ["3.6.14", ["3.7.3"], { atLeast: "3.7", atMost: "3.8" }, "3.7.3"],
  ];
  for (const [version, others, range, expected] of table) {
    const { etcd, asked, lines } = side(version, others);
    await etcd.requireWithin(range);
    assertEquals(etcd.programs.version, expected, JSON.stringify(range));
    assertEquals(asked.length > 0, version !== expected);
    assertEquals(lines.filter(({ level }) => level === "warn").length, version === expected ? 0 : 1);
  }
});

Deno.test("EtcdAdapter.requireWithin() fails with the command that installs a fitting etcd", async () => {
  const { etcd, asked } = side("3.6.14", ["3.7.3"]);
  const range = { atLeast: "3.4", atMost: "3.5" };
  const error = await assertE2dError("etcd_version_unfit", () => etcd.requireWithin(range));
  assertEquals(asked, ["3.4", "3.5"]);
  assert(error.message.includes("it requires 3.4 to 3.5"), error.message);
  assertEquals(error.hint, "install one on this node: e2d etcd install --version 3.4.45");
  assertEquals(etcd.programs.version, "3.6.14");
});
