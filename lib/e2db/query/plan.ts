/** Which index answers a query. Pure: the same query on the same schema always gives the same plan. */
import { boundsOn, type Condition, isAnything } from "./condition.ts";
import { NotIndexedError } from "../errors.ts";
import { everything, type Intervals, isEverything } from "./interval.ts";
import type { TableMeta } from "../schema/schema.ts";

/** A scan of one ordered set of keys. */
export interface Scan {
  field: string;
  kind: "row" | "index" | "unique";
  intervals: Intervals;
}

export type Plan =
  /** `exact`: every row that is read meets the condition. `ordered`: rows come in the requested order. */
  | { kind: "scan"; scan: Scan; exact: boolean; ordered: boolean }
  /** Several scans, whose rows are deduplicated, filtered and sorted in memory. */
  | { kind: "union"; scans: Scan[] };

export interface PlanRequest {
  table: string;
  meta: TableMeta;
  condition: Condition;
  orderBy: string | undefined;
  /** Whether reading the whole table is allowed when no index narrows the condition. */
  scanAllowed: boolean;
}

interface Candidate {
  scan: Scan;
  exact: boolean;
  rank: number;
}

/** Throws NotIndexedError when the whole table must be read and that is not allowed. */
export function planQuery(request: PlanRequest): Plan {
  const { table, meta, condition, orderBy } = request;
  const best = bestScan(request);
  if (best !== undefined) {
    const { field, intervals } = best.scan;
    // The entries of one value are in the order of ids.
    const byId = orderBy === meta.id && intervals.length <= 1 && intervals.every((interval) => interval.point);
    const ordered = orderBy === undefined || orderBy === field || byId;
    return { kind: "scan", scan: best.scan, exact: best.exact, ordered };
  }
  const scans = unionOf(request, condition);
  if (scans !== undefined) return { kind: "union", scans };
  const orderKind = orderBy === undefined ? undefined : readableKind(meta, orderBy);
  const whole = isAnything(condition);
  if (!request.scanAllowed && !(whole && (orderBy === undefined || orderKind !== undefined))) {
    const field = whole ? orderBy! : fieldsOf(condition).find((name) => readableKind(meta, name) === undefined);
    throw new NotIndexedError(
      `Cannot query table "${table}"${field === undefined ? "" : ` by "${field}"`}: no index narrows it`,
      { table, field, hint: "add .index() to the field, or .scan() to the query to read the whole table" },
    );
  }
  const field = orderKind === undefined ? meta.id : orderBy!;
  const scan: Scan = { field, kind: orderKind ?? "row", intervals: everything };
  return { kind: "scan", scan, exact: whole, ordered: orderBy === undefined || orderBy === field };
}

/** The best index that the condition narrows; undefined when none does. There are no statistics: the kind decides. */
function bestScan({ meta, condition, orderBy }: PlanRequest): Candidate | undefined {
  let best: Candidate | undefined;
  for (const field of [meta.id, ...Object.keys(meta.fields)]) {
    const kind = readableKind(meta, field);
    if (kind === undefined) continue;
    const { intervals, exact } = boundsOn(field, condition);
    if (isEverything(intervals)) continue;
    const points = intervals.every((interval) => interval.point);
    // In order of preference: at most one row per value, the requested order, the rows of single values, a range.
    const rank = points && kind !== "index" ? 0 : field === orderBy ? 1 : points ? 2 : 3;
    if (best === undefined || rank < best.rank) best = { scan: { field, kind, intervals }, exact, rank };
  }
  return best;
}

/** Scans that together find every row: one index for each part of an `or`. */
function unionOf(request: PlanRequest, condition: Condition): Scan[] | undefined {
  if (condition.kind === "and") {
    for (const part of condition.parts) {
      const scans = unionOf(request, part);
      if (scans !== undefined) return scans;
    }
    return undefined;
  }
  if (condition.kind !== "or") return undefined;
  const scans: Scan[] = [];
  for (const part of condition.parts) {
    const one = bestScan({ ...request, condition: part });
    const several = one === undefined ? unionOf(request, part) : [one.scan];
    if (several === undefined) return undefined;
    scans.push(...several);
  }
  return scans;
}

/** How a field can be read in order; undefined when it cannot, or its index is not ready. */
function readableKind(meta: TableMeta, field: string): Scan["kind"] | undefined {
  if (field === meta.id) return "row";
  const shape = meta.fields[field];
  return shape === undefined || shape.index === "none" || shape.state !== "ready" ? undefined : shape.index;
}

/** Every field a condition names. */
function fieldsOf(condition: Condition): string[] {
  switch (condition.kind) {
    case "compare":
    case "in":
    case "startsWith":
      return [condition.field];
    case "and":
    case "or":
      return condition.parts.flatMap(fieldsOf);
    case "not":
      return fieldsOf(condition.part);
    default:
      return condition satisfies never;
  }
}
