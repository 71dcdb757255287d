/** What the gossip of one node has done and refused since it started. Counters only grow. */
export interface TransportMetrics {
  packetsSent: number;
  packetsReceived: number;
  bytesSent: number;
  bytesReceived: number;
  sendFailures: number;
  /** Packets, parts of packets and streams that were not taken, by the code of the E2dError that refused them. */
  dropped: Record<string, number>;
  streamsAccepted: number;
  streamsDialled: number;
  streamFailures: number;
  /** Connections that were closed unread because as many as allowed were open. */
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
