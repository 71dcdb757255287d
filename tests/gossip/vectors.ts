/** The vectors that real Go nodes have written, by name. All byte values are hex. */
import file from "../vectors/memberlist-vectors.json" with { type: "json" };

export interface Vector {
  name: string;
  layer: string;
  meaning: string;
  hex?: string;
  request_hex?: string;
  reply_hex?: string;
  key?: string;
  nonce?: string;
  aad?: string;
  ca_key_der_hex?: string;
  label?: string;
  layers?: string[];
  // deno-lint-ignore no-explicit-any -- the shape differs from layer to layer; tests name the fields they need
  decoded?: any;
  // deno-lint-ignore no-explicit-any -- as above
  expect?: any;
  cases?: { input: string; hex: string }[];
}

export const vectors = file.vectors as unknown as Vector[];

export function vector(name: string): Vector {
  const found = vectors.find((candidate) => candidate.name === name);
  if (!found) throw new Error(`no vector "${name}"`);
  return found;
}

export const hex = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.fromHex(text);
