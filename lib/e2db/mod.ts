/**
 * e2db: typed tables on etcd with serializable transactions. See docs/e2db.md.
 *
 * ```ts
 * import { field, open } from "@e2d/e2d/e2db";
 *
 * await using db = await open({ hosts: "http://127.0.0.1:2379", namespace: "app" });
 * const users = await db.table("users", {
 *   id: field.id(),
 *   email: field.string().unique().required(),
 *   age: field.number().index(),
 * });
 * await users.insert({ email: "a@b.c", age: 33 });
 * const adults = await users.where("age").gte(18).orderBy("age").limit(20).all();
 * ```
 * @module
 */
export { type CheckProblem, type CheckReport } from "./check.ts";
export { Db, open, type OpenOptions, type Roles, type Tx } from "./db.ts";
export * from "./errors.ts";
export { EtcdKv, type EtcdOptions, openEtcdKv } from "./kv/etcd_kv.ts";
export { type AnyField, Field, field, type FieldMap, type IdOf, type InsertOf, type RowOf } from "./schema/field.ts";
export {
  type Compare,
  type KeyValue,
  type Kv,
  KvError,
  type KvErrorKind,
  type Operation,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
  type WatchBatch,
  type WatchEvent,
  type WatchRequest,
} from "./kv/kv.ts";
export { Lock, type LockOptions } from "./kv/lock.ts";
export { MemoryKv } from "./kv/memory_kv.ts";
export { type Platform } from "./platform.ts";
export { type ExportOptions, type ImportOptions, type ImportReport } from "./portable.ts";
export { FieldCondition, type Page, Query, type SearchableKey } from "./query/query.ts";
export { type Narrowing } from "./schema/schema.ts";
export { type StandardSchema } from "./schema/standard_schema.ts";
export { type ChangeOptions, Table, type WriteOptions } from "./table.ts";
export { type Fence } from "./transaction.ts";
export { versionOf } from "./schema/version.ts";
export { type Change, type WatchOptions } from "./watch.ts";
