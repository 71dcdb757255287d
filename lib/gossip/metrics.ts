/** Counters of the gossip transport since the node started. */
export interface TransportMetrics {
  packetsSent: number;
  packetsReceived: number;
  bytesSent: number;
  bytesReceived: number;
  sendFailures: number;
  /** Refused packets, parts of packets and streams, by the code of the E2dError. */
  dropped: Record<string, number>;
  streamsAccepted: number;
  streamsDialled: number;
  streamFailures: number;
  /** Connections that were closed unread because the maximum number was open. */
  streamsRefused: number;
}

export function emptyTransportMetrics(): TransportMetrics {
  return {
    packetsSent: 0,
    packetsReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    sendFailures: 0,
    dropped: {},
    streamsAccepted: 0,
    streamsDialled: 0,
    streamFailures: 0,
    streamsRefused: 0,
  };
}
