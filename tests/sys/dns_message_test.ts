import fc from "fast-check";
import { isE2dError } from "../../lib/errors.ts";
import { decodeAnswer, encodeQuestion } from "../../lib/sys/dns_message.ts";
import { encode } from "../support/dns_server.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";

const hex = (bytes: Uint8Array) => bytes.toHex();

Deno.test("encodeQuestion() encodes a recursive query that allows answers of 1232 bytes", () => {
  assertEquals(
    hex(encodeQuestion(0x1234, "a.bc.", "SRV")),
    "1234" + "0100" + "0001000000000001" + "0161" + "026263" + "00" + "0021" + "0001" + "00" + "0029" + "04d0" +
      "00000000" + "0000",
  );
});

Deno.test("encodeQuestion() refuses invalid names", async () => {
  for (const name of ["", "a..b", `${"x".repeat(64)}.test`, "abcdefgh.".repeat(30)]) {
    await assertE2dError("dns_name", () => encodeQuestion(1, name, "A"));
  }
});

const question = encodeQuestion(7, "x.test", "SRV");
const answer = encode(question, { services: [{ host: "n1.x.test", port: 7980, priority: 1, weight: 2 }] }, false);

Deno.test("decodeAnswer() refuses an answer that is truncated at any byte", async () => {
  assertEquals(decodeAnswer(answer).records.length, 1);
  for (let length = 0; length < answer.length; length++) {
    await assertE2dError("dns_answer", () => decodeAnswer(answer.subarray(0, length)));
  }
});

Deno.test("decodeAnswer() refuses names that point at themselves or forward", async () => {
  const looping = Uint8Array.from([0, 7, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]);
  await assertE2dError("dns_answer", () => decodeAnswer(looping));
});

Deno.test("decodeAnswer() terminates and throws only dns_answer for random bytes", () => {
  const changed = fc.tuple(fc.nat(answer.length - 1), fc.nat(255)).map(([at, value]) => {
    const bytes = answer.slice();
    bytes[at] = value;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), changed), (bytes) => {
      try {
        decodeAnswer(bytes);
      } catch (error) {
        if (!isE2dError(error, "dns_answer")) throw error;
      }
    }),
    { seed: 53, numRuns: 5000 },
  );
});
