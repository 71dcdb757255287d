/** Typed access to the fields of a decoded gob struct. As in Go, an absent field is zero. Another kind is an error. */
import { E2dError } from "../errors.ts";
import type { GobValue } from "./value.ts";

export class GobFields {
  readonly #fields: ReadonlyMap<string, GobValue>;
  readonly #what: string;

  /** `what` names the struct in errors. Throws E2dError `gob_decode` if the value is not a struct. */
  constructor(value: GobValue, what: string) {
    if (value.kind !== "struct") throw new E2dError("gob_decode", `Cannot read "${what}": it is not a struct`);
    this.#fields = value.fields;
    this.#what = what;
  }

  text(name: string): string {
    return this.#of(name, "string")?.value ?? "";
  }

  int(name: string): bigint {
    return this.#of(name, "int")?.value ?? 0n;
  }

  uint(name: string): bigint {
    return this.#of(name, "uint")?.value ?? 0n;
  }

  opaque(name: string): Uint8Array<ArrayBuffer> | undefined {
    return this.#of(name, "opaque")?.value;
  }

  texts(name: string): string[] {
    return (this.#of(name, "list")?.values ?? []).map((value) => {
      if (value.kind !== "string") throw this.#wrong(name, value.kind);
      return value.value;
    });
  }

  #of<K extends GobValue["kind"]>(name: string, kind: K): GobValue & { kind: K } | undefined {
    const value = this.#fields.get(name);
    if (value === undefined) return undefined;
    if (value.kind !== kind) throw this.#wrong(name, value.kind);
    return value as GobValue & { kind: K };
  }

  #wrong(name: string, kind: string): E2dError {
    return new E2dError("gob_decode", `Cannot read field "${name}" of "${this.#what}": it is of kind "${kind}"`);
  }
}
