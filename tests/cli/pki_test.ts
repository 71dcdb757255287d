import type { TlsProbe } from "../../lib/ports.ts";
import { pkiGencerts, pkiInit, pkiInspect, pkiRenew } from "../../lib/cli/pki.ts";
import { pkiRollover, type RolloverPorts, type RolloverStepName } from "../../lib/cli/pki_rollover.ts";
import { DryFiles } from "../../lib/cli/dry_files.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { dayMs, testPorts } from "../pki/support.ts";

const machine = { hostName: "n1", addresses: ["10.0.0.1"] };
const keyType = "ecdsa-p256";

function commandPorts(probe: TlsProbe = () => Promise.resolve({ kind: "accepted" })) {
  const ports = testPorts();
  const output = { out: "", err: "" };
  const rollover: RolloverPorts = {
    ...ports,
    clock: { wallMs: () => ports.clock.nowMs, monotonicMs: () => 0, sleep: () => new Promise(() => {}) },
    terminal: { out: (text) => output.out += text, err: (text) => output.err += text },
    remove: (path) => ports.files.remove(path),
    probe,
    listMembers: () => Promise.resolve([{ name: "n1", urls: ["https://10.0.0.1:2379", "https://10.0.0.1:2380"] }]),
  };
  return { ports: rollover, files: ports.files, clock: ports.clock, output };
}

Deno.test("pkiInit() and pkiGencerts() without flags write the original's eight files into the working directory", async () => {
  const { ports, files, output } = commandPorts();
  await pkiInit({ keyType }, ports);
  await pkiGencerts({ keyType }, ports, machine);
  const stems = ["ca", "client", "peer", "server"];
  assertEquals([...files.files.keys()].sort(), stems.flatMap((stem) => [`${stem}.crt`, `${stem}.key`]));
  assertEquals(output.out.split("\n").length, 9);
  assertEquals(await pkiInspect({}, ports), 0);
  assert(output.out.includes("n1,10.0.0.1,127.0.0.1,localhost"), output.out);
});

Deno.test("pkiGencerts() reads hosts, directory and the CA from flags as the original does", async () => {
  const { ports, files } = commandPorts();
  await pkiInit({ caCert: "/p/ca.crt", caKey: "/q/ca.key", keyType }, ports);
  const hosts = "etcd.local, 192.0.2.7";
  await pkiGencerts({ caCert: "/p/ca.crt", caKey: "/q/ca.key", outputDir: "/o", hosts, keyType }, ports, machine);
  assert(files.files.has("/q/ca.key") && files.files.has("/o/server.key"));
  const { output, ports: other } = commandPorts();
  await pkiInspect({ caCert: "/p/ca.crt", dir: "/o", json: true }, { ...other, files });
  const { certificates } = JSON.parse(output.out);
  assertEquals(certificates.at(-1).names, ["etcd.local", "192.0.2.7", "127.0.0.1", "localhost", "10.0.0.1"]);
});

Deno.test("pkiInit() with --force keeps the old key and prints why it is needed", async () => {
  const { ports, output } = commandPorts();
  await pkiInit({ keyType }, ports);
  await assertE2dError("pki_file_exists", () => pkiInit({ keyType }, ports));
  await pkiInit({ keyType, force: true }, ports);
  assert(output.out.includes("kept the old file as ca.key.old-20270101T000000Z"), output.out);
  assert(output.err.includes("Snapshots sealed with the old CA key"), output.err);
});

Deno.test("pkiInspect() exits with 1 if a certificate expires within the given days, and names it", async () => {
  const { ports, clock, output } = commandPorts();
  await pkiInit({ keyType }, ports);
  await pkiGencerts({ keyType, days: 90 }, ports, machine);
  clock.nowMs += 50 * dayMs;
  assertEquals(await pkiInspect({}, ports), 0);
  assertEquals(await pkiInspect({ warnDays: 40 }, ports), 1);
  assert(output.err.includes('"server.crt" (C=US, ST=Boston, L=MA, CN=etcd server) expires in 39 days'), output.err);
});

Deno.test("pkiRenew() renews only due certificates, and fails if one cannot be renewed", async () => {
  const { ports, clock, files, output } = commandPorts();
  assertEquals(await pkiRenew({}, ports), 1);
  await pkiInit({ keyType }, ports);
  await pkiGencerts({ keyType, days: 90 }, ports, machine);
  assertEquals(await pkiRenew({}, ports), 0);
  assertEquals(output.out.match(/not due for renewal/g)?.length, 3);
  clock.nowMs += 61 * dayMs;
  assertEquals(await pkiRenew({}, ports), 0);
  assertEquals(output.out.match(/: renewed,/g)?.length, 3);
  await files.writeAtomic("server.key", files.text("peer.key"));
  assertEquals(await pkiRenew({ force: true }, ports), 1);
  assert(output.err.includes("the key belongs to another certificate"), output.err);
  assertEquals(await pkiRenew({ rekey: true }, ports), 0);
});

Deno.test("pkiRenew() recommends a rollover when the authority expires", async () => {
  const { ports, clock, output } = commandPorts();
  await pkiInit({ keyType, days: 90 }, ports);
  await pkiGencerts({ keyType }, ports, machine);
  clock.nowMs += 80 * dayMs;
  await pkiRenew({}, ports);
  assert(output.err.includes("replace it with e2d pki rollover"), output.err);
});

async function rolloverPorts(probe?: TlsProbe) {
  const command = commandPorts(probe);
  await pkiInit({ keyType }, command.ports);
  await pkiGencerts({ keyType }, command.ports, machine);
  const endpoints = ["https://10.0.0.1:2379"];
  const step = (name: RolloverStepName) => pkiRollover(name, { endpoints, keyType }, command.ports);
  return { ...command, step };
}

Deno.test("pkiRollover() completes its phases when every member is ready, and each phase can be repeated", async () => {
  const { step, files, output } = await rolloverPorts();
  for (const name of ["status", "prepare", "trust", "reissue", "reissue", "drop", "drop", "status"] as const) {
    assertEquals(await step(name), 0);
  }
  assert(output.out.startsWith("wrote"), output.out);
  assert(output.out.includes("This machine: reissued\n"), output.out);
  assert(output.out.includes("Old CA keys kept for old snapshots: ca-old-"), output.out);
  assert(!files.files.has("ca-next.key"));
});

Deno.test("pkiRollover() begins no phase for which a member is not ready, and changes nothing", async () => {
  let answer: Awaited<ReturnType<TlsProbe>> = { kind: "refused", detail: "" };
  const { step, files, ports } = await rolloverPorts(() => Promise.resolve(answer));
  await step("prepare");
  await step("trust");
  const writes = files.writes;
  const error = await assertE2dError("pki_rollover_blocked", () => step("reissue"));
  assert(
    error.message.includes('member "n1": https://10.0.0.1:2380 does not trust the next authority yet'),
    error.message,
  );
  await assertE2dError("pki_rollover_blocked", () => pkiRollover("reissue", {}, ports));
  answer = { kind: "accepted" };
  assertEquals(files.writes, writes);
  await step("reissue");
  answer = { kind: "unreachable", detail: "no route" };
  const silent = await assertE2dError("pki_rollover_blocked", () => step("drop"));
  assert(silent.message.includes("gave no answer (no route)"), silent.message);
});

Deno.test("--dry-run of the pki commands prints their actions, reports their errors, and changes nothing", async () => {
  const { ports, files, clock, output } = commandPorts();
  await pkiInit({ keyType }, ports);
  await pkiGencerts({ keyType, days: 90 }, ports, machine);
  const before = structuredClone(files.files);
  /** What a command says on a disk of its own kind. */
  const tried = async (run: (dry: RolloverPorts) => Promise<unknown>) => {
    const dry = new DryFiles(files);
    output.out = "";
    await run({ ...ports, files: dry, remove: (path) => dry.remove(path) });
    assertEquals(files.files, before);
    return output.out;
  };
  const dryRun = true;
  await assertE2dError("pki_file_exists", () => tried((dry) => pkiInit({ keyType, dryRun }, dry)));
  const forced = await tried((dry) => pkiInit({ keyType, force: true, dryRun }, dry));
  assert(forced.includes("would write ca.key") && forced.includes("would keep the old file as ca.key.old-"), forced);
  const made = await tried((dry) => pkiGencerts({ keyType, outputDir: "/new", dryRun }, dry, machine));
  assertEquals(made.split("\n").filter((line) => line.startsWith("would write /new/")).length, 6);
  clock.nowMs += 70 * dayMs;
  assert((await tried((dry) => pkiRenew({ dryRun }, dry))).includes("server.crt: would be renewed, expires on 2027-"));
  assert((await tried((dry) => pkiRollover("prepare", { keyType, dryRun }, dry))).includes("This machine: prepared"));
  assert((await tried((dry) => pkiRollover("status", {}, dry))).includes("No rollover is under way"));
});
