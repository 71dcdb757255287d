/** Certificates with a lifetime of two minutes in a real cluster: renewed under load, without a failed request. */
import { watchCertificates } from "../../lib/pki/renewal_loop.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { lost } from "../support/second_look.ts";
import { realPorts, TlsCluster } from "./pki_cluster.ts";

const lifetimeMs = 120_000;

/** An error of etcd without a leader, which a stalled machine causes and not the certificates. */
const isElection = (error: string) => /leader changed|no leader|etcdserver: request timed out/.test(error);

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };

Deno.test(
  "watchCertificates() renews two-minute certificates of a cluster under load, and no request fails",
  sanitize,
  async () => {
    await using directory = await temporaryDirectory();
    await using cluster = await TlsCluster.start({ directory: directory.path, size: 3, lifetimeMs });
    const [first, second] = [cluster.members[0]!, cluster.members[1]!];
    const firstEndMs = realPorts.clock.wallMs() + lifetimeMs;
    const stop = new AbortController();
    const failures: string[] = [];
    const renewals = new Map<string, number>();

    // A client with a persistent connection uses the new pair on a new connection, as e2d's client does.
    let client = cluster.client(first);
    const retired: (typeof client)[] = [];
    const watching = cluster.members.map(({ name, pki }) =>
      watchCertificates(realPorts, {
        caCert: `${pki}/ca.crt`,
        caKey: `${pki}/ca.key`,
        lifetimeMs,
        pairs: ["server", "peer", "client"].map((role) => ({
          role,
          paths: { cert: `${pki}/${role}.crt`, key: `${pki}/${role}.key` },
        })),
      }, {
        signal: stop.signal,
        everyMs: 1_000,
        onRound: (round) => {
          failures.push(...round.failures.map(({ error }) => `renewing ${name}: ${error}`));
          for (const { role } of round.renewed) {
            renewals.set(`${name} ${role}`, (renewals.get(`${name} ${role}`) ?? 0) + 1);
            if (name !== "n0" || role !== "client") continue;
            retired.push(client);
            client = cluster.client(first);
          }
        },
      })
    );

    let written = 0;
    const lasting = (async () => {
      while (!stop.signal.aborted) {
        try {
          await client.put(`lasting/${written}`).value(written);
          written++;
        } catch (error) {
          // The key is written again in the next round.
          if (!isElection(`${error}`)) failures.push(`lasting connection: ${error}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    let handshakes = 0;
    const fresh = (async () => {
      for (let turn = 0; !stop.signal.aborted; turn++) {
        const member = cluster.members[turn % 3]!;
        const { code, stderr } = await cluster.etcdctl(member, ["get", "lasting/0"]);
        if (code !== 0 && !isElection(stderr)) failures.push(`new connection to ${member.name}: ${stderr}`);
        handshakes++;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    })();

    // After the expiry of every certificate with which the cluster started.
    await new Promise((resolve) => setTimeout(resolve, firstEndMs + 15_000 - realPorts.clock.wallMs()));
    stop.abort();
    await Promise.all([lasting, fresh, ...watching]);
    assertEquals(failures, []);
    assertEquals(renewals.size, 9, JSON.stringify([...renewals]));
    assert(written > 100 && handshakes > 20, `${written} writes, ${handshakes} handshakes`);

    // Members still accept each other: both sides of every new peer connection present renewed certificates.
    await cluster.restartMember(second);
    const { stdout } = await cluster.etcdctl(second, [
      "get",
      "--prefix",
      "lasting/",
      "--count-only",
      "--write-out=fields",
    ]);
    assert(stdout.includes(`"Count" : ${written}`), `${lost}${stdout} of ${written}`);
    for (const one of [client, ...retired]) one.close();
  },
);
