import { Kubernetes, type Pod } from "../cloud/kubernetes.ts";
import { addressKind } from "./ip_address.ts";
import { InstancePeers, tagsOrOwn } from "./instance_peers.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts, PeerAddress } from "./method.ts";
import type { Tag } from "./spec.ts";

/** Labels that controllers give to each pod or to each generation of pods: they tell the pods of one set apart. */
const ofControllers = [
  "apps.kubernetes.io/",
  "batch.kubernetes.io/",
  "statefulset.kubernetes.io/",
  "controller-revision-hash",
  "pod-template-",
];
/** Between one watch and the next, so that a server which ends each at once is not run down. */
const pauseMs = 1_000;

/**
 * Pods of the own namespace with all these labels, or all of the own ones, told of as they come and go. Throws E2dError
 * `k8s_outside` when this is no pod.
 */
export function k8sLabels(labels: readonly Tag[], config: DiscoveryConfig, ports: DiscoveryPorts): DiscoveryMethod {
  const name = "k8s-labels";
  const cluster = new Kubernetes({ apiUrl: config.endpoints?.apiUrl }, { ...ports, environment: config.environment });
  const peers = new InstancePeers(name, ports.log);

  function peersOf(pods: Iterable<Pod>): PeerAddress[] {
    return peers.of([...pods].map(({ name, alive, address }) => ({ name, running: alive, address })));
  }

  async function wanted(signal: AbortSignal): Promise<readonly Tag[]> {
    const own = async () => {
      const pod = await cluster.ownPod(signal);
      return Object.entries(pod.labels).map(([key, value]) => ({ key, value }));
    };
    return await tagsOrOwn(name, labels, own, ofControllers);
  }

  return {
    name,
    async peers(signal) {
      return peersOf((await cluster.list(await wanted(signal), signal)).pods);
    },
    async *changes(signal) {
      const selector = await wanted(signal);
      for (;;) {
        const listed = await cluster.list(selector, signal);
        const pods = new Map(listed.pods.map((pod) => [pod.name, pod]));
        yield peersOf(pods.values());
        for (let version: string | undefined = listed.version; version !== undefined;) {
          for await (const event of cluster.watch(selector, version, signal)) {
            version = event.kind === "too-old" ? undefined : event.version;
            if (event.kind === "too-old") break;
            if (event.kind === "bookmark") continue;
            if (event.kind === "gone") pods.delete(event.name);
            else pods.set(event.pod.name, event.pod);
            yield peersOf(pods.values());
          }
          await ports.clock.sleep(pauseMs * (0.5 + ports.random.float()), signal);
        }
      }
    },
    ownAddress() {
      // The default route leads through the pod's own interface; this variable is how a pod says otherwise.
      const address = config.environment("POD_IP");
      return Promise.resolve(address !== undefined && addressKind(address) !== undefined ? address : undefined);
    },
  };
}
