/** Parameters of the protocol: memberlist's defaults for a local network, which the Go original uses unchanged. */
export interface SwimConfig {
  probeIntervalMs: number;
  probeTimeoutMs: number;
  /** Number of members that are asked to probe a target that did not answer a direct probe. */
  indirectChecks: number;
  gossipIntervalMs: number;
  gossipNodes: number;
  /** Dead members are gossiped to, and their records kept, for this long. */
  gossipToTheDeadMs: number;
  pushPullIntervalMs: number;
  /** Transmissions of a broadcast: this factor times the decimal digits of the cluster size. */
  retransmitMult: number;
  userRetransmitMult: number;
  suspicionMult: number;
  suspicionMaxTimeoutMult: number;
  /** Health scores range from 0 to one below this. */
  awarenessMax: number;
  /** A ping to a suspect carries the suspicion, so that the suspect can refute it at once. */
  suspicionWithPing: boolean;
  /** Bytes of a packet before compression, including label and seal. */
  packetBytesMax: number;
  /** Bytes of label and seal within `packetBytesMax`. */
  packetOverheadBytes: number;
  /** Maximum number of members; more are a mistake or an attack. */
  membersMax: number;
  /** Interval of contacting seeds while no other node has been seen. */
  joinIntervalMs: number;
  /**
   * Interval of contacting one of the seeds and lost members that are not alive. It starts at the first value and doubles
   * with each turn without a change, up to the second.
   */
  rejoinIntervalMs: number;
  rejoinIntervalMaxMs: number;
  /** Interval of contacting any seed, so that a partition of hours heals even when addresses have changed. */
  seedIntervalMs: number;
}

export const lanConfig: SwimConfig = {
  probeIntervalMs: 1000,
  probeTimeoutMs: 500,
  indirectChecks: 3,
  gossipIntervalMs: 200,
  gossipNodes: 3,
  gossipToTheDeadMs: 30_000,
  pushPullIntervalMs: 30_000,
  retransmitMult: 4,
  userRetransmitMult: 3,
  suspicionMult: 4,
  suspicionMaxTimeoutMult: 6,
  awarenessMax: 8,
  suspicionWithPing: true,
  packetBytesMax: 1400,
  packetOverheadBytes: 0,
  membersMax: 5000,
  joinIntervalMs: 1000,
  rejoinIntervalMs: 2000,
  rejoinIntervalMaxMs: 30_000,
  seedIntervalMs: 30_000,
};

/** Plain SWIM, for comparison: no local health score, and confirmations do not shorten a suspicion. */
export const withoutLifeguard: Partial<SwimConfig> = {
  awarenessMax: 1,
  suspicionMaxTimeoutMult: 1,
  suspicionWithPing: false,
};

/** Protocol 2 of 1 to 5, as in every memberlist version of the last ten years; no delegate versions. */
export const ownVersions = {
  protocolMin: 1,
  protocolMax: 5,
  protocolCurrent: 2,
  delegateMin: 0,
  delegateMax: 0,
  delegateCurrent: 0,
} as const;

/** Transmissions of a broadcast in a cluster of `members` known members. */
export function retransmitLimit(mult: number, members: number): number {
  return mult * Math.ceil(Math.log10(members + 1));
}

/** The push/pull interval, which grows with each doubling of the cluster beyond 32 members. */
export function pushPullScaledMs(intervalMs: number, members: number): number {
  return members <= 32 ? intervalMs : intervalMs * (Math.ceil(Math.log2(members) - 5) + 1);
}
