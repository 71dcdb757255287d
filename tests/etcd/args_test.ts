import { etcdArgs, type EtcdSettings } from "../../lib/etcd/process/args.ts";
import type { EtcdStartState } from "../../lib/facts/etcd.ts";
import { assert, assertEquals } from "../support/assert.ts";

const settings: EtcdSettings = {
  version: "3.6.14",
  name: "a",
  dataDir: "/var/lib/etcd",
  peerUrl: "http://10.0.0.1:2380",
  clientUrl: "http://10.0.0.1:2379",
  clientListenUrls: [],
  alone: false,
  verbose: false,
};
const initialMembers = [{ name: "b", peerUrl: "http://10.0.0.2:2380" }, { name: "a", peerUrl: "http://10.0.0.1:2380" }];

const argsOf = (version: string, start: EtcdStartState) => etcdArgs({ ...settings, version }, start);
const checksOf = (version: string, start: EtcdStartState) =>
  argsOf(version, start).filter((arg) => /corrupt|hash-check|feature-gates/i.test(arg));

Deno.test("etcdArgs() makes a restarted member compare its data at its start only if other members serve", () => {
  const beside: EtcdStartState = { state: "restart", othersServe: true };
  const together: EtcdStartState = { state: "restart", othersServe: false };
  assertEquals(checksOf("3.4.23", beside), ["--experimental-initial-corrupt-check=true"]);
  assertEquals(checksOf("3.4.23", together), []);
  assertEquals(checksOf("3.5.33", beside), [
    "--experimental-initial-corrupt-check=true",
    "--experimental-compact-hash-check-enabled=true",
  ]);
  assertEquals(checksOf("3.5.33", together), ["--experimental-compact-hash-check-enabled=true"]);
  for (const version of ["3.6.14", "3.7.3"]) {
    assertEquals(checksOf(version, beside), ["--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true"]);
    assertEquals(checksOf(version, together), ["--feature-gates=InitialCorruptCheck=false,CompactHashCheck=true"]);
  }
});

Deno.test("etcdArgs() names the initial cluster for a new member and a joiner, not for a restart", () => {
  const initial = (start: EtcdStartState) =>
    argsOf("3.6.14", start).filter((arg) => arg.startsWith("--initial-cluster"));
  const text = "--initial-cluster=a=http://10.0.0.1:2380,b=http://10.0.0.2:2380";
  assertEquals(initial({ state: "restart", othersServe: false }), []);
  assertEquals(initial({ state: "new", initialCluster: initialMembers, token: "t" }), [
    "--initial-cluster-state=new",
    text,
    "--initial-cluster-token=t",
  ]);
  assertEquals(initial({ state: "existing", initialCluster: initialMembers }), [
    "--initial-cluster-state=existing",
    text,
  ]);
});

Deno.test("etcdArgs() keeps strict reconfiguration and pre-vote, and shortens elections for a single node only", () => {
  const start: EtcdStartState = { state: "restart", othersServe: false };
  const args = argsOf("3.4.23", start);
  assert(args.includes("--strict-reconfig-check=true") && args.includes("--pre-vote=true"));
  assert(!args.some((arg) => arg.startsWith("--election-timeout")));
  assert(etcdArgs({ ...settings, alone: true }, start).includes("--election-timeout=100"));
});
