/**
 * Go's encoding/gob, as far as values of e2d go: whole numbers, texts, byte strings, structs, lists, maps and types that
 * encode themselves (time). A reader trusts no type id: ids depend on what a Go process has encoded before, so the
 * definitions in the stream are followed and struct fields are found by name.
 */
type Bytes = Uint8Array<ArrayBuffer>;

/**
 * A type as its encoder describes it. `opaque` is a Go type that writes its own bytes, as time.Time does. A
 * struct that Go knows by a pointer alone has the empty name.
 */
export type GobType =
  | { kind: "bool" | "int" | "uint" | "float" | "bytes" | "string" }
  | { kind: "struct"; name: string; fields: readonly { name: string; type: GobType }[] }
  | { kind: "list"; name: string; element: GobType }
  | { kind: "map"; name: string; key: GobType; element: GobType }
  | { kind: "opaque"; name: string };

/** `uint` and `int` are kept apart because Go refuses to read one as the other. Zero-valued fields are not there. */
export type GobValue =
  | { kind: "bool"; value: boolean }
  | { kind: "int" | "uint"; value: bigint }
  | { kind: "float"; value: number }
  | { kind: "bytes" | "opaque"; value: Bytes }
  | { kind: "string"; value: string }
  | { kind: "struct"; fields: ReadonlyMap<string, GobValue> }
  | { kind: "list"; values: readonly GobValue[] }
  | { kind: "map"; entries: readonly (readonly [GobValue, GobValue])[] };

/** The ids that Go's own types have in every process. */
export const gobBuiltInIds: Readonly<Record<string, number>> = {
  bool: 1,
  int: 2,
  uint: 3,
  float: 4,
  bytes: 5,
  string: 6,
};
