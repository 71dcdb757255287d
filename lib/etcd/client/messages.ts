/**
 * The messages of etcd's gRPC API that e2d uses, for 3.4 to 3.7. Numbers and types are those of etcd's
 * api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto. A release skips the fields that it does not know.
 */
import { bytes, chosen, type Decoded, flag, hexId, integer, message, nested, repeated, text } from "./protobuf.ts";

const header = message({ clusterId: hexId(1), memberId: hexId(2), revision: integer(3), raftTerm: integer(4) });
const headerAt1 = { header: nested(1, () => header) };
/** An answer without relevant content. */
const headerOnly = message(headerAt1);

const keyValue = message({
  key: bytes(1),
  createRevision: integer(2),
  modRevision: integer(3),
  version: integer(4),
  value: bytes(5),
  lease: hexId(6),
});
export type RawKeyValue = Decoded<typeof keyValue>;

const rangeRequest = message({
  key: bytes(1),
  rangeEnd: bytes(2),
  limit: integer(3),
  revision: integer(4),
  serializable: flag(7),
  keysOnly: flag(8),
  countOnly: flag(9),
});
const rangeResponse = message({
  ...headerAt1,
  kvs: repeated(nested(2, () => keyValue)),
  more: flag(3),
  count: integer(4),
});
const putRequest = message({ key: bytes(1), value: bytes(2), lease: hexId(3) });
const deleteRangeRequest = message({ key: bytes(1), rangeEnd: bytes(2) });
const deleteRangeResponse = message({ ...headerAt1, deleted: integer(2) });

const compare = message({
  result: integer(1),
  target: integer(2),
  key: bytes(3),
  version: chosen(integer(4)),
  createRevision: chosen(integer(5)),
  modRevision: chosen(integer(6)),
  value: chosen(bytes(7)),
  rangeEnd: bytes(64),
});
const requestOp = message({
  range: nested(1, () => rangeRequest),
  put: nested(2, () => putRequest),
  deleteRange: nested(3, () => deleteRangeRequest),
});
const responseOp = message({
  range: nested(1, () => rangeResponse),
  put: nested(2, () => headerOnly),
  deleteRange: nested(3, () => deleteRangeResponse),
});
const txnRequest = message({
  compare: repeated(nested(1, () => compare)),
  success: repeated(nested(2, () => requestOp)),
  failure: repeated(nested(3, () => requestOp)),
});
const txnResponse = message({
  ...headerAt1,
  succeeded: flag(2),
  responses: repeated(nested(3, () => responseOp)),
});

const member = message({
  id: hexId(1),
  name: text(2),
  peerUrls: repeated(text(3)),
  clientUrls: repeated(text(4)),
  isLearner: flag(5),
});
const membersAt2 = message({ ...headerAt1, members: repeated(nested(2, () => member)) });

const status = message({
  ...headerAt1,
  version: text(2),
  dbSize: integer(3),
  leader: hexId(4),
  raftIndex: integer(5),
  raftTerm: integer(6),
  raftAppliedIndex: integer(7),
  errors: repeated(text(8)),
  dbSizeInUse: integer(9),
  isLearner: flag(10),
  storageVersion: text(11),
  dbSizeQuota: integer(12),
});
const alarmMember = message({ memberId: hexId(1), alarm: integer(2) });

const empty = message({});

/** A method of the API with the encoder of its request and the decoder of its answer. */
export interface Method<Q, A> {
  readonly path: string;
  readonly request: { encode(value: Q): Uint8Array };
  readonly answer: { decode(data: Uint8Array): A };
}

function method<Q, A>(path: string, request: Method<Q, A>["request"], answer: Method<Q, A>["answer"]): Method<Q, A> {
  return { path: `/etcdserverpb.${path}`, request, answer };
}

export const methods = {
  range: method("KV/Range", rangeRequest, rangeResponse),
  put: method("KV/Put", putRequest, headerOnly),
  deleteRange: method("KV/DeleteRange", deleteRangeRequest, deleteRangeResponse),
  txn: method("KV/Txn", txnRequest, txnResponse),
  compact: method("KV/Compact", message({ revision: integer(1), physical: flag(2) }), headerOnly),
  leaseGrant: method(
    "Lease/LeaseGrant",
    message({ ttl: integer(1), id: hexId(2) }),
    message({ ...headerAt1, id: hexId(2), ttl: integer(3), error: text(4) }),
  ),
  leaseRevoke: method("Lease/LeaseRevoke", message({ id: hexId(1) }), headerOnly),
  leaseKeepAlive: method(
    "Lease/LeaseKeepAlive",
    message({ id: hexId(1) }),
    message({ ...headerAt1, id: hexId(2), ttl: integer(3) }),
  ),
  memberAdd: method(
    "Cluster/MemberAdd",
    message({ peerUrls: repeated(text(1)), isLearner: flag(2) }),
    message({ ...headerAt1, member: nested(2, () => member), members: repeated(nested(3, () => member)) }),
  ),
  memberRemove: method("Cluster/MemberRemove", message({ id: hexId(1) }), membersAt2),
  memberUpdate: method("Cluster/MemberUpdate", message({ id: hexId(1), peerUrls: repeated(text(2)) }), membersAt2),
  memberList: method("Cluster/MemberList", message({ linearizable: flag(1) }), membersAt2),
  memberPromote: method("Cluster/MemberPromote", message({ id: hexId(1) }), membersAt2),
  alarm: method(
    "Maintenance/Alarm",
    message({ action: integer(1), memberId: hexId(2), alarm: integer(3) }),
    message({ ...headerAt1, alarms: repeated(nested(2, () => alarmMember)) }),
  ),
  status: method("Maintenance/Status", empty, status),
  defragment: method("Maintenance/Defragment", empty, headerOnly),
  hashKv: method(
    "Maintenance/HashKV",
    message({ revision: integer(1) }),
    message({ ...headerAt1, hash: integer(2), compactRevision: integer(3), hashRevision: integer(4) }),
  ),
  snapshot: method(
    "Maintenance/Snapshot",
    empty,
    message({ ...headerAt1, remainingBytes: integer(2), blob: bytes(3), version: text(4) }),
  ),
  moveLeader: method("Maintenance/MoveLeader", message({ targetId: hexId(1) }), headerOnly),
  downgrade: method(
    "Maintenance/Downgrade",
    message({ action: integer(1), version: text(2) }),
    message({ ...headerAt1, version: text(2) }),
  ),
} as const;

export type Answer<M> = M extends Method<infer _, infer A> ? A : never;
