import { statusOf } from "../../lib/etcd/client_status.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("statusOf() reads alarms as etcd 3.4 to 3.6 word them, and as 3.7 does", () => {
  const raw = { header: { memberId: "abc", clusterId: "1", revision: 1 }, leader: "abc", storageVersion: "" };
  for (const between of [" ", "  "]) {
    const errors = ["NOSPACE", "CORRUPT"].map((alarm) => `memberID:2748${between}alarm:${alarm}`);
    const other = `memberID:15${between}alarm:CORRUPT `;
    const { alarms } = statusOf({ ...raw, errors: [...errors, other] } as unknown as Parameters<typeof statusOf>[0]);
    assertEquals(alarms, ["NOSPACE", "CORRUPT", "CORRUPT of f"]);
  }
});
