/** Asks the members of a running cluster how far a rollover has come: by handshakes, which cannot be out of date. */
import type { Clock, Random, TlsProbe, TlsProbeResult } from "../ports.ts";
import type { Authority } from "./authority.ts";
import { writeCertificates } from "./certificate.ts";
import { issueCertificate } from "./issue.ts";
import { makePrivateKey, writePrivateKey } from "./private_key.ts";
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

/** Each handshake may take this long. */
const probeTimeoutMs = 5_000;
/** Long enough for a whole round over a big cluster, short enough to be worthless afterwards. */
const probeLifetimeMs = 10 * 60_000;

/**
 * Three handshakes with each port. `old` is the authority that is to go; without its key (it may be put away already)
 * nobody can tell whether it is still trusted, and that counts as no answer.
 */
export async function probeMembers(
  ports: ProbePorts,
  options: { members: readonly ProbeTarget[]; old: Authority | undefined; next: Authority; signal: AbortSignal },
): Promise<MemberTrust[]> {
  const { old, next, signal } = options;
  const bothTrusted = writeCertificates([next.certificate, ...(old ? [old.certificate] : [])]);
  const ofNext = await passport(ports, next);
  const ofOld = old && await passport(ports, old);
  const probePort = async (url: string): Promise<PortTrust> => {
    const ask = (trusted: string, shown: { certificate: string; key: string }) =>
      probeOnce(ports, { url, trusted, shown, signal });
    const acceptsNext = await ask(bothTrusted, ofNext);
    const acceptsOld = ofOld ? await ask(bothTrusted, ofOld) : undefined;
    // Whoever does not take the next authority's certificate is asked with the old one's: this is about what it shows.
    const showsNext = await ask(
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

/** A certificate without names, because a member holds the names it is shown against the address they come from. */
async function passport(ports: ProbePorts, signer: Authority): Promise<{ certificate: string; key: string }> {
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
  if (at === null || at.protocol !== "https:") return { kind: "unreachable", detail: `"${url}" is no https URL` };
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
    case "untrusted": // It shows neither authority's certificate, so it was not asked what it accepts.
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
    case "refused": // Refusing comes after the client has accepted what it was shown.
      return "yes";
    case "untrusted":
      return "no";
    case "unreachable":
      return "unreachable";
    default:
      return result satisfies never;
  }
}
