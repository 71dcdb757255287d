/**
 * The pure rules for replacing the CA of a running cluster. There are three phases; a phase may begin on a member only
 * after the previous phase has ended on every member:
 *
 *   trust     every member trusts the old and the next CA
 *   reissue   every pair, the CA key and the gossip key change to the next CA
 *   drop      no member trusts the old CA
 *
 * The phase of a member is derived from its files only, so a rollover survives interruptions. Handshakes show whether a
 * member's etcd has loaded the files: etcd reads its pairs at every handshake, but ca.crt only at its start.
 */

/** The CA files of one machine. CAs are identified by their fingerprints. */
export interface RolloverFiles {
  /** The CAs in ca.crt, in order. */
  trusted: readonly string[];
  /** The CA of ca.key. */
  current: string;
  /** The CA in ca-next.crt, if ca-next.key exists too. */
  next: string | undefined;
  /** The trusted or next CA that signed each pair; undefined: none of them. */
  pairs: readonly { role: string; path: string; signedBy: string | undefined }[];
  /** Backups of the keys of replaced CAs; each file name contains the start of the fingerprint. */
  oldKeys: readonly { path: string; fingerprintStart: string }[];
}

export type RolloverPhase =
  | { kind: "none" }
  /** The next CA exists, and ca.crt does not contain it yet. */
  | { kind: "prepared"; old: string; next: string }
  /** ca.crt contains both CAs; all other files belong to the old CA. */
  | { kind: "trusted"; old: string; next: string }
  /** `reissue` was interrupted and must run again. */
  | { kind: "reissuing"; old: string; next: string }
  /** ca.crt contains both CAs; all other files belong to the next CA. */
  | { kind: "reissued"; old: string; next: string }
  /** ca.crt does not contain the old CA any more; the ca-next files still exist. */
  | { kind: "dropped"; next: string };

/** The phase of this machine, derived from its files. */
export function rolloverPhase(files: RolloverFiles): RolloverPhase {
  const { trusted, current } = files;
  const replaced = replacedAuthority(files);
  // If ca-next.* was deleted too early, the backup of the old key shows that its CA was not dropped.
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
 * The trusted CA whose key ca.key was before. ca.crt may contain other CAs that do not take part in the rollover: the
 * backup of the old key identifies the CA, or, if the backup was removed, the fact that there is only one other CA.
 */
function replacedAuthority({ trusted, current, next, oldKeys }: RolloverFiles): string | undefined {
  const others = trusted.filter((fingerprint) => fingerprint !== current);
  const kept = others.find((other) => oldKeys.some(({ fingerprintStart }) => other.startsWith(fingerprintStart)));
  if (kept !== undefined) return kept;
  return next === current && oldKeys.length === 0 && others.length === 1 ? others[0] : undefined;
}

/** The result of one handshake. */
export type Verdict = "yes" | "no" | "unreachable";

/** The results of the three handshakes with one port of a member. */
export interface PortTrust {
  /** "https://10.0.0.1:2379". */
  url: string;
  /** Accepts clients with a certificate of the old, or of the next CA. */
  acceptsOld: Verdict;
  acceptsNext: Verdict;
  /** Presents a certificate that the next CA signed. */
  showsNext: Verdict;
  /** The text of the failure; "" when all three handshakes gave a result. */
  detail: string;
}

export interface MemberTrust {
  name: string;
  /** Client and peer port. */
  ports: readonly PortTrust[];
}

/** The reasons why `reissue` may not begin on any member yet; empty when it may. */
export function blockersOfReissue(members: readonly MemberTrust[]): string[] {
  return eachPort(members, (port) => [
    blocker(port.acceptsNext, "yes", port, "does not trust the next authority yet: run trust there and restart it"),
  ]);
}

/** The reasons why `drop` may not begin on any member yet; empty when it may. */
export function blockersOfDrop(members: readonly MemberTrust[]): string[] {
  return eachPort(members, (port) => [
    blocker(port.showsNext, "yes", port, "still shows a certificate of the old authority: run reissue there"),
    blocker(port.acceptsNext, "yes", port, "does not trust the next authority: run trust there and restart it"),
  ]);
}

/** The reasons why the rollover has not ended; empty when it has. */
export function blockersOfEnd(members: readonly MemberTrust[]): string[] {
  return eachPort(members, (port) => [
    blocker(port.acceptsOld, "no", port, "still trusts the old authority: run drop there and restart it"),
    blocker(port.showsNext, "yes", port, "does not show a certificate of the next authority"),
  ]);
}

function eachPort(members: readonly MemberTrust[], check: (port: PortTrust) => (string | undefined)[]): string[] {
  // An empty list must never allow a phase.
  if (members.length === 0) return ["no member was probed"];
  return members.flatMap(({ name, ports }) => {
    const found = ports.length === 0 ? ["no port was probed"] : ports.flatMap(check);
    return [...new Set(found.filter((text) => text !== undefined))].map((text) => `member "${name}": ${text}`);
  });
}

function blocker(verdict: Verdict, wanted: Verdict, port: PortTrust, otherwise: string): string | undefined {
  if (verdict === wanted) return undefined;
  const detail = port.detail ? ` (${port.detail})` : "";
  return verdict === "unreachable" ? `${port.url} gave no answer${detail}` : `${port.url} ${otherwise}${detail}`;
}

/** The key files of gossip and snapshots in a phase: both keys during the whole rollover, so that no node is excluded. */
export interface KeyFilesInUse {
  gossip: {
    /** Its key encrypts. */
    primary: string;
    /** Their keys decrypt, in addition to the primary. */
    accepted: readonly string[];
  };
  snapshot: {
    /** New snapshots are encrypted for each. */
    recipients: readonly string[];
    /** Tried in this order for decryption. */
    openers: readonly string[];
  };
}

/**
 * Derives the gossip keyring and the snapshot recipients from the files. The next key is accepted as soon as its file
 * exists, and becomes primary when `reissue` copies it to ca.key; every member accepts it by then. The old key is
 * accepted until `drop`. New snapshots are encrypted for both keys. The old key decrypts snapshots until an operator
 * deletes its file after the retention has passed.
 */
export function keyFilesInUse(files: RolloverFiles, paths: RolloverPaths): KeyFilesInUse {
  const phase = rolloverPhase(files);
  const accepted: string[] = [];
  if (phase.kind !== "none" && files.current !== phase.next) accepted.push(paths.nextKey);
  else if (phase.kind === "reissuing" || phase.kind === "reissued") {
    accepted.push(
      ...files.oldKeys.filter(({ fingerprintStart }) => phase.old.startsWith(fingerprintStart)).map(({ path }) => path),
    );
  }
  const inUse = [paths.caKey, ...accepted];
  return {
    gossip: { primary: paths.caKey, accepted },
    snapshot: { recipients: inUse, openers: [...new Set([...inUse, ...files.oldKeys.map(({ path }) => path)])] },
  };
}

export interface RolloverPaths {
  caCert: string;
  caKey: string;
  nextCert: string;
  nextKey: string;
}

/** The paths of the next CA: "ca-next.crt" in the folder of "ca.crt". */
export function rolloverPaths(ca: { caCert: string; caKey: string }): RolloverPaths {
  return { ...ca, nextCert: besideName(ca.caCert, "-next"), nextKey: besideName(ca.caKey, "-next") };
}

/** Digits of the fingerprint in the file name of an old key. */
export const oldKeyDigits = 12;

/** "ca-old-1a2b3c4d5e6f.key": contains the fingerprint, so that a second rollover overwrites no key of the first. */
export function oldKeyPath(caKey: string, fingerprint: string): string {
  return besideName(caKey, `-old-${fingerprint.slice(0, oldKeyDigits)}`);
}

function besideName(path: string, suffix: string): string {
  const [, stem, extension] = /^(.*?)(\.[^./]*)?$/s.exec(path)!;
  return `${stem}${suffix}${extension ?? ""}`;
}
