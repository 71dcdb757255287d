/**
 * Classifies failed calls to etcd as E2dError with a code each. etcd's errors differ in their text only
 * (api/v3rpc/rpctypes/error.go, the same from 3.4 to 3.7); any other text comes from gRPC or the layers below.
 */
import { E2dError } from "../../errors.ts";

/** The status codes of gRPC that matter here: https://grpc.io/docs/guides/status-codes/ */
const grpc = {
  cancelled: 1,
  deadlineExceeded: 4,
  permissionDenied: 7,
  unimplemented: 12,
  unavailable: 14,
  unauthenticated: 16,
};

/** The part of an error of @grpc/grpc-js that counts. */
export interface GrpcFailure {
  readonly code: number;
  readonly details: string;
}

/** A part of etcd's text, e2d's code, and a hint. The first match counts. */
const known: readonly (readonly [text: string, code: string, hint?: string])[] = [
  ["etcdserver: no leader", "etcd_no_leader"],
  ["etcdserver: leader changed", "etcd_leader_changed"],
  ["etcdserver: not leader", "etcd_not_leader"],
  ["etcdserver: request timed out", "etcd_request_timeout"],
  ["etcdserver: unhealthy cluster", "etcd_unhealthy", "wait until all members are connected"],
  ["re-configuration failed due to not enough started members", "etcd_unhealthy", "start the added member first"],
  ["etcdserver: server stopped", "etcd_stopped"],
  ["etcdserver: too many requests", "etcd_overloaded"],
  ["etcdserver: corrupt cluster", "etcd_corrupt", 'the data of a member differs: see "e2d why"'],
  ["etcdserver: member not found", "etcd_member_not_found"],
  ["etcdserver: member ID already exist", "etcd_member_exists"],
  ["etcdserver: Peer URLs already exists", "etcd_member_exists"],
  ["etcdserver: given member URLs are invalid", "etcd_peer_url_invalid"],
  ["in sync with leader", "etcd_not_ready_learner"],
  ["can only promote a learner member", "etcd_not_learner"],
  ["etcdserver: too many learner members", "etcd_too_many_learners"],
  ["etcdserver: rpc not supported for learner", "etcd_learner"],
  ["etcdserver: mvcc: database space exceeded", "etcd_nospace", "compact, defragment, then disarm the alarm"],
  ["required revision has been compacted", "etcd_compacted"],
  ["required revision is a future revision", "etcd_future_revision"],
  ["requested lease not found", "etcd_lease_not_found"],
  ["lease already exists", "etcd_lease_exists"],
  ["too many operations in txn", "etcd_too_many_operations"],
  ["etcdserver: request is too large", "etcd_request_too_large"],
  ["leader transfer failed", "etcd_transfer_failed"],
  ["bad leader transferee", "etcd_transfer_failed"],
  ["not capable", "etcd_unsupported"],
  ["downgrade", "etcd_downgrade_refused"],
];

const unauthorized = /user name is empty|permission denied|invalid auth token|authentication failed|invalid user/;
const tlsWords =
  /TLS|certificate|UnknownCA|UnknownIssuer|NotValidForName|CertificateRequired|BadCertificate|CorruptMessage/i;

/** The call may have been executed nevertheless. */
export function timeoutError(action: string, endpoint: string, timeoutMs: number): E2dError {
  return new E2dError("etcd_timeout", `${phrase(action, endpoint)}: no answer in ${timeoutMs} ms`);
}

/**
 * `etcd_unreachable` and `etcd_tls` mean that the call never left this machine. After `etcd_connection_lost`,
 * `etcd_timeout` and `etcd_request_timeout` the change may have been made nevertheless.
 */
export function callError(action: string, endpoint: string, failure: GrpcFailure): E2dError {
  const { code, hint } = classify(failure);
  return new E2dError(code, `${phrase(action, endpoint)}: ${state(failure)}`, {
    cause: failure,
    ...(hint !== undefined && { hint }),
  });
}

/** True when the call certainly was not executed, so that it may be made at another endpoint. */
export function wasNeverSent(error: unknown): boolean {
  return error instanceof E2dError && (error.code === "etcd_unreachable" || error.code === "etcd_tls");
}

/** True when another endpoint may be able to answer. */
export function isTransient(error: unknown): boolean {
  return error instanceof E2dError && transient.has(error.code);
}

const transient = new Set([
  "etcd_unreachable",
  "etcd_tls",
  "etcd_connection_lost",
  "etcd_timeout",
  "etcd_request_timeout",
  "etcd_no_leader",
  "etcd_leader_changed",
  "etcd_stopped",
  "etcd_learner",
]);

function classify({ code, details }: GrpcFailure): { code: string; hint?: string } {
  const found = known.find(([text]) => details.includes(text));
  if (found !== undefined) {
    const [, ours, hint] = found;
    return { code: ours, ...(hint !== undefined && { hint }) };
  }
  if (code === grpc.unauthenticated || code === grpc.permissionDenied || unauthorized.test(details)) {
    return {
      code: "etcd_unauthorized",
      hint: "etcd has authentication turned on; e2d identifies itself by certificate",
    };
  }
  if (code === grpc.unimplemented) return { code: "etcd_unsupported" };
  if (details.startsWith("etcdserver:") || details.startsWith("mvcc:")) return { code: "etcd_refused" };
  if (code === grpc.deadlineExceeded) return { code: "etcd_timeout" };
  if (tlsWords.test(details)) {
    return { code: "etcd_tls", hint: "check that both sides have certificates of the same authority, still valid" };
  }
  if (code !== grpc.unavailable) return { code: "etcd_connection_lost" };
  const unsent = /^No connection established|^Name resolution|^Channel closed before call|ECONNREFUSED/;
  return { code: unsent.test(details) ? "etcd_unreachable" : "etcd_connection_lost" };
}

/** gRPC's text without its prefix and suffix. */
function state({ details }: GrpcFailure): string {
  const inner = /^No connection established\. Last error: (?:\w*Error: )?(.*?)(?:\. Resolution note: .*)?$/s.exec(
    details,
  );
  // grpc-js appends a time to errors of the socket.
  const text = (inner?.[1] || details || "no reason given").replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, "");
  return text.replace(/^etcdserver: /, "").replaceAll("\n", " ");
}

function phrase(action: string, endpoint: string): string {
  return `Cannot ${action} at etcd "${endpoint}"`;
}
