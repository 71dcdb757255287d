import { setProcessClock } from "../torture/process_clock.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, freePorts, temporaryDirectory } from "../support/fixtures.ts";
import { part } from "../support/parts.ts";

/** The distance of a clock to ours in seconds, rounded to ten. */
const aboutS = (ms: number) => 10 * Math.round((ms - Date.now()) / 10_000) + 0;

Deno.test("setProcessClock() sets the clock of a static Go program repeatedly and resets it, and changes no other clock", async () => {
  await using dir = await temporaryDirectory();
  const [client, peer] = freePorts(2);
  const url = `http://127.0.0.1:${client}`;
  const etcd = new Deno.Command(part("etcd-3.6.14", "etcd"), {
    args: [
      ...[`--data-dir=${dir.path}/data`, `--listen-client-urls=${url}`, `--advertise-client-urls=${url}`],
      ...[`--listen-peer-urls=http://127.0.0.1:${peer}`, `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`],
      `--initial-cluster=default=http://127.0.0.1:${peer}`,
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const told = async () => {
      const response = await fetch(`${url}/version`);
      await response.body?.cancel();
      return aboutS(Date.parse(response.headers.get("date")!));
    };
    assertEquals(await eventually("etcd", async () => await told() === 0), true);
    for (const offsetS of [3_600, -90, 0]) {
      await setProcessClock(etcd.pid, offsetS);
      assertEquals(await told(), offsetS);
    }
    assert(
      Math.abs(Date.now() - performance.timeOrigin - performance.now()) < 10_000,
      "the clock of this process was set",
    );
  } finally {
    etcd.kill("SIGKILL");
    await etcd.status;
  }
});

Deno.test("setProcessClock() sets the wall clock of Deno, not its monotonic one", async () => {
  const deno = new Deno.Command(Deno.execPath(), {
    args: ["eval", "setInterval(() => console.log(Date.now(), performance.now()), 20)"],
    stdout: "piped",
  }).spawn();
  try {
    const lines = deno.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
    /** Both clocks of the newest line. */
    const clocks = async () => ((await lines.next()).value as string).trim().split("\n").at(-1)!.split(" ").map(Number);
    const [, before] = await clocks();
    await setProcessClock(deno.pid, -3_600);
    let wall = 0, monotonic = 0;
    await eventually("the new time", async () => {
      [wall, monotonic] = await clocks() as [number, number];
      return aboutS(wall) === -3_600;
    }, { everyMs: 0 });
    assert(monotonic > before! && monotonic < before! + 60_000, `${before} ${monotonic}`);
    await lines.return?.();
  } finally {
    deno.kill("SIGKILL");
    await deno.status;
  }
});

Deno.test("setProcessClock() names the process that it cannot access", async () => {
  const ended = new Deno.Command("true").spawn();
  await ended.status;
  const error = await setProcessClock(ended.pid, 1).then(() => undefined, (error: Error) => error);
  assert(error instanceof Deno.errors.NotFound, String(error));
});
