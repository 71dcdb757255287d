/** Two mistakes of a first installation: `pki init` on each machine, and a wrong bootstrap address. */
import type { StatusReport } from "../../lib/manager/status/report.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { e2d, freshHost, NodeProcess } from "./node_process.ts";

const status = async ({ host }: NodeProcess): Promise<StatusReport> =>
  await (await fetch(`http://${host}:7981/status`)).json();

/** Resolves when the status has a reason with this code whose text contains all of `parts`. */
async function reason(node: NodeProcess, code: string, parts: readonly string[]): Promise<void> {
  await node.eventually(`reporting ${code}`, async () => {
    const { reasons } = await status(node);
    const text = reasons.find((each) => each.code === code)?.text ?? "";
    for (const part of parts) assert(text.includes(part), `"${part}" is not in ${JSON.stringify(reasons)}`);
  });
}

Deno.test("a different or missing gossip key is reported on both sides, and the cluster starts once all have one key", async () => {
  await using dir = await temporaryDirectory();
  const hosts = [freshHost(), freshHost(), freshHost()];
  const [a, b, c] = hosts as [string, string, string];
  const fingerprints: string[] = [];
  for (const name of ["one", "two"]) {
    const ca = [`--ca-cert=${dir.path}/${name}.crt`, `--ca-key=${dir.path}/${name}.key`];
    assertEquals((await e2d(["pki", "init", ...ca])).code, 0);
    const { stdout } = await e2d(["pki", "inspect", ...ca, `--dir=${dir.path}`]);
    fingerprints.push(/gossip key ([0-9a-f]{12}) /.exec(stdout)![1]!);
  }
  const start = (host: string, key: string | undefined) =>
    new NodeProcess({
      host,
      dataDir: `${dir.path}/data-${host}`,
      args: [
        ...[`--name=n${hosts.indexOf(host)}`, "-n=3", `--bootstrap-addrs=${hosts.join(",")}`],
        `--status-addr=${host}:7981`,
        ...(key === undefined ? [] : [`--ca-key=${dir.path}/${key}.key`]),
      ],
    });
  await using first = start(a, "one");
  {
    await using other = start(b, "two");
    await using without = start(c, undefined);
    await reason(first, "gossip_key_differs", [`${b}:7980 answers`, `ours ${fingerprints[0]}`]);
    await reason(first, "peer_without_gossip_key", [`${c}:7980 answers`]);
    await reason(other, "gossip_key_differs", [`${a}:7980 answers`, `ours ${fingerprints[1]}`]);
    await reason(without, "gossip_key_missing", [`${a}:7980`, `${b}:7980`]);
    await first.logged(({ level, reason }) => level === "error" && reason === "gossip_key_differs");
  }
  await using second = start(b, "one");
  await using third = start(c, "one");
  await Promise.all([first, second, third].map((node) => node.healthy()));
  await eventually("the end of the reports", async () => {
    const { reasons } = await status(first);
    return !reasons.some(({ code }) => code.includes("gossip_key"));
  });
});

Deno.test("a wrong bootstrap address: both clusters keep serving and report it, and separate once it is removed", async () => {
  await using dir = await temporaryDirectory();
  const [x, y] = [freshHost(), freshHost()];
  const start = (host: string, bootstrap: readonly string[]) =>
    new NodeProcess({
      host,
      dataDir: `${dir.path}/data-${host}`,
      args: [
        ...[`--name=${host === x ? "x" : "y"}`, "-n=1", `--bootstrap-addrs=${bootstrap.join(",")}`],
        `--status-addr=${host}:7981`,
      ],
    });
  await using ofX = start(x, [x]);
  await ofX.healthy();
  {
    await using ofY = start(y, [y]);
    await ofY.healthy();
  }
  {
    // The mistake is in the configuration of a node that has its data.
    await using ofY = start(y, [y, x]);
    await ofY.eventually("ready", async () => assertEquals((await status(ofY)).ready, true));
    await reason(ofY, "foreign_cluster", ['"x"', `${x}:7980`, (await status(ofY)).clusterId!]);
    await reason(ofX, "foreign_cluster", ['"y"', `${y}:7980`, (await status(ofX)).clusterId!]);
    const hint = (await status(ofY)).reasons.find(({ code }) => code === "foreign_cluster")?.hint ?? "";
    assert(hint.startsWith(`remove ${x}:7980 from this node's --bootstrap-addrs`), hint);
    assertEquals([(await status(ofX)).ready, (await status(ofY)).ready], [true, true]);
    const client = await ofY.client();
    assertEquals((await client.memberList(ofY.clientUrl)).map(({ name }) => name), ["y"]);
  }
  await using ofY = start(y, [y]);
  await ofY.healthy();
  await ofX.logged(({ reason, outcome }) => reason === "foreign_cluster" && outcome === "resolved", {
    timeoutMs: 300_000,
  });
  for (const node of [ofX, ofY]) {
    await node.eventually("without a problem", async () => assertEquals((await status(node)).reasons, []));
  }
});
