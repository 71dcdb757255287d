/**
 * Replacing the certificate authority of a running cluster: the rule, not the deeds. Three phases, and none may begin on
 * any member before the one ahead of it has ended on every member:
 *
 *   trust     everybody trusts the old and the next authority
 *   reissue   every pair, the CA key, the gossip key: from now on the next authority's
 *   drop      nobody trusts the old authority any more
 *
 * Where a member stands is read from its files alone, so a rollover survives whatever interrupts it. Whether a member's
 * etcd has taken its files up is asked of etcd itself, by handshakes: it reads its pairs at every handshake but ca.crt
 * only when it starts.
 */

/** Fingerprints stand for certificates of authorities. */
export interface RolloverFiles {
  /** In ca.crt, in order. */
  trusted: readonly string[];
  /** The one whose key ca.key is. */
  current: string;
  /** In ca-next.crt, with its key beside it; undefined when there is none. */
  next: string | undefined;
  /** Which trusted or next authority signed each pair; undefined when none did. */
  pairs: readonly { role: string; path: string; signedBy: string | undefined }[];
  /** Keys kept of authorities that were replaced; the name of each file tells the start of the fingerprint. */
  oldKeys: readonly { path: string; fingerprintStart: string }[];
}

export type RolloverPhase =
  | { kind: "none" }
  /** The next authority is made and trusted by nothing here yet. */
  | { kind: "prepared"; old: string; next: string }
  /** ca.crt holds both, all else is the old authority's. */
  | { kind: "trusted"; old: string; next: string }
  /** Cut off in the middle of reissue: run it again. */
  | { kind: "reissuing"; old: string; next: string }
  /** ca.crt holds both, all else is the next authority's. */
  | { kind: "reissued"; old: string; next: string }
  /** The old authority is gone from ca.crt; what prepared the rollover is not cleared away yet. */
  | { kind: "dropped"; next: string };

/** Where this machine stands, from its files. */
export function rolloverPhase(files: RolloverFiles): RolloverPhase {
  const { trusted, current } = files;
  const replaced = replacedAuthority(files);
  // With ca-next.* cleared away early, the kept key still tells that its authority was not dropped.
  const next = files.next ?? (replaced === undefined ? undefined : current);
  if (next === undefined) return { kind: "none" };
  const old = current === next ? replaced : current;
  if (old === undefined) return { kind: "dropped", next };
  if (!trusted.includes(next)) return { kind: "prepared", old, next };
  const reissued = files.pairs.filter((pair) => pair.signedBy === next).length;
  if (current === next && reissued === files.pairs.length) return { kind: "reissued", old, next };
  return { kind: current !== next && reissued === 0 ? "trusted" : "reissuing", old, next };
}

/**
 * The trusted authority whose key ca.key was before. A CA file may always have held others beside it, which are none of
 * a rollover's business: the kept key tells which one is meant, or, if that was taken away, that there is just one.
 */
function replacedAuthority({ trusted, current, next, oldKeys }: RolloverFiles): string | undefined {
  const others = trusted.filter((fingerprint) => fingerprint !== current);
  const kept = others.find((other) => oldKeys.some(({ fingerprintStart }) => other.startsWith(fingerprintStart)));
  if (kept !== undefined) return kept;
  return next === current && oldKeys.length === 0 && others.length === 1 ? others[0] : undefined;
}

/** What one handshake told. */
export type Verdict = "yes" | "no" | "unreachable";

/** One port of one member, as three handshakes found it. */
export interface PortTrust {
  /** "https://10.0.0.1:2379". */
  url: string;
  /** Lets in who shows a certificate of the old, or of the next authority. */
  acceptsOld: Verdict;
  acceptsNext: Verdict;
  /** Shows a certificate that the next authority signed. */
  showsNext: Verdict;
  /** What went wrong, for people; "" when all three were told. */
  detail: string;
}

export interface MemberTrust {
  name: string;
  /** Client and peer port. */
  ports: readonly PortTrust[];
}

/** What keeps `reissue` from beginning anywhere; empty when it may. */
export function blockersOfReissue(members: readonly MemberTrust[]): string[] {
  return eachPort(members, (port) => [
    blocker(port.acceptsNext, "yes", port, "does not trust the next authority yet: run trust there and restart it"),
  ]);
}

/** What keeps `drop` from beginning anywhere; empty when it may. */
export function blockersOfDrop(members: readonly MemberTrust[]): string[] {
  return eachPort(members, (port) => [
    blocker(port.showsNext, "yes", port, "still shows a certificate of the old authority: run reissue there"),
    blocker(port.acceptsNext, "yes", port, "does not trust the next authority: run trust there and restart it"),
  ]);
}

/** What keeps a rollover from being over; empty when it is. */
export function blockersOfEnd(members: readonly MemberTrust[]): string[] {
  return eachPort(members, (port) => [
    blocker(port.acceptsOld, "no", port, "still trusts the old authority: run drop there and restart it"),
    blocker(port.showsNext, "yes", port, "does not show a certificate of the next authority"),
  ]);
}

function eachPort(members: readonly MemberTrust[], check: (port: PortTrust) => (string | undefined)[]): string[] {
  // No member asked is no answer: an empty list must never open the way.
  if (members.length === 0) return ["no member was asked"];
  return members.flatMap(({ name, ports }) => {
    const found = ports.length === 0 ? ["no port was asked"] : ports.flatMap(check);
    return [...new Set(found.filter((text) => text !== undefined))].map((text) => `member "${name}": ${text}`);
  });
}

function blocker(verdict: Verdict, wanted: Verdict, port: PortTrust, otherwise: string): string | undefined {
  if (verdict === wanted) return undefined;
  const detail = port.detail ? ` (${port.detail})` : "";
  return verdict === "unreachable" ? `${port.url} gave no answer${detail}` : `${port.url} ${otherwise}${detail}`;
}

/** Which key files gossip and snapshots use where this machine stands: both keys throughout, so nobody is shut out. */
export interface KeyFilesInUse {
  gossip: {
    /** Derives the key that seals what is sent. */
    primary: string;
    /** Derive keys that open what comes in, beside the primary. */
    accepted: readonly string[];
  };
  snapshot: {
    /** A new snapshot is sealed for each. */
    recipients: readonly string[];
    /** Tried in this order to open one. */
    openers: readonly string[];
  };
}

/**
 * The gossip keyring and the snapshot recipients that follow from the files. The next key is accepted as soon as it is
 * here, and becomes primary when `reissue` makes it ca.key, at which time everybody accepts it; the old one is accepted
 * until `drop`. New snapshots are sealed for both from the first moment on. The old key keeps opening snapshots until an
 * operator, once retention has passed, takes its file away.
 */
export function keyFilesInUse(files: RolloverFiles, paths: RolloverPaths): KeyFilesInUse {
  const phase = rolloverPhase(files);
  const besides: string[] = [];
  if (phase.kind !== "none" && files.current !== phase.next) besides.push(paths.nextKey);
  else if (phase.kind === "reissuing" || phase.kind === "reissued") {
    besides.push(
      ...files.oldKeys.filter(({ fingerprintStart }) => phase.old.startsWith(fingerprintStart)).map(({ path }) => path),
    );
  }
  const inUse = [paths.caKey, ...besides];
  return {
    gossip: { primary: paths.caKey, accepted: besides },
    snapshot: { recipients: inUse, openers: [...new Set([...inUse, ...files.oldKeys.map(({ path }) => path)])] },
  };
}

export interface RolloverPaths {
  caCert: string;
  caKey: string;
  nextCert: string;
  nextKey: string;
}

/** "ca-next.crt" beside "ca.crt". */
export function rolloverPaths(ca: { caCert: string; caKey: string }): RolloverPaths {
  return { ...ca, nextCert: besideName(ca.caCert, "-next"), nextKey: besideName(ca.caKey, "-next") };
}

/** Of a fingerprint, in the name of a kept key. */
export const oldKeyDigits = 12;

/** "ca-old-1a2b3c4d5e6f.key": named by its authority, so that a second rollover overwrites no key of the first. */
export function oldKeyPath(caKey: string, fingerprint: string): string {
  return besideName(caKey, `-old-${fingerprint.slice(0, oldKeyDigits)}`);
}

function besideName(path: string, suffix: string): string {
  const [, stem, extension] = /^(.*?)(\.[^./]*)?$/s.exec(path)!;
  return `${stem}${suffix}${extension ?? ""}`;
}
