/** `e2d status --endpoints` against real members: all running, one stopped, and without a quorum. */
import { status } from "../../lib/cli/status.ts";
import { queryEndpoints } from "../../lib/cli/status_endpoints.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { eventually, freePorts, temporaryDirectory } from "../support/fixtures.ts";
import { PlainCluster } from "./plain_cluster.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };
const statusAddr = { host: "127.0.0.1", port: 7981 };

async function shown(endpoints: readonly string[], json = false): Promise<{ code: number; text: string }> {
  let text = "";
  const terminal = { columns: undefined, out: (part: string) => text += part, err: () => {} };
  const code = await status({ statusAddr, json, endpoints }, terminal);
  return { code, text };
}

for (const version of ["3.4.23", "3.6.14"] as const) {
  Deno.test(`e2d status --endpoints reports the state of three members of etcd ${version}`, sanitize, async () => {
    await using directory = await temporaryDirectory();
    await using cluster = await PlainCluster.start({ directory: directory.path, size: 3, version });
    const [first, second, third] = cluster.members as [typeof cluster.members[0], ...typeof cluster.members];
    // Each of them reports all members.
    const whole = await eventually("a healthy report", async () => {
      const report = await queryEndpoints({ endpoints: [second!.clientUrl] });
      return report.healthy ? report : undefined;
    }, { timeoutMs: 60_000 });
    assertEquals(whole.members.map(({ name }) => name).sort(), ["n0", "n1", "n2"]);
    assertEquals(whole.members.map(({ role }) => role).sort(), ["leader", "voter", "voter"]);
    for (const member of whole.members) {
      assertEquals([member.version, member.reachable, member.alarms], [version, true, []]);
      assert(member.dbSizeBytes! > 0 && member.raftIndex! > 0);
    }
    const { code, text } = await shown([first.clientUrl]);
    assertEquals(code, 0, text);
    assert(text.startsWith(`cluster ${whole.clusterId}: healthy\n`), text);

    await cluster.stop(third!);
    const without = await eventually("a report without one", async () => {
      const report = await queryEndpoints({ endpoints: [third!.clientUrl, first.clientUrl] });
      return report.quorum ? report : undefined;
    }, { timeoutMs: 60_000 });
    assertEquals(without.reasons, ['"n2" does not answer']);
    const looked = await shown([first.clientUrl]);
    assertEquals(looked.code, 1);
    assert(/^n2 .* silent/m.test(looked.text) && looked.text.includes(": degraded\n"), looked.text);

    await cluster.stop(second!);
    const alone = await shown([first.clientUrl], true);
    assertEquals(alone.code, 1);
    const report = JSON.parse(alone.text);
    assertEquals([report.quorum, report.healthy, report.members.length], [false, false, 3]);
    assert(report.reasons[0].includes("no quorum"), report.reasons[0]);
  });
}

Deno.test("e2d status --endpoints fails when no endpoint answers", sanitize, async () => {
  const [port] = freePorts(1);
  await assertE2dError("etcd_unreachable", () => shown([`http://127.0.0.1:${port}`]));
});
