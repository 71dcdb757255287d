/** A rollover of the CA of a real three-member cluster, phase by phase, while clients write. */
import type { Etcd3 } from "etcd3";
import { E2dError } from "../../lib/errors.ts";
import { loadAuthority } from "../../lib/pki/authority.ts";
import {
  blockersOfDrop,
  blockersOfEnd,
  blockersOfReissue,
  keyFilesInUse,
  type MemberTrust,
} from "../../lib/pki/rollover/rollover.ts";
import {
  dropOld,
  prepareRollover,
  readRollover,
  reissueUnderNext,
  type RolloverOptions,
  trustNext,
} from "../../lib/pki/rollover/files.ts";
import { probeMembers } from "../../lib/pki/rollover/probe.ts";
import { systemTlsProbe } from "../../lib/sys/tls_probe.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { patienceMs, temporaryDirectory } from "../support/fixtures.ts";
import { lost } from "../support/second_look.ts";
import { type Member, realPorts, TlsCluster } from "./pki_cluster.ts";

const optionsOf = ({ pki }: Member): RolloverOptions => ({
  caCert: `${pki}/ca.crt`,
  caKey: `${pki}/ca.key`,
  pairs: ["server", "peer", "client"].map((role) => ({
    role,
    paths: { cert: `${pki}/${role}.crt`, key: `${pki}/${role}.key` },
  })),
});

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };

Deno.test(
  "a rollover replaces the CA of three members under load and loses no acknowledged write",
  sanitize,
  async () => {
    await using directory = await temporaryDirectory();
    await using cluster = await TlsCluster.start({ directory: directory.path, size: 3 });
    const first = cluster.members[0]!;
    const everywhere = async (phase: (member: Member) => Promise<unknown>) => {
      for (const member of cluster.members) await phase(member);
    };
    const restartAll = () => everywhere((member) => cluster.restartMember(member));

    // Both CAs from copies of their files: the probes must not depend on the phase of a member.
    const read = async (name: string) => ({ path: name, text: await Deno.readTextFile(`${directory.path}/${name}`) });
    const old = await loadAuthority({ certificate: await read("ca.crt"), key: await read("ca.key") });
    await prepareRollover(realPorts, optionsOf(first));
    for (const name of ["ca-next.crt", "ca-next.key"]) {
      await Deno.copyFile(`${first.pki}/${name}`, `${directory.path}/${name}`);
      for (const { pki } of cluster.members.slice(1)) await Deno.copyFile(`${first.pki}/${name}`, `${pki}/${name}`);
    }
    const next = await loadAuthority({ certificate: await read("ca-next.crt"), key: await read("ca-next.key") });
    const probes = (): Promise<MemberTrust[]> =>
      probeMembers({ ...realPorts, probe: systemTlsProbe }, {
        members: cluster.members.map(({ name, clientUrl, peerUrl }) => ({ name, urls: [clientUrl, peerUrl] })),
        old,
        next,
        signal: AbortSignal.timeout(60_000),
      });

    for (const half of ["crt", "key"]) {
      await Deno.copyFile(`${first.pki}/client.${half}`, `${directory.path}/stale.${half}`);
    }
    const load = new Load(cluster, first);
    const running = load.run();

    assertEquals(blockersOfReissue(await probes()).length, 6);
    await everywhere((member) => trustNext(realPorts, optionsOf(member)));
    // The files trust both; etcd, which was not restarted, does not: the handshakes detect that.
    assertEquals(blockersOfReissue(await probes()).length, 6);
    await cluster.restartMember(first);
    assertEquals(blockersOfReissue(await probes()).length, 4);
    await restartAll();
    assertEquals(blockersOfReissue(await probes()), []);
    // The step for every other client: the CA file with both CAs, before reissue.
    await load.reconnect();

    assertEquals(blockersOfDrop(await probes()).length, 6);
    await everywhere((member) => reissueUnderNext(realPorts, optionsOf(member)));
    assertEquals(blockersOfDrop(await probes()), []);
    await load.reconnect();

    assertEquals(blockersOfEnd(await probes()).length, 6);
    await everywhere((member) => dropOld(realPorts, optionsOf(member)));
    await restartAll();
    assertEquals(blockersOfEnd(await probes()), []);

    load.stop();
    await running;
    assert(load.acknowledged > 50, `only ${load.acknowledged} writes`);
    const args = ["get", "--prefix", "load/", "--count-only", "--write-out=fields"];
    const { stdout } = await cluster.etcdctl(first, args);
    const count = Number(/"Count" : (\d+)/.exec(stdout)?.[1]);
    // A write whose answer was lost in a restart may exist as well; it was repeated under the same key.
    assertEquals(count, load.acknowledged, `${lost}${count} keys of ${load.acknowledged} acknowledged`);

    // Certificates of the old CA are refused now, and its key is kept for earlier snapshots.
    const refused = await cluster.etcdctl(
      first,
      ["put", "x", "y", "--command-timeout=3s"],
      `${directory.path}/stale`,
      `${first.pki}/ca.crt`,
    );
    assert(refused.code !== 0);
    const { phase, files, paths } = await readRollover(realPorts, optionsOf(first));
    assertEquals(phase, { kind: "none" });
    const { snapshot, gossip } = keyFilesInUse(files, paths);
    assertEquals([gossip.accepted, snapshot.recipients], [[], [`${first.pki}/ca.key`]]);
    assertEquals(await Deno.readTextFile(snapshot.openers[1]!), (await read("ca.key")).text);
  },
);

/** Writes one key after another, each until it is acknowledged, over all members. */
class Load {
  acknowledged = 0;
  #client: Etcd3;
  readonly #stop = new AbortController();

  constructor(readonly cluster: TlsCluster, readonly member: Member) {
    this.#client = cluster.client(member, cluster.members);
  }

  async run(): Promise<void> {
    let lastMs = realPorts.clock.monotonicMs();
    while (!this.#stop.signal.aborted) {
      try {
        await this.#client.put(`load/${this.acknowledged}`).value("x");
        lastMs = realPorts.clock.monotonicMs();
        this.acknowledged++;
      } catch (error) {
        if (realPorts.clock.monotonicMs() - lastMs > patienceMs) {
          throw new E2dError("load_stalled", `no write for ${patienceMs} ms`, { cause: error });
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    this.#client.close();
  }

  /** With the present credentials on disk. */
  reconnect(): Promise<void> {
    const before = this.#client;
    this.#client = this.cluster.client(this.member, this.cluster.members);
    return new Promise((resolve) =>
      setTimeout(() => {
        before.close();
        resolve();
      }, 1_000)
    );
  }

  stop(): void {
    this.#stop.abort();
  }
}
