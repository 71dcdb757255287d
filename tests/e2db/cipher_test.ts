import { Cipher, type Place } from "../../lib/e2db/schema/cipher.ts";
import { Sealed } from "../../lib/e2db/schema/codec.ts";
import { defaultPlatform } from "../../lib/e2db/platform.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { assertDbError } from "./suites/assert_db_error.ts";

const place: Place = { table: "t", field: "f", id: "1" };
const key = new Uint8Array(32).fill(1);
const cipher = await Cipher.create([key], defaultPlatform);

Deno.test("Cipher.open() returns the value given to seal(), and no two sealed values are equal", async () => {
  for (const value of ["", "text \0 😀", 5, null, new Date(7), { list: [new Uint8Array([1])] }]) {
    const sealed = await cipher.seal(value, place);
    assertEquals(await cipher.open(sealed, place), value);
    assert((await cipher.seal(value, place)).bytes.join() !== sealed.bytes.join());
  }
});

Deno.test("Cipher.open() refuses a value of another table, field or row", async () => {
  const sealed = await cipher.seal("x", place);
  const elsewhere = [{ ...place, table: "u" }, { ...place, field: "g" }, { ...place, id: "2" }, { ...place, id: 1 }];
  for (const other of elsewhere) {
    const error = await assertDbError("corrupt", () => cipher.open(sealed, other));
    assertEquals([error.table, error.field], [other.table, other.field]);
  }
  // Names that are equal only when concatenated must stay distinct.
  const joined = await cipher.seal("x", { table: "ab", field: "c", id: "1" });
  await assertDbError("corrupt", () => cipher.open(joined, { table: "a", field: "bc", id: "1" }));
});

Deno.test("Cipher.open() refuses every changed byte and every truncation", async () => {
  const { bytes } = await cipher.seal("secret", place);
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at]! ^= 1;
    // Bytes 1 to 4 are the key's name: changed, they name a key that was not given.
    const code = at >= 1 && at <= 4 ? "wrong_key" : "corrupt";
    await assertDbError(code, () => cipher.open(new Sealed(changed), place));
    await assertDbError("corrupt", () => cipher.open(new Sealed(bytes.slice(0, at)), place));
  }
});

Deno.test("Cipher distinguishes a wrong key from no key, decrypts with old keys and encrypts with the first", async () => {
  const sealed = await cipher.seal("x", place);
  const other = new Uint8Array(32).fill(2);
  await assertDbError("wrong_key", async () => (await Cipher.create([other], defaultPlatform)).open(sealed, place));
  const none = await Cipher.create([], defaultPlatform);
  await assertDbError("wrong_key", () => none.open(sealed, place));
  await assertDbError("wrong_key", () => none.seal("x", place));
  const both = await Cipher.create([other, key], defaultPlatform);
  assertEquals(await both.open(sealed, place), "x");
  await assertDbError("wrong_key", async () => cipher.open(await both.seal("x", place), place));
  await assertDbError("bad_schema", () => Cipher.create([new Uint8Array(16)], defaultPlatform));
});
