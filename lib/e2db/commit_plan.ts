/** Computes the etcd operations of a commit from the rows that a transaction changes. Pure; transaction.ts sends them. */
import { binaryString } from "./schema/bytes.ts";
import { encodeRow, type StoredRow, type Values } from "./schema/codec.ts";
import type { Operation } from "./kv/kv.ts";
import { type Entry, forwardKey, sampleKeys } from "./schema/layout.ts";
import { encodeOrdered, type Orderable } from "./schema/order.ts";
import type { TableState } from "./table_state.ts";

/** A row before and after the transaction. */
export interface Write {
  state: TableState;
  id: Orderable;
  before: { values: Values; modRevision: number } | undefined;
  after: StoredRow | undefined;
}

/** A key that must not exist. */
export interface Fresh {
  key: Uint8Array;
  state: TableState;
  id: Orderable;
  /** The unique field, or undefined for the row itself. */
  field: string | undefined;
}

export interface CommitPlan {
  operations: Operation[];
  points: Map<string, { key: Uint8Array; modRevision: number }>;
  fresh: Fresh[];
  guard: { key: Uint8Array; writeId: Uint8Array } | undefined;
}

/** The operations that change rows and all their entries from `before` to `after`; `writeId` is written to guards. Pure. */
export function planCommit(changes: readonly Write[], writeId: Uint8Array): CommitPlan {
  const removed = new Map<string, Entry>();
  const puts = new Map<string, Operation>();
  const points: CommitPlan["points"] = new Map();
  const fresh: Fresh[] = [];
  const before = new Set<string>();
  for (const { state, id, before: old } of changes) {
    if (old === undefined) continue;
    for (const entry of state.layout.entries(state.meta, id, old.values)) {
      const name = nameOf(entry);
      before.add(name);
      removed.set(name, entry);
    }
  }
  for (const { state, id, before: old, after } of changes) {
    const { layout, meta } = state;
    const idBytes = encodeOrdered(id);
    const rowKey = forwardKey({ space: layout.rows(meta.id), suffix: idBytes });
    points.set(binaryString(rowKey), { key: rowKey, modRevision: old?.modRevision ?? 0 });
    if (after === undefined) continue;
    if (old === undefined) fresh.push({ key: rowKey, state, id, field: undefined });
    const bytes = encodeRow(after.values, after.writeId, idBytes);
    for (const entry of layout.entries(meta, id, after.values)) {
      const name = nameOf(entry);
      const key = forwardKey(entry);
      puts.set(name, { kind: "put", key, value: entry.space.kind === "row" ? bytes.row : bytes.entry });
      removed.delete(name);
      if (before.has(name)) continue;
      for (const sample of sampleKeys(entry)) {
        puts.set(binaryString(sample), { kind: "put", key: sample, value: new Uint8Array() });
      }
      if (!entry.exclusive || entry.space.kind === "row") continue;
      points.set(name, { key, modRevision: 0 });
      fresh.push({ key, state, id, field: entry.space.field });
    }
  }
  const operations = [...puts.values()];
  const guards = new Map<string, Uint8Array>();
  for (const entry of removed.values()) {
    for (const key of [forwardKey(entry), ...sampleKeys(entry)]) operations.push({ kind: "delete", key });
    guards.set(binaryString(entry.space.guard), entry.space.guard);
  }
  for (const key of guards.values()) operations.push({ kind: "put", key, value: writeId });
  const [key] = guards.values();
  return { operations, points, fresh, guard: key && { key, writeId } };
}

export const nameOf = (entry: Entry): string => binaryString(forwardKey(entry));
