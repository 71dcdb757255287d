/**
 * A short name for a value that several nodes must agree on: 128 bits of a fixed mixing function (cyrb128) over
 * text. It detects disagreement between honest nodes; it is no cryptographic hash and protects no secret.
 */
export function digestOf(...parts: readonly string[]): string {
  // Each part is preceded by its length: different lists have different texts.
  const text = parts.map((part) => `${part.length}:${part}`).join("");
  let h1 = 1779033703, h2 = 3144134277, h3 = 1013904242, h4 = 2773480762;
  for (let i = 0; i < text.length; i++) {
    const k = text.charCodeAt(i);
    h1 = h2 ^ Math.imul(h1 ^ k, 597399067);
    h2 = h3 ^ Math.imul(h2 ^ k, 2869860233);
    h3 = h4 ^ Math.imul(h3 ^ k, 951274213);
    h4 = h1 ^ Math.imul(h4 ^ k, 2716044179);
  }
  h1 = Math.imul(h3 ^ (h1 >>> 18), 597399067);
  h2 = Math.imul(h4 ^ (h2 >>> 22), 2869860233);
  h3 = Math.imul(h1 ^ (h3 >>> 17), 951274213);
  h4 = Math.imul(h2 ^ (h4 >>> 19), 2716044179);
  h1 ^= h2 ^ h3 ^ h4;
  return [h1, h2 ^ h1, h3 ^ h1, h4 ^ h1].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}
