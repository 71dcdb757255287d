import { clusterVersionIn } from "../../lib/etcd/client/cluster_version.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("clusterVersionIn() returns the agreed version, and undefined for every other answer", () => {
  const table: [string, string | undefined][] = [
    ['{"etcdserver":"3.6.14","etcdcluster":"3.6.0","storage":"3.6.0"}', "3.6.0"],
    ['{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}', "3.4.0"],
    // Before the cluster has agreed on a version: etcd 3.4, then later releases.
    ['{"etcdserver":"3.4.23","etcdcluster":"not_decided"}', undefined],
    ['{"etcdserver":"3.6.14","etcdcluster":"3.0.0"}', undefined],
    ['{"etcdserver":"3.6.14"}', undefined],
    ["null", undefined],
    ["<html>404</html>", undefined],
  ];
  for (const [body, version] of table) assertEquals(clusterVersionIn(body), version, body);
});
