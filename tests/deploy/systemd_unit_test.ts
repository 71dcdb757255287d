import { contradictions, runFlags } from "../../lib/cli/flags/run_flags.ts";
import { environmentName } from "../../lib/cli/flags/flag.ts";
import { readFlags } from "../../lib/cli/flags/read_flags.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { parseEnvironmentFile, parseUnit } from "./unit_file.ts";

const folder = new URL("../../deploy/systemd/", import.meta.url);
const read = (name: string) => Deno.readTextFileSync(new URL(name, folder));
const known = new Set(Object.keys(runFlags).map(environmentName));

/** The command line of the unit in the README of criticalstack/e2d, with ca.key where it says ca.crt. */
const originalArgs = [
  "--data-dir=/var/lib/etcd",
  "--ca-cert=/etc/kubernetes/pki/etcd/ca.crt",
  "--ca-key=/etc/kubernetes/pki/etcd/ca.key",
  "--client-cert=/etc/kubernetes/pki/etcd/client.crt",
  "--client-key=/etc/kubernetes/pki/etcd/client.key",
  "--peer-cert=/etc/kubernetes/pki/etcd/peer.crt",
  "--peer-key=/etc/kubernetes/pki/etcd/peer.key",
  "--server-cert=/etc/kubernetes/pki/etcd/server.crt",
  "--server-key=/etc/kubernetes/pki/etcd/server.key",
  "--peer-discovery=aws-autoscaling-group",
  "--required-cluster-size=3",
  "--snapshot-backup-url=s3://e2d_snapshot_bucket",
];

Deno.test("the original's unit: its command line is taken as it stands, with its --ca-key slip mended", () => {
  const { values, operands, problems } = readFlags(runFlags, { args: originalArgs, environment: {} });
  assertEquals([problems, operands, contradictions(values)], [[], [], []]);
  assertEquals(values.dataDir, "/var/lib/etcd");
  assertEquals(values.caKey, "/etc/kubernetes/pki/etcd/ca.key");
  assertEquals(values.peerDiscovery, "aws-autoscaling-group");
  assertEquals(values.requiredClusterSize, 3);
  assertEquals(values.snapshotBackupUrl, "s3://e2d_snapshot_bucket");
});

Deno.test("e2d.env: as it stands and with each example uncommented, e2d takes it", () => {
  const text = read("e2d.env");
  const plain = readFlags(runFlags, { args: [], environment: parseEnvironmentFile(text) });
  assertEquals([plain.problems, contradictions(plain.values)], [[], []]);
  const all = parseEnvironmentFile(text, { examples: true });
  assertEquals(Object.keys(all).filter((name) => !known.has(name)), []);
  // The two ways to peers are alternatives.
  const { E2D_BOOTSTRAP_ADDRS: _, ...rest } = all;
  const whole = readFlags(runFlags, { args: [], environment: rest });
  assertEquals([whole.problems, contradictions(whole.values)], [[], []]);
});

Deno.test("e2d.service: its own variables are flags of e2d, and its data-dir lies in what it may write to", () => {
  const unit = parseUnit(read("e2d.service"));
  const own = parseEnvironmentFile(unit.all("Environment").join("\n"));
  assertEquals(Object.keys(own).filter((name) => !known.has(name)), []);
  // A folder below: quarantined data-dirs are beside the data-dir.
  assertEquals(own.E2D_DATA_DIR, `/var/lib/${unit.all("StateDirectory")[0]}/etcd`);
  assertEquals(unit.all("ExecStart"), ["/usr/local/bin/e2d run"]);
  assertEquals(unit.all("EnvironmentFile"), ["-/etc/e2d/e2d.env"]);
});

Deno.test("e2d.service: systemd asks e2d alone to stop, and waits for longer than etcd is given", () => {
  const unit = parseUnit(read("e2d.service"));
  assertEquals(unit.all("Type"), ["notify"]);
  assertEquals(unit.all("KillMode"), ["mixed"]);
  assert(Number(unit.all("TimeoutStopSec")[0]) > 60);
  assert(Number(unit.all("WatchdogSec")[0]) >= 30);
});

Deno.test("e2d.service: setpriv may set capabilities, or etcd would outlive an e2d that is killed", () => {
  const filters = parseUnit(read("e2d.service")).all("SystemCallFilter");
  const taken = filters.findIndex((each) => each === "~@privileged");
  assert(taken >= 0 && filters.slice(taken + 1).some((each) => each.split(" ").includes("capset")), String(filters));
});
