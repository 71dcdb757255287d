/** The assumptions of e2d about etcd's metrics and member addresses, on real etcd of each supported minor version. */
import { type RaftContact, raftContact, withReading } from "../../lib/core/evidence/raft_evidence.ts";
import { openEtcd } from "../../lib/etcd/client/client.ts";
import { fetchRaftPeers } from "../../lib/etcd/client/raft_peers.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { systemHttp } from "../../lib/sys/http/http.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { answer, view } from "../core/facts.ts";
import { PlainCluster } from "./plain_cluster.ts";
import type { RaftFacts } from "../../lib/core/facts/cluster.ts";

const sanitize = { sanitizeResources: false, sanitizeOps: false };

for (const version of ["3.4.23", "3.5.33", "3.6.14", "3.7.3"] as const) {
  Deno.test(
    `etcd ${version}: the leader's metrics show which members its raft receives from, and a stopped process is silent`,
    sanitize,
    async () => {
      await enableGrpcTls();
      await using directory = await temporaryDirectory();
      await using cluster = await PlainCluster.start({ directory: directory.path, size: 3, version });
      const client = await openEtcd({ endpoints: [cluster.members[0]!.clientUrl], clock: systemClock });
      try {
        const statuses = await Promise.all(cluster.members.map(async (member) => ({
          member,
          status: await client.status(member.clientUrl),
        })));
        const leader = statuses.find(({ status }) => status.leaderId === status.memberId)!;
        const followers = statuses.filter((each) => each !== leader);
        let facts: RaftFacts | undefined;
        const contact = async (id: string) => {
          await systemClock.sleep(500);
          const read = await fetchRaftPeers(leader.member.clientUrl, systemHttp, new AbortController().signal);
          assertEquals(read.memberId, leader.status.memberId);
          const nowMs = systemClock.monotonicMs();
          facts = withReading(facts, { kind: "answer", ...read }, nowMs);
          const cluster = answer("a", [], { leaderId: read.memberId });
          return raftContact(id, cluster, view("a", { nowMs, raft: facts }));
        };
        const [stopped, other] = followers as [typeof leader, typeof leader];
        const becomes = (id: string, wanted: RaftContact) =>
          eventually(`member ${id} to be ${wanted}`, async () => await contact(id) === wanted);
        await becomes(stopped.status.memberId, "active");
        cluster.signal(stopped.member, "SIGSTOP");
        await becomes(stopped.status.memberId, "inactive");
        assertEquals(await contact(other.status.memberId), "active");
        cluster.signal(stopped.member, "SIGCONT");
        await becomes(stopped.status.memberId, "active");
        await cluster.stop(stopped.member);
        await becomes(stopped.status.memberId, "inactive");
      } finally {
        client.close();
      }
    },
  );

  Deno.test(
    `etcd ${version}: refuses a second member at one address, and accepts a placeholder for an address to free`,
    sanitize,
    async () => {
      await enableGrpcTls();
      await using directory = await temporaryDirectory();
      await using cluster = await PlainCluster.start({ directory: directory.path, size: 3, version });
      const via = cluster.members.map(({ clientUrl }) => clientUrl);
      const client = await openEtcd({ endpoints: via, clock: systemClock });
      try {
        const ids = await Promise.all(via.map(async (endpoint) => (await client.status(endpoint)).memberId));
        const urlOf = async (id: string) =>
          (await client.memberList(via[2]!)).find((member) => member.id === id)?.peerUrls;
        const [one, two] = cluster.members as [typeof cluster.members[0], typeof cluster.members[0]];
        const refused = await client.updateMember(ids[0]!, [two!.peerUrl], { via }).catch((error: Error) =>
          error.message
        );
        assert(/exists/i.test(String(refused)), String(refused));
        await client.updateMember(ids[0]!, [`http://${ids[0]!}.moving.invalid:2380`], { via });
        await client.updateMember(ids[1]!, [one!.peerUrl], { via });
        await client.updateMember(ids[0]!, [two!.peerUrl], { via });
        // etcd 3.4 lists members as that member has applied them.
        await eventually(
          "both to be listed",
          async () => `${await urlOf(ids[0]!)} ${await urlOf(ids[1]!)}` === `${two!.peerUrl} ${one!.peerUrl}`,
        );
        assert((await client.status(via[2]!)).leaderId !== undefined);
      } finally {
        client.close();
      }
    },
  );
}
