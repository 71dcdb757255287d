import { alarmTexts } from "../../lib/facts/etcd.ts";
import { statusOf } from "../../lib/etcd/client/status.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("statusOf() reads alarms in the format of etcd 3.4 to 3.6 and of 3.7", () => {
  const raw = { header: { memberId: "abc", clusterId: "1", revision: 1 }, leader: "abc", storageVersion: "" };
  for (const between of [" ", "  "]) {
    const errors = ["NOSPACE", "CORRUPT"].map((alarm) => `memberID:2748${between}alarm:${alarm}`);
    const other = `memberID:15${between}alarm:CORRUPT `;
    const given = { ...raw, errors: ["etcdserver: no leader", "etcdserver: something else", ...errors, other] };
    const status = statusOf(given as unknown as Parameters<typeof statusOf>[0]);
    assertEquals(status.alarms, [
      { type: "NOSPACE", memberId: "abc" },
      { type: "CORRUPT", memberId: "abc" },
      { type: "CORRUPT", memberId: "f" },
    ]);
    assertEquals(status.statusErrors, ["etcdserver: something else"]);
    assertEquals(alarmTexts(status), ["NOSPACE", "CORRUPT", "CORRUPT of f", "etcdserver: something else"]);
  }
});
