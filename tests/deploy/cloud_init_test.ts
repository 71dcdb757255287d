import { parse } from "yaml";
import { contradictions, runFlags } from "../../lib/cli/flags/run_flags.ts";
import { environmentName } from "../../lib/cli/flags/flag.ts";
import { readFlags } from "../../lib/cli/flags/read_flags.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { parseEnvironmentFile } from "./unit_file.ts";

const deploy = (name: string) => Deno.readTextFileSync(new URL(`../../deploy/${name}`, import.meta.url));

interface CloudConfig {
  write_files: { path: string; content: string; permissions?: string }[];
  runcmd: string[];
}

const text = deploy("cloud-init.yaml");
const config = parse(text) as CloudConfig;
const file = (path: string) => config.write_files.find((each) => each.path === path)!;

Deno.test("cloud-init.yaml: cloud-init would know it for what it is, and not for a script", () => {
  assertEquals(text.split("\n")[0], "#cloud-config");
});

Deno.test("cloud-init.yaml: it writes the very unit and user of deploy/systemd", () => {
  assertEquals(file("/etc/systemd/system/e2d.service").content, deploy("systemd/e2d.service"));
  assertEquals(file("/etc/sysusers.d/e2d.conf").content, deploy("systemd/e2d-sysusers.conf"));
});

Deno.test("cloud-init.yaml: e2d takes its settings, and root alone can read them", () => {
  const { content, permissions } = file("/etc/e2d/e2d.env");
  assertEquals(permissions, "0600");
  const environment = parseEnvironmentFile(content);
  const known = new Set(Object.keys(runFlags).map(environmentName));
  assertEquals(Object.keys(environment).filter((name) => !known.has(name)), []);
  const { problems, values } = readFlags(runFlags, { args: [], environment });
  assertEquals([problems, contradictions(values)], [[], []]);
});

Deno.test("cloud-init.yaml: the command stops at the first step that fails, and sh can read it", async () => {
  const [command] = config.runcmd;
  assert(command!.startsWith("set -e\n"));
  const { code } = await new Deno.Command("sh", { args: ["-n", "-c", command!] }).output();
  assertEquals(code, 0);
});
