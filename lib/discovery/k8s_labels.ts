import { Kubernetes, type Pod } from "../cloud/kubernetes.ts";
import { addressKind } from "./ip_address.ts";
import { InstancePeers, tagsOrOwn } from "./instance_peers.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts, PeerAddress } from "./method.ts";
import type { Tag } from "./spec.ts";

/** Labels that controllers set on single pods or on generations of pods: they differ between the pods of one set. */
const controllerLabels = [
  "apps.kubernetes.io/",
  "batch.kubernetes.io/",
  "statefulset.kubernetes.io/",
  "controller-revision-hash",
  "pod-template-",
];
/** Pause between two watches, so that a server that ends each watch at once is not overloaded. */
const pauseMs = 1_000;

/**
 * Pods of this namespace with all these labels; without labels: with all labels of this pod. Changes are watched. Throws
 * E2dError `k8s_outside` outside of a pod.
 */
export function k8sLabels(labels: readonly Tag[], config: DiscoveryConfig, ports: DiscoveryPorts): DiscoveryMethod {
  const name = "k8s-labels";
  const cluster = new Kubernetes({ apiUrl: config.endpoints?.apiUrl }, { ...ports, environment: config.environment });
  const peers = new InstancePeers(name, ports.log);

  function peersOf(pods: Iterable<Pod>): PeerAddress[] {
    return peers.fromInstances([...pods].map(({ name, alive, address }) => ({ name, running: alive, address })));
  }

  async function wanted(signal: AbortSignal): Promise<readonly Tag[]> {
    const own = async () => {
      const pod = await cluster.ownPod(signal);
      return Object.entries(pod.labels).map(([key, value]) => ({ key, value }));
    };
    return await tagsOrOwn(name, labels, own, controllerLabels);
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
      // Without POD_IP the interface of the default route is used, which is the pod's own.
      const address = config.environment("POD_IP");
      return Promise.resolve(address !== undefined && addressKind(address) !== undefined ? address : undefined);
    },
  };
}
