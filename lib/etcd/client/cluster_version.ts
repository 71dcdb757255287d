/**
 * Parses the cluster version, which etcd raises some seconds after the last member was upgraded. No gRPC call returns it:
 * it is in the answer to `GET /version` at the client URL.
 */
import { isSupported } from "../version.ts";
import { parseVersion } from "../../facts/etcd_version.ts";

/**
 * "3.6.0"; undefined for an invalid answer, and until the cluster has agreed on a version: until then etcd reports
 * "not_decided", or 3.0.0, which is older than any member.
 */
export function clusterVersionIn(body: string): string | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    return undefined;
  }
  const text = (answer as { etcdcluster?: unknown } | null)?.etcdcluster;
  const version = typeof text === "string" ? parseVersion(text) : undefined;
  return version === undefined || !isSupported(version) ? undefined : text as string;
}
