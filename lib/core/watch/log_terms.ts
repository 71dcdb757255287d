/** Reads where the terms of the own raft log begin, and reports a cluster whose members committed different entries. */
import { committedIndex, logConflict, withEarlier } from "../evidence/log_terms.ts";
import { freshAnswer } from "../evidence/members.ts";
import type { DataDir } from "../facts/data_dir.ts";
import type { Turn } from "../state/turn.ts";

/** A new term is in the log once its leader has committed an entry; until then the log is read again. */
const readEveryMs = 5_000;
const code = "logs_differ";

/** Asks for the own data-dir; of its log counts what is committed now. */
export function readOwnLog(turn: Turn): void {
  turn.node.disk.logReadCommitted = committedIndex(turn.view);
  turn.emit({ kind: "inspectData" });
}

/** After each look at the data-dir; `isRunning`: the own etcd may have appended to the log meanwhile. */
export function noteTerms({ node }: Turn, found: DataDir, isRunning: boolean): void {
  if (found.kind !== "valid" || found.termStarts === undefined) {
    if (!isRunning) node.disk.logTerms = node.disk.publishedTerms = undefined;
    return;
  }
  const { clusterId, termStarts, raftIndex } = found;
  const committedIndex = isRunning ? node.disk.logReadCommitted : raftIndex;
  const starts = termStarts.filter(({ index }) => index <= committedIndex);
  const known = isRunning ? node.disk.publishedTerms : undefined;
  node.disk.logTerms = { clusterId, starts, committedIndex };
  if (starts.length > 0) node.disk.publishedTerms = withEarlier(known, { clusterId, starts });
}

/** Called in each turn. */
export function watchLogTerms(turn: Turn): void {
  const { node, view, now } = turn;
  const own = freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs);
  const isCommitted = node.ownEtcd.etcd.kind === "ready" && own?.linearizable === true && own.leaderId !== undefined;
  const isDue = now.monotonicMs - (node.disk.termsReadMs ?? -Infinity) >= readEveryMs;
  if (isCommitted && isDue && own.raftTerm > (node.disk.logTerms?.starts.at(-1)?.term ?? 0)) {
    node.disk.termsReadMs = now.monotonicMs;
    readOwnLog(turn);
  }
  const conflict = node.ownEtcd.etcd.kind === "ready" ? logConflict(view) : undefined;
  if (conflict === undefined) return turn.resolve(code);
  const { index, ownTerm, term, name } = conflict;
  turn.report("error", {
    code,
    text:
      `the members' data differs: entry ${index} of the raft log is of term ${ownTerm} here and of term ${term} at ` +
      `"${name}", and both were committed: a disk went back in time, and acknowledged writes are on some members alone`,
    hint:
      "compare the members (etcdctl endpoint hashkv, and gets with --consistency=s), save what the others lack, and " +
      "replace the member that is wrong: stop it and move its data-dir away",
  }, { keepsReady: true });
}
