/** file and exec discovery on the real disk and with real processes. */
import { execCommand } from "../../lib/discovery/exec.ts";
import { peersFile } from "../../lib/discovery/file.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { systemProcesses } from "../../lib/sys/process.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { TestClock } from "../support/test_clock.ts";

const within = () => AbortSignal.timeout(20_000);
const exec = (command: string) =>
  execCommand(command, { clock: systemClock, processes: systemProcesses }).peers(within());

Deno.test("exec discovery runs pipes, quotes and variables as a shell does", async () => {
  assertEquals(await exec(`for n in 2 1; do echo "10.0.0.$n:7980 # node $n"; done | sort`), [
    { host: "10.0.0.1", port: 7980 },
    { host: "10.0.0.2", port: 7980 },
  ]);
  assertEquals(await exec("true"), []);
});

Deno.test("exec discovery reports exit code and stderr of a command that fails, is missing or is killed", async () => {
  const failed = await assertE2dError("discovery_exec", () => exec("echo no credentials >&2; echo 10.0.0.1; exit 3"));
  assert(failed.message.endsWith("ended with exit code 3: no credentials"), failed.message);
  const missing = await assertE2dError("discovery_exec", () => exec("no-such-command-of-ours"));
  assert(missing.message.includes("exit code 127"), missing.message);
  const killed = await assertE2dError("discovery_exec", () => exec("kill -9 $$"));
  assert(killed.message.includes("SIGKILL"), killed.message);
});

Deno.test("exec discovery kills a command that hangs together with its children", async () => {
  const clock = new TestClock();
  await using folder = await temporaryDirectory();
  const command = `echo $$ > ${folder.path}/shell; sleep 20 & echo $! > ${folder.path}/child; sleep 20; true`;
  const hanging = execCommand(command, { clock, processes: systemProcesses }).peers(within());
  hanging.catch(() => {});
  const pidOf = (name: string) =>
    eventually(`the pid of the ${name}`, async () => {
      const text = await Deno.readTextFile(`${folder.path}/${name}`).catch(() => "");
      return Number(text) || undefined;
    });
  const pids = [await pidOf("shell"), await pidOf("child")];
  const outcome = await clock.settle(hanging);
  assertEquals(outcome.status === "rejected" && outcome.reason.code, "discovery_exec");
  for (const pid of pids) {
    await eventually(`the end of ${pid}`, async () => await systemProcesses.identify(pid) === undefined);
  }
});

Deno.test("exec discovery reports an error for too much output instead of using the first part", async () => {
  const error = await assertE2dError("discovery_exec", () => exec("yes 10.0.0.1 | head -c 3000000"));
  assert(error.message.includes("wrote more than"), error.message);
});

Deno.test("file discovery detects a change of a mounted ConfigMap, which replaces a link two levels up", async () => {
  await using folder = await temporaryDirectory();
  const at = (name: string) => `${folder.path}/${name}`;
  for (const [version, text] of [["v1", "10.0.0.1\n"], ["v2", "10.0.0.2\n"]] as const) {
    await Deno.mkdir(at(version));
    await Deno.writeTextFile(at(`${version}/peers`), text);
  }
  await Deno.symlink("v1", at("..data"));
  await Deno.symlink("..data/peers", at("peers"));
  const method = peersFile(at("peers"), { clock: systemClock, files: systemFiles });
  const seen: string[] = [];
  const stop = new AbortController();
  const listening = (async () => {
    for await (const peers of method.changes!(stop.signal)) seen.push(peers.map(({ host }) => host).join());
  })().catch(() => {});
  await eventually("the first answer", () => seen.length === 1);
  await Deno.symlink("v2", at("..tmp"));
  await Deno.rename(at("..tmp"), at("..data"));
  await eventually("the second answer", () => seen.length === 2);
  assertEquals(seen, ["10.0.0.1", "10.0.0.2"]);
  stop.abort();
  await listening;
});

Deno.test("file discovery distinguishes a missing file and a folder from an empty file", async () => {
  await using folder = await temporaryDirectory();
  const ask = (name: string) =>
    peersFile(`${folder.path}/${name}`, { clock: systemClock, files: systemFiles }).peers(within());
  await assertE2dError("discovery_file", () => ask("missing"));
  await assertE2dError("file_read", () => ask("."));
  await Deno.writeTextFile(`${folder.path}/empty`, "# nobody yet\n");
  assertEquals(await ask("empty"), []);
});
