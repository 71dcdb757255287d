/** The command line in separate processes. */
import { assert, assertEquals } from "../support/assert.ts";
import { etcdDir } from "../support/parts.ts";
import { ReleaseMirror } from "../contract/release_mirror.ts";
import { e2d } from "./node_process.ts";

class Folder implements AsyncDisposable {
  readonly path = Deno.makeTempDirSync({ prefix: "e2d-cli-" });
  async names(): Promise<string[]> {
    return (await Array.fromAsync(Deno.readDir(this.path), ({ name }) => name)).sort();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

Deno.test("e2d run with invalid settings reports all of them, exits with 2 and writes no file", async () => {
  await using folder = new Folder();
  const { code, stdout, stderr } = await e2d(
    ["run", "--data-dri=data", "-n", "4", "--client-addr=http://10.0.0.1", "--restore=perhaps"],
    { cwd: folder.path, environment: { E2D_HEALTH_CHECK_TIMEOUT: "soon" } },
  );
  assertEquals([code, stdout], [2, ""]);
  const wanted = ["--data-dir?", '-n "4"', "--client-addr", '--restore "perhaps"', 'E2D_HEALTH_CHECK_TIMEOUT "soon"'];
  for (const each of wanted) assert(stderr.includes(each), `${each} in ${stderr}`);
  assertEquals(await folder.names(), []);
});

Deno.test("e2d run refuses an unknown key of its --config file and writes no file", async () => {
  await using folder = new Folder();
  await Deno.writeTextFile(`${folder.path}/e2d.yaml`, "data-dir: data\nsnapshot-intervall: 5m\n");
  const { code, stderr } = await e2d(["run", "--config=e2d.yaml"], { cwd: folder.path });
  assertEquals(code, 2);
  assert(stderr.includes("unknown setting snapshot-intervall in e2d.yaml: did you mean snapshot-interval?"), stderr);
  assertEquals(await folder.names(), ["e2d.yaml"]);
});

Deno.test("e2d etcd install downloads a release from a mirror once, and e2d etcd list shows it", async () => {
  await using folder = new Folder();
  await using mirror = new ReleaseMirror();
  await mirror.add("3.7.3");
  const install = ["etcd", "install", "--version=3.7.3", `--to=${folder.path}`];
  const environment = { E2D_ETCD_MIRROR: mirror.url };
  const first = await e2d(install, { environment });
  assertEquals([first.code, first.stdout], [0, `installed etcd 3.7.3 in ${folder.path}/3.7.3\n`], first.stderr);
  assertEquals(
    await Deno.readFile(`${folder.path}/3.7.3/etcd`).then((data) => data.length),
    (await Deno.stat(`${etcdDir("3.7.3")}/etcd`)).size,
  );
  const requests = mirror.requests.length;
  const second = await e2d(install, { environment });
  assertEquals(
    [second.code, second.stdout],
    [0, `etcd 3.7.3 is already installed in ${folder.path}/3.7.3\n`],
    second.stderr,
  );
  assertEquals(mirror.requests.length, requests);
  const listed = await e2d(["etcd", "list", `--etcd-dir=${folder.path}/3.7.3`, "--json"]);
  assertEquals(listed.code, 0, listed.stderr);
  const chosen = (JSON.parse(listed.stdout) as { version: string; folder: string; run: boolean }[])
    .filter(({ run }) => run);
  assertEquals(chosen.map(({ version, folder }) => [version, folder]), [["3.7.3", `${folder.path}/3.7.3`]]);
});

Deno.test("e2d version prints one line of JSON, and e2d completion bash prints a script that bash parses", async () => {
  const version = await e2d(["version"]);
  assertEquals(version.code, 0);
  const { etcd, e2d: own } = JSON.parse(version.stdout) as { etcd: { Version: string }; e2d: { Version: string } };
  assert(/^3\.\d+\.\d+$/.test(etcd.Version) && /^\d+\.\d+\.\d+/.test(own.Version), version.stdout);
  const completion = await e2d(["completion", "bash"]);
  assertEquals(completion.code, 0);
  assert(completion.stdout.includes("complete -o default -F _e2d e2d"), completion.stdout);
  const read = await new Deno.Command("bash", { args: ["-n", "-c", completion.stdout] }).output();
  assertEquals([read.success, new TextDecoder().decode(read.stderr)], [true, ""]);
});
