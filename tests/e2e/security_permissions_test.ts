/** The permissions that the executable lacks even if its code were compromised: see docs/install.md. */
import { fileURLToPath } from "node:url";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** The permission set of deno.json, with which `deno task compile` makes the executable. */
const confined = ["run", "--quiet", "--no-check", "--no-prompt", `--config=${root}deno.json`, "-P=e2d"];

async function output(program: string, args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    signal: AbortSignal.timeout(60_000),
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Each must be denied; the last two show that the probe distinguishes denied from allowed. */
const probe = `
const attempts = {
  ffi: () => Deno.dlopen("libc.so.6", {}),
  addon: () => process.dlopen({}, "/nowhere.node"),
  import: () => import("https://127.0.0.1:1/x.ts"),
  environ: () => Deno.readTextFile("/proc/1/environ"),
  memory: () => Deno.open("/proc/self/mem"),
  device: () => Deno.open("/dev/mem"),
  kernel: () => Deno.writeTextFile("/proc/sys/kernel/core_pattern", ""),
  setuid: () => process.setuid(0),
  uid: () => Deno.uid(),
  osRelease: () => Deno.osRelease(),
  systemMemoryInfo: () => Deno.systemMemoryInfo(),
  hostname: () => Deno.hostname(),
  networkInterfaces: () => Deno.networkInterfaces(),
};
const found = {};
for (const [name, attempt] of Object.entries(attempts)) {
  try {
    await attempt();
    found[name] = "allowed";
  } catch (error) {
    found[name] = /Requires \\w+ access/.test(String(error)) ? "denied" : String(error);
  }
}
console.log(JSON.stringify(found));
`;

Deno.test("the permission set of the executable denies native code, code over the network and access to other processes", async () => {
  await using dir = await temporaryDirectory();
  await Deno.writeTextFile(`${dir.path}/probe.ts`, `import process from "node:process";\n${probe}`);
  const { stdout, stderr } = await output(Deno.execPath(), [...confined, `${dir.path}/probe.ts`]);
  assert(stdout !== "", stderr);
  const { hostname, networkInterfaces, uid, ...others } = JSON.parse(stdout) as Record<string, string>;
  const granted = { hostname, networkInterfaces, uid };
  assertEquals(granted, { hostname: "allowed", networkInterfaces: "allowed", uid: "allowed" });
  assertEquals(others, Object.fromEntries(Object.keys(others).map((name) => [name, "denied"])));
  assertEquals(Object.keys(others).length, 10);
  const { permissions } = JSON.parse(await Deno.readTextFile(`${root}deno.json`));
  assertEquals(permissions.e2d, {
    net: true,
    read: true,
    write: true,
    run: true,
    env: true,
    sys: ["gid", "homedir", "hostname", "networkInterfaces", "statfs", "uid"],
  });
});

Deno.test("e2d runs with the restricted permissions: an access that needs all permissions is denied", async () => {
  const executable = Deno.env.get("E2D_EXECUTABLE");
  const e2d = async (...args: string[]) =>
    executable === undefined
      ? await output(Deno.execPath(), [...confined, `${root}main.ts`, ...args])
      : await output(executable, args);
  assertEquals((await e2d("version")).code, 0);
  const { code, stdout, stderr } = await e2d("run", "--config=/proc/self/environ");
  assertEquals([code, stdout], [1, ""], stderr);
  assert(stderr.includes('Cannot read "/proc/self/environ"') && stderr.includes("Requires all access"), stderr);
  // The rest of the line would be content of the file; the message shows none of it.
  assert(!stderr.includes("HOME="), stderr);
});
