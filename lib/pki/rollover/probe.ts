/** Probes with TLS handshakes which CAs the members of a running cluster trust and present. */
import type { Clock, Random, TlsProbe, TlsProbeResult } from "../../ports.ts";
import type { Authority } from "../authority.ts";
import { writeCertificates } from "../certificate.ts";
import { issueCertificate } from "../issue.ts";
import { makePrivateKey, writePrivateKey } from "../private_key.ts";
import type { MemberTrust, PortTrust, Verdict } from "./rollover.ts";

export interface ProbeTarget {
  name: string;
  /** Client and peer URLs: "https://10.0.0.1:2379". */
  urls: readonly string[];
}

export interface ProbePorts {
  clock: Pick<Clock, "wallMs" | "sleep">;
  random: Pick<Random, "bytes">;
  probe: TlsProbe;
}

/** The limit of one handshake. */
const probeTimeoutMs = 5_000;
/** The lifetime of a probe certificate: one round over a large cluster. */
const probeLifetimeMs = 10 * 60_000;

/**
 * Makes three handshakes with each port. `old` is the CA to be removed; without its key (undefined) `acceptsOld` is
 * "unreachable".
 */
export async function probeMembers(
  ports: ProbePorts,
  options: { members: readonly ProbeTarget[]; old: Authority | undefined; next: Authority; signal: AbortSignal },
): Promise<MemberTrust[]> {
  const { old, next, signal } = options;
  const bothTrusted = writeCertificates([next.certificate, ...(old ? [old.certificate] : [])]);
  const ofNext = await probeCertificate(ports, next);
  const ofOld = old && await probeCertificate(ports, old);
  const probePort = async (url: string): Promise<PortTrust> => {
    const handshake = (trusted: string, shown: { certificate: string; key: string }) =>
      probeOnce(ports, { url, trusted, shown, signal });
    const acceptsNext = await handshake(bothTrusted, ofNext);
    const acceptsOld = ofOld ? await handshake(bothTrusted, ofOld) : undefined;
    // A port that refuses the next CA gets a certificate of the old one: this handshake checks the server certificate.
    const showsNext = await handshake(
      writeCertificates([next.certificate]),
      acceptsNext.kind === "accepted" || !ofOld ? ofNext : ofOld,
    );
    const verdicts = {
      acceptsNext: accepts(acceptsNext),
      acceptsOld: accepts(acceptsOld),
      showsNext: shows(showsNext),
    };
    const silent = [acceptsNext, showsNext].find(({ kind }) => kind === "unreachable");
    return { url, ...verdicts, detail: silent && "detail" in silent ? silent.detail : "" };
  };
  return await Promise.all(options.members.map(async ({ name, urls }) => ({
    name,
    ports: await Promise.all(urls.map(probePort)),
  })));
}

/** A certificate without names, because the peer port compares the names with the address of the client. */
async function probeCertificate(ports: ProbePorts, signer: Authority): Promise<{ certificate: string; key: string }> {
  const key = await makePrivateKey("ecdsa-p256");
  const certificate = await issueCertificate({
    ...ports,
    signer,
    profile: "client",
    hosts: [],
    key,
    lifetimeMs: probeLifetimeMs,
  });
  return { certificate, key: writePrivateKey(key) };
}

async function probeOnce(
  { probe, clock }: ProbePorts,
  options: { url: string; trusted: string; shown: { certificate: string; key: string }; signal: AbortSignal },
): Promise<TlsProbeResult> {
  const { url, trusted, shown, signal } = options;
  const at = URL.parse(url);
  if (at === null || at.protocol !== "https:") return { kind: "unreachable", detail: `"${url}" is not an https URL` };
  const host = at.hostname.replace(/^\[(.*)\]$/, "$1");
  const [limit, done] = [new AbortController(), new AbortController()];
  clock.sleep(probeTimeoutMs, AbortSignal.any([signal, done.signal])).then(() => limit.abort(), () => {});
  try {
    const either = AbortSignal.any([signal, limit.signal]);
    return await probe({ host, port: Number(at.port || 443) }, { trusted, ...shown }, either);
  } catch (error) {
    if (signal.aborted || !limit.signal.aborted) throw error;
    return { kind: "unreachable", detail: `no answer within ${probeTimeoutMs} ms` };
  } finally {
    done.abort();
  }
}

function accepts(result: TlsProbeResult | undefined): Verdict {
  switch (result?.kind) {
    case "accepted":
      return "yes";
    case "refused":
      return "no";
    case "untrusted": // The server certificate is of neither CA: the handshake ended before the client's certificate.
    case "unreachable":
    case undefined:
      return "unreachable";
    default:
      return result satisfies never;
  }
}

function shows(result: TlsProbeResult): Verdict {
  switch (result.kind) {
    case "accepted":
    case "refused": // The server refuses only after the client has accepted the server certificate.
      return "yes";
    case "untrusted":
      return "no";
    case "unreachable":
      return "unreachable";
    default:
      return result satisfies never;
  }
}
