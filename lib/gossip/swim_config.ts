/** Numbers of the protocol: memberlist's defaults for a local network, which the Go original uses unchanged. */
export interface SwimConfig {
  probeIntervalMs: number;
  probeTimeoutMs: number;
  /** Members that are asked to probe where a direct probe got no answer. */
  indirectChecks: number;
  gossipIntervalMs: number;
  gossipNodes: number;
  /** How long the dead are still gossiped to, and kept. */
  gossipToTheDeadMs: number;
  pushPullIntervalMs: number;
  /** Each broadcast goes out this often times the number of digits of the cluster's size. */
  retransmitMult: number;
  userRetransmitMult: number;
  suspicionMult: number;
  suspicionMaxTimeoutMult: number;
  /** Health scores run from 0 to one below this. */
  awarenessMax: number;
  /** Suspects are told of it with each ping, so that they can object at once. */
  suspicionWithPing: boolean;
  /** Bytes of a packet before compression, all of label and seal included. */
  packetBytesMax: number;
  /** Bytes that label and seal take of that. */
  packetOverheadBytes: number;
  /** Members that are kept at most; more are a mistake or an attack. */
  membersMax: number;
  /** How often seeds are asked while nobody else has ever been heard of. */
  joinIntervalMs: number;
  /**
   * How often one is asked of the seeds and lost members that are not among the living: at first, and at last, after the
   * time has doubled with each turn that changed nothing.
   */
  rejoinIntervalMs: number;
  rejoinIntervalMaxMs: number;
  /** How often any seed is asked, so that a partition of hours heals even where addresses have changed. */
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

/** Plain SWIM, to be measured against: this node never doubts itself, and suspicions last as long whoever confirms them. */
export const withoutLifeguard: Partial<SwimConfig> = {
  awarenessMax: 1,
  suspicionMaxTimeoutMult: 1,
  suspicionWithPing: false,
};

/** Protocol 2 of 1 to 5, as every memberlist node of the last ten years speaks; no delegate versions. */
export const ownVersions = {
  protocolMin: 1,
  protocolMax: 5,
  protocolCurrent: 2,
  delegateMin: 0,
  delegateMax: 0,
  delegateCurrent: 0,
} as const;

/** How often a broadcast goes out among `members` known ones. */
export function retransmitLimit(mult: number, members: number): number {
  return mult * Math.ceil(Math.log10(members + 1));
}

/** Larger clusters exchange whole states less often: the pace halves with each doubling beyond 32 members. */
export function pushPullScaledMs(intervalMs: number, members: number): number {
  return members <= 32 ? intervalMs : intervalMs * (Math.ceil(Math.log2(members) - 5) + 1);
}
