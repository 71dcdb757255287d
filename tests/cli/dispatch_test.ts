import { assert, assertEquals } from "../support/assert.ts";
import { commands } from "../../lib/cli/flags/commands.ts";
import { dispatch } from "../../lib/cli/dispatch.ts";

async function called(args: string[], files: Record<string, string> = {}, environment: Record<string, string> = {}) {
  let [out, err] = ["", ""];
  const status = await dispatch(args, {
    environment,
    readText: (path) => Promise.resolve(files[path]),
    out: (text) => void (out += text),
    err: (text) => void (err += text),
  });
  return { status, out, err };
}

Deno.test("dispatch() refuses an unknown command with status 2 and a suggestion", async () => {
  const one = await called(["statsu"]);
  assertEquals([one.status, one.out], [2, ""]);
  assert(one.err.includes('unknown command "statsu": did you mean "status"?'), one.err);
  const two = await called(["pki", "gencrets"]);
  assertEquals(two.status, 2);
  assert(two.err.includes('did you mean "pki gencerts"?'), two.err);
  assertEquals((await called(["pki"])).status, 2);
  assertEquals((await called([])).status, 2);
});

Deno.test("dispatch() suggests no other number of members", async () => {
  const { status, err } = await called(["scale", "4"]);
  assertEquals([status, err.includes('N "4": allowed: 1, 3, 5, 7'), err.includes("did you mean")], [2, true, false]);
});

Deno.test("dispatch() warns in one line of a misspelt variable, also with other problems, but not in a help", async () => {
  const environment = { E2D_SNAPSHOT_ENCRYPTON: "true", E2D_SERVICE_HOST: "10.0.0.1", E2D_PORT_2379_TCP: "tcp://x" };
  const warning = "e2d: unknown variable E2D_SNAPSHOT_ENCRYPTON: did you mean E2D_SNAPSHOT_ENCRYPTION?\n";
  const { err } = await called(["run", "-n", "2"], {}, environment);
  assert(err.startsWith(`${warning}e2d: -n "2"`), err);
  assertEquals((await called(["run", "--help"], {}, environment)).err, "");
});

Deno.test("dispatch() refuses client URLs that do not match the certificates, with status 2", async () => {
  const tls = ["--ca-cert=ca.crt", "--client-cert=client.crt", "--client-key=client.key"];
  for (const command of [["snapshot", "save", "file:///s"], ["status"]]) {
    const secure = await called([...command, "--endpoints=http://10.0.0.1:2379", ...tls]);
    assert(secure.status === 2 && secure.err.includes("certificates are given"), secure.err);
    const plain = await called([...command, "--endpoints=https://10.0.0.1:2379"]);
    assert(plain.status === 2 && plain.err.includes("https needs --ca-cert"), plain.err);
  }
});

Deno.test("dispatch() reports all invalid settings of e2d run at once, with status 2", async () => {
  const { status, err } = await called(
    ["run", "-n", "2", "--restore=maybe", "--name-of-node", "x", "--config", "f"],
    { f: "snapshot-kep: 1h,1d\nhealth-check-timeout: soon\n" },
  );
  assertEquals(status, 2);
  for (
    const part of [
      '-n "2"',
      '--restore "maybe"',
      "--name-of-node",
      "snapshot-kep in f: did you mean snapshot-keep?",
      'health-check-timeout in f "soon"',
    ]
  ) {
    assert(err.includes(part), `${part} in ${err}`);
  }
});

Deno.test("dispatch() quotes no line of an invalid configuration file, which may contain secrets", async () => {
  const { status, err } = await called(["run", "--config=f"], { f: "aws-secret-key: 's3cret\n- [" });
  assertEquals(status, 2);
  assert(err.includes('--config "f"') && !err.includes("s3cret"), err);
  assertEquals((await called(["run", "--config=gone"])).status, 2);
});

/** The help of every command, by the name of its file; with E2D_WRITE_GOLDEN=1 the test writes the files. */
async function helpTexts(): Promise<Map<string, string>> {
  const texts = new Map([["e2d.txt", (await called(["--help"])).out]]);
  for (const { path, planOf } of commands) {
    const { status, out } = await called([...path.split(" "), "--help"]);
    assertEquals(status, 0, path);
    assertEquals((await called(["help", ...path.split(" ")])).out, out);
    // A plan's help is that of its command, which has a file.
    if (planOf === undefined) texts.set(`${path.replaceAll(" ", "-")}.txt`, out);
  }
  return texts;
}

Deno.test("dispatch() prints the help of tests/cli/golden, for every command and no other", async () => {
  const folder = new URL("./golden/", import.meta.url);
  const texts = await helpTexts();
  if (Deno.env.get("E2D_WRITE_GOLDEN") === "1") {
    for (const [name, text] of texts) await Deno.writeTextFile(new URL(name, folder), text);
  }
  const again = "E2D_WRITE_GOLDEN=1 deno test -A tests/cli/dispatch_test.ts";
  for (const [name, text] of texts) {
    const golden = await Deno.readTextFile(new URL(name, folder)).catch(() => "");
    assertEquals(text, golden, `${name} differs; if it should: ${again}`);
  }
  const files = (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
  assertEquals(files, [...texts.keys()].sort());
});

Deno.test("every command that changes something has --dry-run, and plan COMMAND is equivalent", async () => {
  const changing = commands.filter(({ flags }) => "dryRun" in flags);
  const reading = ["run", "pki inspect", "snapshot list", "snapshot verify", "snapshot inspect", "etcd list", "status"];
  const others = commands.filter(({ planOf, flags }) => planOf === undefined && !("dryRun" in flags));
  assertEquals(others.map(({ path }) => path), [...reading, "why", "completion", "version"]);
  for (const { path, flags } of changing) {
    const plan = commands.find(({ planOf }) => planOf === path);
    assertEquals(plan?.path, `plan ${path}`);
    const { dryRun: _, ...rest } = flags;
    assertEquals(plan?.flags, rest);
  }
  // Neither lets itself be talked out of it.
  assertEquals((await called(["plan", "pause", "--dry-run=false"])).status, 2);
  assert((await called(["plan", "restore", "approve"])).err.includes("PLAN is missing"));
  assert((await called(["plan"])).err.includes('"e2d plan" needs a command'));
  assert((await called(["plan", "--help"])).out.includes("plan scale"));
});
