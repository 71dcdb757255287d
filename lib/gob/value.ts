/**
 * Types and values of Go's encoding/gob that e2d needs: numbers, texts, byte strings, structs, lists, maps and types that
 * encode themselves (time). A reader must not rely on type ids, which depend on earlier output of the Go process: it uses
 * the definitions in the stream and finds struct fields by name.
 */
type Bytes = Uint8Array<ArrayBuffer>;

/**
 * A type as its encoder describes it. `opaque` is a Go type that encodes itself, such as time.Time. A struct that Go
 * reaches only by a pointer has an empty name.
 */
export type GobType =
  | { kind: "bool" | "int" | "uint" | "float" | "bytes" | "string" }
  | { kind: "struct"; name: string; fields: readonly { name: string; type: GobType }[] }
  | { kind: "list"; name: string; element: GobType }
  | { kind: "map"; name: string; key: GobType; element: GobType }
  | { kind: "opaque"; name: string };

/** `uint` and `int` are distinct because Go does not read one as the other. Zero-valued fields are absent. */
export type GobValue =
  | { kind: "bool"; value: boolean }
  | { kind: "int" | "uint"; value: bigint }
  | { kind: "float"; value: number }
  | { kind: "bytes" | "opaque"; value: Bytes }
  | { kind: "string"; value: string }
  | { kind: "struct"; fields: ReadonlyMap<string, GobValue> }
  | { kind: "list"; values: readonly GobValue[] }
  | { kind: "map"; entries: readonly (readonly [GobValue, GobValue])[] };

/** The ids of Go's built-in types, equal in every process. */
export const gobBuiltInIds: Readonly<Record<string, number>> = {
  bool: 1,
  int: 2,
  uint: 3,
  float: 4,
  bytes: 5,
  string: 6,
};
