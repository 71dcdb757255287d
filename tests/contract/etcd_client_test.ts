/** e2d's etcd client against real members of every supported release. */
import { E2dError } from "../../lib/errors.ts";
import { type EtcdClient, openEtcd } from "../../lib/etcd/client/client.ts";
import type { EtcdTls } from "../../lib/etcd/client/channel.ts";
import { prefixRangeEnd } from "../../lib/etcd/client/kv.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { directGet } from "../../lib/sys/http/direct_get.ts";
import { openGrpcStream } from "../../lib/sys/grpc/fetch.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, freePorts, temporaryDirectory } from "../support/fixtures.ts";
import { etcdVersions } from "../support/parts.ts";
import { TlsCluster } from "./pki_cluster.ts";
import { PlainCluster } from "./plain_cluster.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };

async function client(
  endpoints: string[],
  tls?: EtcdTls,
  snapshotsBy: "grpc-js" | "HTTP/2" = "HTTP/2",
): Promise<EtcdClient & Disposable> {
  await enableGrpcTls();
  const opened = await openEtcd({
    endpoints,
    tls,
    clock: systemClock,
    callTimeoutMs: 30_000,
    get: directGet,
    ...(snapshotsBy === "grpc-js" ? {} : { openStream: openGrpcStream }),
  });
  return Object.assign(opened, { [Symbol.dispose]: () => opened.close() });
}

async function drain(stream: ReadableStream<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of stream) bytes += chunk.length;
  return bytes;
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "success";
  } catch (error) {
    if (error instanceof E2dError) return error.code;
    throw error;
  }
}

const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);
const noRecord = { keys: ["/_e2d/Cluster/1"], read: () => ({ formerSizes: [] }) };

for (const version of etcdVersions) {
  Deno.test(`openEtcd() reads, writes, leases and maintains etcd ${version}`, sanitize, async () => {
    await using directory = await temporaryDirectory();
    await using cluster = await PlainCluster.start({ directory: directory.path, size: 1, version });
    const [{ clientUrl, peerUrl }] = cluster.members as [typeof cluster.members[0]];
    using etcd = await client([clientUrl]);

    await etcd.ready(clientUrl);
    const status = await etcd.status(clientUrl);
    assertEquals(status.version, version);
    assertEquals(status.leaderId, status.memberId);
    assertEquals(status.isLearner, false);
    assertEquals(status.alarms, []);
    assertEquals(status.revision, 1);
    // The members agree on it a moment after the start; before that it is undefined.
    await eventually("a cluster's version", async () => (await etcd.clusterVersion(clientUrl)) !== undefined);
    const probe = await etcd.probe(clientUrl, noRecord);
    assertEquals(probe.kind === "answer" && probe.clusterVersion, `${version.split(".").slice(0, 2).join(".")}.0`);
    assert(status.dbSizeBytes > 0 && status.dbInUseBytes > 0);
    assert(/^[1-9a-f][0-9a-f]{0,15}$/.test(status.memberId) && /^[1-9a-f][0-9a-f]{0,15}$/.test(status.clusterId));
    const listed = JSON.parse((await cluster.etcdctl(cluster.members[0]!, ["member", "list", "-w", "json"])).stdout
      .replace(/"(cluster_id|member_id|ID)":(\d+)/g, '"$1":"$2"'));
    assertEquals(BigInt(listed.header.cluster_id).toString(16), status.clusterId);
    assertEquals(await etcd.memberList(clientUrl), [{
      id: BigInt(listed.members[0].ID).toString(16),
      name: "n0",
      peerUrls: [peerUrl],
      clientUrls: [clientUrl],
      isLearner: false,
    }]);

    assertEquals(await etcd.get("absent"), undefined);
    assertEquals(await etcd.put("a/1", "one"), { revision: 2 });
    await etcd.put("a/2", new Uint8Array([0, 255]));
    await etcd.put("b", "");
    const found = await etcd.get("a/1");
    assertEquals([text(found?.key), text(found?.value), found?.modRevision, found?.version], ["a/1", "one", 2, 1]);
    const range = await etcd.range("a/", { end: prefixRangeEnd("a/"), limit: 1 });
    assertEquals([range.kvs.length, range.more, range.count, range.revision], [1, true, 2, 4]);

    const once = {
      compare: [{ key: "once", target: "version", result: "=", value: 0 }],
      success: [{ kind: "put", key: "once", value: "done" }, { kind: "range", key: "a/2" }],
      failure: [{ kind: "range", key: "once" }],
    } as const;
    const first = await etcd.txn(once);
    assertEquals([first.succeeded, first.revision, first.ranges[1]?.kvs[0]?.value], [
      true,
      5,
      new Uint8Array([0, 255]),
    ]);
    const second = await etcd.txn(once);
    assertEquals([second.succeeded, text(second.ranges[0]?.kvs[0]?.value)], [false, "done"]);
    const byValue = { key: "once", target: "value", result: "=", value: "done" } as const;
    const byMod = { key: "once", target: "modRevision", result: "<", value: 6 } as const;
    const byCreate = { key: "once", target: "createRevision", result: "!=", value: 5 } as const;
    assertEquals((await etcd.txn({ compare: [byValue, byMod], success: [] })).succeeded, true);
    assertEquals((await etcd.txn({ compare: [byCreate], success: [] })).succeeded, false);
    assertEquals(await etcd.delete("a/", { end: prefixRangeEnd("a/") }), { revision: 6, deleted: 2 });

    const lease = await etcd.grant(30);
    await etcd.put("leased", "value", { lease: lease.id });
    assertEquals((await etcd.get("leased"))?.lease, lease.id);
    assertEquals(await etcd.keepAliveOnce(lease.id), 30);
    await etcd.revoke(lease.id);
    await etcd.revoke(lease.id);
    assertEquals(await etcd.get("leased"), undefined);
    assertEquals(await codeOf(etcd.keepAliveOnce(lease.id)), "etcd_lease_not_found");
    assertEquals(await codeOf(etcd.put("leased", "", { lease: lease.id })), "etcd_lease_not_found");

    const { revision } = await etcd.status(clientUrl);
    const before = await etcd.hashKv(clientUrl, revision);
    assertEquals(before.revision, revision);
    await etcd.compact(revision, { physical: true });
    assertEquals(await codeOf(etcd.range("b", { revision: 2 })), "etcd_compacted");
    assertEquals(await codeOf(etcd.range("b", { revision: revision + 9 })), "etcd_future_revision");
    assertEquals((await etcd.hashKv(clientUrl, 0)).compactRevision, revision);
    await etcd.defragment(clientUrl);
    assertEquals(await etcd.alarms(), []);
    const refused = version.startsWith("3.4") ? "etcd_unsupported" : "etcd_downgrade_refused";
    assertEquals(await codeOf(etcd.downgrade("validate", "3.0.0")), refused);

    const snapshot = await etcd.snapshot(clientUrl);
    const bytes = new Uint8Array(await new Response(snapshot.stream).arrayBuffer());
    assertEquals(bytes.length, snapshot.totalBytes);
    assertEquals(bytes.length % 512, 32);
    const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.subarray(0, -32)));
    assertEquals(bytes.slice(-32), sum);
  });

  Deno.test(
    `openEtcd() changes the members of an etcd ${version} cluster, and each change is idempotent`,
    sanitize,
    async () => {
      await using directory = await temporaryDirectory();
      await using cluster = await PlainCluster.start({ directory: directory.path, size: 3, version });
      const [n0, n1, n2] = cluster.members as [
        typeof cluster.members[0],
        typeof cluster.members[0],
        typeof cluster.members[0],
      ];
      using etcd = await client(cluster.members.map(({ clientUrl }) => clientUrl));
      const record = {
        keys: ["/_e2d/Cluster/1", "/_e2d/former"],
        read: (values: readonly (Uint8Array | undefined)[]) => ({
          recordedSize: Number(text(values[0])),
          formerSizes: values[1] === undefined ? [] : [Number(text(values[1]))],
        }),
      };
      await etcd.put("/_e2d/Cluster/1", "3");

      // etcd adds a learner only when all members were connected for some seconds.
      const joiner = cluster.member("n3");
      const learnerId = await eventually("a learner to be taken", async () => {
        try {
          return await etcd.addLearner(joiner.peerUrl);
        } catch (error) {
          if (!(error instanceof E2dError) || error.code !== "etcd_unhealthy") throw error;
        }
      });
      assertEquals(await etcd.addLearner(joiner.peerUrl), learnerId);
      // An existing member is no change; any other addition is one.
      assertEquals(await etcd.addLearner(joiner.peerUrl, { beside: [] }), learnerId);
      assertEquals(await codeOf(etcd.addLearner("http://127.0.1.9:1", { beside: [] })), "members_changed");
      const unstarted = (await etcd.memberList(n0.clientUrl)).find(({ id }) => id === learnerId);
      assertEquals(unstarted, { id: learnerId, name: "", peerUrls: [joiner.peerUrl], clientUrls: [], isLearner: true });
      assertEquals(await codeOf(etcd.addLearner("http://127.0.1.9:1")), "etcd_too_many_learners");
      assertEquals(await codeOf(etcd.promote(learnerId)), "etcd_not_ready_learner");
      assertEquals(await codeOf(etcd.addLearner(n1.peerUrl)), "etcd_member_exists");

      cluster.run(joiner, { state: "existing" });
      await eventually("the learner to run", () => etcd.status(joiner.clientUrl));
      const asLearner = await etcd.probe(joiner.clientUrl, record);
      assert(asLearner.kind === "answer" && asLearner.isLearner && !asLearner.linearizable, JSON.stringify(asLearner));
      assertEquals(await codeOf(etcd.ready(joiner.clientUrl)), "etcd_learner");
      await eventually("the learner to be promoted", () => etcd.promote(learnerId).then(() => true));
      await etcd.promote(learnerId);
      assertEquals(await codeOf(etcd.promote("abc")), "etcd_member_not_found");

      const probe = await etcd.probe(n1.clientUrl, record);
      assert(probe.kind === "answer" && probe.linearizable, JSON.stringify(probe));
      assertEquals([probe.recordedSize, probe.formerSizes, probe.members.length], [3, [], 4]);

      const moved = "http://127.0.1.200:4";
      await etcd.remove(learnerId);
      await etcd.remove(learnerId);
      assertEquals((await etcd.memberList(n0.clientUrl)).length, 3);
      await cluster.stop(joiner);

      const byId = new Map<string, string>();
      for (const { clientUrl } of [n0, n1, n2]) byId.set((await etcd.status(clientUrl)).memberId, clientUrl);
      const { leaderId } = await etcd.status(n0.clientUrl);
      const follower = [...byId.keys()].find((id) => id !== leaderId)!;
      await etcd.moveLeader(byId.get(leaderId!)!, follower);
      await eventually("the leadership to move", async () => (await etcd.status(n0.clientUrl)).leaderId === follower);
      await etcd.moveLeader(byId.get(leaderId!)!, follower);

      // Without a quorum: two of three are stopped.
      const rest = [...byId].find(([id]) => id !== follower)!;
      await etcd.updateMember(rest[0], [moved], { via: [byId.get(follower)!] });
      await etcd.updateMember(rest[0], [moved], { via: [byId.get(follower)!] });
      const renamed = (await etcd.memberList(byId.get(follower)!)).find(({ id }) => id === rest[0]);
      assertEquals(renamed?.peerUrls, [moved]);
      const survivor = cluster.members.find(({ clientUrl }) => clientUrl === byId.get(follower))!;
      for (const member of [n0, n1, n2]) if (member !== survivor) await cluster.stop(member);
      const alone = await eventually("the leader to step down", async () => {
        const answer = await etcd.probe(survivor.clientUrl, record);
        assert(answer.kind === "answer", JSON.stringify(answer));
        return answer.leaderId === undefined && answer;
      });
      assertEquals([alone.linearizable, alone.members.length, alone.recordedSize], [false, 3, undefined]);
      assertEquals(await codeOf(etcd.ready(survivor.clientUrl)), "etcd_no_leader");
      const gone = await etcd.probe(n0 === survivor ? n1.clientUrl : n0.clientUrl, record);
      assertEquals([gone.kind, gone.kind === "unreachable" && gone.code], ["unreachable", "etcd_unreachable"]);
    },
  );
}

Deno.test("EtcdClient distinguishes a silent member from an absent one, and reconnects to it", sanitize, async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await PlainCluster.start({ directory: directory.path, size: 1 });
  const member = cluster.members[0]!;
  using etcd = await client([member.clientUrl]);
  await etcd.ready(member.clientUrl);
  cluster.signal(member, "SIGSTOP");
  assertEquals(await codeOf(etcd.status(member.clientUrl, { timeoutMs: 300 })), "etcd_timeout");
  assertEquals(
    await etcd.probe(member.clientUrl, noRecord, { timeoutMs: 300 }).then((probe) => probe.kind),
    "unreachable",
  );
  const stopped = AbortSignal.abort(new Error("enough"));
  assertEquals(await etcd.status(member.clientUrl, { signal: stopped }).catch((error) => error.message), "enough");
  const given = new AbortController();
  const call = etcd.status(member.clientUrl, { signal: given.signal }).catch((error) => error.message);
  given.abort(new Error("given up"));
  assertEquals(await call, "given up");
  cluster.signal(member, "SIGCONT");
  await eventually(
    "the member to answer again",
    () => etcd.ready(member.clientUrl, { timeoutMs: 1_000 }).then(() => true),
  );
  await cluster.stop(member);
  assertEquals(await codeOf(etcd.status(member.clientUrl)), "etcd_unreachable");
  cluster.run(member, { state: "new" });
  await eventually("the restarted member to answer", () => etcd.ready(member.clientUrl).then(() => true));
  etcd.close();
  assertEquals(await codeOf(etcd.status(member.clientUrl)), "etcd_client_closed");
});

Deno.test("EtcdClient.put() reconnects after a write on a dead connection", sanitize, async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await PlainCluster.start({ directory: directory.path, size: 1 });
  const member = cluster.members[0]!;
  using etcd = await client([member.clientUrl]);
  await etcd.put("a", "1");
  await cluster.stop(member, "SIGKILL");
  cluster.run(member, { state: "new" });
  await cluster.healthy(member);
  // The first write may fail or not; the second one must succeed.
  await etcd.put("a", "2").catch((error) => assert(["etcd_connection_lost", "etcd_unreachable"].includes(error.code)));
  await etcd.put("a", "3");
});

Deno.test("EtcdClient.txn() is never repeated: a lost answer is an error", sanitize, async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await PlainCluster.start({ directory: directory.path, size: 1 });
  const { clientUrl } = cluster.members[0]!;
  const target = new URL(clientUrl);
  // A proxy that forwards every request and, on command, breaks the connection before the answer.
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let deaf = false;
  const serving = (async () => {
    for await (const inner of listener) {
      const outer = await Deno.connect({ hostname: target.hostname, port: Number(target.port) });
      inner.readable.pipeTo(outer.writable).catch(() => {});
      const answers = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        transform(chunk, controller) {
          if (deaf) controller.error(new Error("cut"));
          else controller.enqueue(chunk);
        },
      });
      outer.readable.pipeThrough(answers).pipeTo(inner.writable).catch(() => {
        for (const end of [inner, outer]) {
          try {
            end.close();
          } catch {
            // It was closed by its stream.
          }
        }
      });
    }
  })();
  const proxied = `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
  using etcd = await client([proxied, clientUrl]);
  await etcd.put("counter", "0");
  deaf = true;
  const lost = await codeOf(etcd.txn({ compare: [], success: [{ kind: "put", key: "counter", value: "1" }] }));
  assert(["etcd_connection_lost", "etcd_timeout"].includes(lost), lost);
  const counter = await eventually("the write with the lost answer to be readable", async () => {
    const found = await etcd.get("counter", { via: [clientUrl] });
    return found?.version === 2 && found;
  });
  assertEquals(text(counter.value), "1");
  // A write that was certainly not sent goes to the next endpoint; a read is retried after any connection failure.
  const [closed] = freePorts(1);
  await etcd.put("counter", "2", { via: [`http://127.0.0.1:${closed}`, clientUrl] });
  assertEquals((await etcd.get("counter", { via: [proxied, clientUrl] }))?.version, 3);
  listener.close();
  await serving;
});

Deno.test("EtcdClient.disarm() disarms the alarm of a full database", sanitize, async () => {
  await using directory = await temporaryDirectory();
  const flags = ["--quota-backend-bytes=1048576"];
  await using cluster = await PlainCluster.start({ directory: directory.path, size: 1, flags });
  const { clientUrl } = cluster.members[0]!;
  using etcd = await client([clientUrl]);
  const value = new Uint8Array(256 * 1024);
  const code = await eventually("the database to be full", async () => {
    const result = await codeOf(etcd.put("key", value));
    return result !== "success" && result;
  }, { everyMs: 0 });
  assertEquals(code, "etcd_nospace");
  const { memberId, alarms, revision } = await etcd.status(clientUrl);
  assertEquals(alarms, [{ type: "NOSPACE", memberId }]);
  assertEquals(await etcd.alarms(), alarms);
  await etcd.compact(revision, { physical: true });
  await etcd.defragment(clientUrl);
  await etcd.disarm({ memberId, type: "NOSPACE" });
  assertEquals(await etcd.alarms(), []);
  await etcd.put("key", "small");
});

for (const by of ["grpc-js", "HTTP/2"] as const) {
  Deno.test(
    `EtcdClient.snapshot() by ${by} can be cancelled in the middle, and continues after a change of certificates`,
    sanitize,
    async () => {
      await using directory = await temporaryDirectory();
      await using cluster = await PlainCluster.start({ directory: directory.path, size: 1 });
      const { clientUrl } = cluster.members[0]!;
      using etcd = await client([clientUrl], undefined, by);
      for (let index = 0; index < 256; index++) {
        await etcd.put(
          `key${index}`,
          crypto.getRandomValues(new Uint8Array(65_536)),
        );
      }
      const left = await etcd.snapshot(clientUrl);
      const reader = left.stream.getReader();
      assert(!(await reader.read()).done);
      await reader.cancel();
      const kept = await etcd.snapshot(clientUrl);
      etcd.useTls(undefined);
      let bytes = 0;
      for await (const chunk of kept.stream) bytes += chunk.length;
      assertEquals(bytes, kept.totalBytes);
      const aborted = new AbortController();
      const cut = await etcd.snapshot(clientUrl, { signal: aborted.signal });
      aborted.abort(new Error("enough"));
      assertEquals(await new Response(cut.stream).arrayBuffer().catch((error) => error.message), "enough");
      await etcd.ready(clientUrl);

      const silent = await etcd.snapshot(clientUrl, { timeoutMs: 1_000 });
      cluster.signal(cluster.members[0]!, "SIGSTOP");
      assertEquals(await codeOf(drain(silent.stream)), "etcd_timeout");
      cluster.signal(cluster.members[0]!, "SIGCONT");
      // node:http2 does not detect the death of a server and waits for the time-out.
      const timeoutMs = by === "grpc-js" ? 2_000 : 30_000;
      const lost = await etcd.snapshot(clientUrl, { timeoutMs });
      await cluster.stop(cluster.members[0]!, "SIGKILL");
      const codes = [await codeOf(drain(lost.stream)), await codeOf(etcd.snapshot(clientUrl, { timeoutMs }))];
      const gone = ["etcd_connection_lost", "etcd_snapshot_cut", "etcd_unreachable"];
      if (by === "grpc-js") gone.push("etcd_timeout");
      assert(codes.every((code) => gone.includes(code)), codes.join());
    },
  );
}

Deno.test("EtcdClient.snapshot() under mutual TLS presents its pair, and is refused without it", sanitize, async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await TlsCluster.start({ directory: directory.path, size: 1 });
  const { pki, clientUrl } = cluster.members[0]!;
  const read = (name: string) => Deno.readTextFileSync(`${pki}/${name}`);
  const pair = { certificate: read("client.crt"), key: read("client.key") };
  using etcd = await client([clientUrl], { ca: read("ca.crt"), ...pair });
  const { stream, totalBytes } = await etcd.snapshot(clientUrl);
  assertEquals(await drain(stream), totalBytes);
  etcd.useTls({ ca: read("ca.crt") });
  assert(["etcd_tls", "etcd_unreachable", "etcd_connection_lost"].includes(await codeOf(etcd.snapshot(clientUrl))));
});

Deno.test(
  "openEtcd() under mutual TLS is accepted with its pair, and reports the reason of a refusal with others",
  sanitize,
  async () => {
    await using directory = await temporaryDirectory();
    await using cluster = await TlsCluster.start({ directory: directory.path, size: 1 });
    await using stranger = await temporaryDirectory();
    await using other = await TlsCluster.start({ directory: stranger.path, size: 1, host: "127.0.0.31" });
    const pem = (member: typeof cluster.members[0], pair: string): EtcdTls => ({
      ca: Deno.readTextFileSync(`${member.pki}/ca.crt`),
      certificate: Deno.readTextFileSync(`${member.pki}/${pair}.crt`),
      key: Deno.readTextFileSync(`${member.pki}/${pair}.key`),
    });
    const [own, foreign] = [cluster.members[0]!, other.members[0]!];
    const good = pem(own, "client");
    using etcd = await client([own.clientUrl], good);
    const codes: Record<string, string> = {};
    const ask = async (who: string, tls: EtcdTls) => {
      etcd.useTls(tls);
      codes[who] = await codeOf(etcd.ready(own.clientUrl));
    };
    await ask("its own pair", good);
    await ask("another authority trusted", { ...good, ca: pem(foreign, "client").ca });
    await ask("another authority's pair", { ...pem(foreign, "client"), ca: good.ca });
    await ask("no pair", { ca: good.ca });
    await ask("its own pair again", good);
    // TLS 1.3 reports a bad client certificate after the handshake: as an alert or as a closed connection, whichever
    // arrives first.
    for (const who of ["another authority's pair", "no pair"]) {
      assert(["etcd_tls", "etcd_connection_lost"].includes(codes[who]!), `${who}: ${codes[who]}`);
      delete codes[who];
    }
    assertEquals(codes, {
      "its own pair": "success",
      "another authority trusted": "etcd_tls",
      "its own pair again": "success",
    });
    assertEquals(await etcd.probe(own.clientUrl, noRecord).then((probe) => probe.kind), "answer");
    await eventually("a cluster's version", async () => (await etcd.clusterVersion(own.clientUrl)) === "3.6.0");
  },
);
