import { fetchRaftPeers, readRaftPeers } from "../../lib/etcd/client/raft_peers.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";

const metrics = `# HELP etcd_network_active_peers The current number of active peer connections.
# TYPE etcd_network_active_peers gauge
etcd_network_active_peers{Local="8e9e05c52164694d",Remote="91bc3c398fb3c146"} 1
etcd_network_active_peers{Local="8e9e05c52164694d",Remote="fd422379fda50e48"} 0
etcd_network_client_grpc_received_bytes_total 4
etcd_network_peer_received_bytes_total{From="0"} 1044
etcd_network_peer_received_bytes_total{From="91bc3c398fb3c146"} 1.246e+06
`;

Deno.test("readRaftPeers() reads the received bytes of each member, and undefined from other texts", () => {
  assertEquals(readRaftPeers(metrics), {
    memberId: "8e9e05c52164694d",
    peers: [{ memberId: "91bc3c398fb3c146", receivedBytes: 1_246_000 }, {
      memberId: "fd422379fda50e48",
      receivedBytes: 0,
    }],
  });
  assertEquals(readRaftPeers("<html>not here</html>"), undefined);
  // A text with two members is invalid: a proxy has merged two answers.
  assertEquals(readRaftPeers(metrics.replace("8e9e05c52164694d", "1")), undefined);
});

Deno.test("fetchRaftPeers() throws for a refusal, another page and a failure, instead of reporting no receipts", async () => {
  const { signal } = new AbortController();
  const answers = [
    () => Promise.resolve(new Response("forbidden", { status: 403 })),
    () => Promise.resolve(new Response("<html></html>")),
    () => Promise.reject(new TypeError("connection refused")),
  ];
  for (const http of answers) {
    await assertE2dError("etcd_metrics", () => fetchRaftPeers("http://a:2379", http, signal));
  }
});
