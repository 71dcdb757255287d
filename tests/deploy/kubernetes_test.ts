import { commands } from "../../lib/cli/flags/commands.ts";
import type { FlagTable } from "../../lib/cli/flags/flag.ts";
import { readFlags } from "../../lib/cli/flags/read_flags.ts";
import { parseDiscovery } from "../../lib/discovery/spec.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { type Container, type Manifest, manifests } from "./manifests.ts";

const pod = { POD_IP: "10.1.2.3", POD_NAME: "e2d-0", POD_NAMESPACE: "db" };

const all = await manifests();
const named = (kind: string, name: string): Manifest => {
  const found = all.find((each) => each.kind === kind && each.metadata.name === name);
  assert(found !== undefined, `${kind} ${name}`);
  return found;
};
const set = named("StatefulSet", "e2d");
const template = set.spec.template.spec;
const run: Container = template.containers[0];

/** What e2d makes of the arguments of a container, as the kubelet hands them over. */
function read(container: Container) {
  const args = container.args.map((arg) => arg.replaceAll(/\$\((\w+)\)/g, (_, name: keyof typeof pod) => pod[name]!));
  const words = args.filter((arg) => !arg.startsWith("-"));
  const command = commands.find(({ path }) => path === words.join(" "))!;
  const reading = readFlags(command.flags as FlagTable, { args: args.slice(words.length), environment: {} });
  return { ...reading, problems: [...reading.problems, ...command.check(reading.values)] };
}

Deno.test("statefulset.yaml: e2d takes the arguments of both containers", () => {
  for (const container of [run, template.initContainers[0] as Container]) {
    const { problems, operands, values } = read(container);
    assertEquals([problems, operands], [[], []]);
    assert(!JSON.stringify(values).includes("$("), JSON.stringify(values));
  }
});

Deno.test("statefulset.yaml: the SRV record that e2d asks for is that of the headless service", () => {
  const spec = parseDiscovery(String(read(run).values.peerDiscovery));
  assertEquals(String(read(run).values.peerDiscovery), `dns:${set.spec.serviceName}`);
  assert(spec !== undefined);
  const service = named("Service", set.spec.serviceName);
  assertEquals(service.spec.clusterIP, "None");
  assertEquals(service.spec.publishNotReadyAddresses, true);
  // _e2d._tcp: the name of a port, and its protocol.
  assert(
    service.spec.ports.some((port: Record<string, unknown>) =>
      port.name === "e2d" && port.protocol === "TCP" && port.port === 7980
    ),
  );
});

Deno.test("statefulset.yaml: the way through the API, which its comment shows, names the labels of its pods", async () => {
  const text = await Deno.readTextFile(new URL("../../deploy/kubernetes/statefulset.yaml", import.meta.url));
  const shown = /--peer-discovery=(k8s-labels:\S+)/.exec(text)![1]!;
  parseDiscovery(shown);
  const [key, value] = shown.slice("k8s-labels:".length).split("=");
  assertEquals(set.spec.template.metadata.labels[key!], value);
});

Deno.test("statefulset.yaml: all initial members start at once, each on a node of its own, with time for etcd to close", () => {
  assertEquals(set.spec.podManagementPolicy, "Parallel");
  assertEquals(set.spec.replicas, Number(read(run).values.requiredClusterSize));
  const [term] = template.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution;
  assertEquals(term.labelSelector.matchLabels, set.spec.selector.matchLabels);
  assert(template.terminationGracePeriodSeconds > 60);
});

Deno.test("statefulset.yaml: the data-dir lies below the disk, and every path below something that is mounted", () => {
  const { values } = read(run);
  const data = run.volumeMounts.find(({ name }) => name === "data")!;
  assertEquals(set.spec.volumeClaimTemplates[0].metadata.name, "data");
  // A folder below it: quarantined data-dirs are beside the data-dir, on the same disk.
  assertEquals(values.dataDir, `${data.mountPath}/etcd`);
  const paths = Object.values(values).filter((value) => typeof value === "string" && value.startsWith("/"));
  const mounted = (path: string) => run.volumeMounts.some(({ mountPath }) => path.startsWith(`${mountPath}/`));
  assertEquals(paths.filter((path) => !mounted(path as string)), []);
});

Deno.test("deploy/kubernetes: budget and services choose the pods of the StatefulSet", () => {
  const labels = set.spec.template.metadata.labels;
  assertEquals(named("PodDisruptionBudget", "e2d").spec.selector.matchLabels, labels);
  assertEquals(named("PodDisruptionBudget", "e2d").spec.maxUnavailable, 1);
  for (const name of ["e2d", "e2d-peers"]) assertEquals(named("Service", name).spec.selector, labels);
});
