/**
 * Encrypts fields by AES-256-GCM with a random 96-bit nonce for each value. The additional data binds a value to its
 * table, field and row, so that a value that was moved cannot be decrypted. Layout: 1 byte format, 4 bytes key name (the
 * start of the key's SHA-256), 12 bytes nonce, ciphertext with its 16-byte tag.
 *
 * A random nonce is safe for about 2^32 values under one key (NIST SP 800-38D, 8.3).
 */
import { compareBytes, concat, fromUtf8, utf8 } from "./bytes.ts";
import { decodeValue, encodeValue, Sealed } from "./codec.ts";
import { BadSchemaError, CorruptError, E2dbError, WrongKeyError } from "../errors.ts";
import { encodeOrdered, type Orderable } from "./order.ts";
import type { Platform } from "../platform.ts";

/** The place to which a value is bound. */
export interface Place {
  table: string;
  field: string;
  id: Orderable;
}

interface Key {
  name: Uint8Array;
  key: CryptoKey;
}

const format = 1;
const keyNameBytes = 4;
const nonceBytes = 12;
const headerBytes = 1 + keyNameBytes + nonceBytes;

export class Cipher {
  readonly #keys: readonly Key[];
  readonly #platform: Platform;

  private constructor(keys: readonly Key[], platform: Platform) {
    this.#keys = keys;
    this.#platform = platform;
  }

  /** The first key encrypts, all keys decrypt. Throws BadSchemaError unless each has 32 bytes. */
  static async create(rawKeys: readonly Uint8Array[], platform: Platform): Promise<Cipher> {
    const keys = await Promise.all(rawKeys.map(async (raw) => {
      if (raw.length !== 32) {
        throw new BadSchemaError(`Cannot use an encryption key of ${raw.length} bytes: AES-256 takes 32`, {
          hint: "derive 32 bytes from a passphrase with a slow hash, or generate them",
        });
      }
      const bytes = new Uint8Array(raw);
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      const key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
      return { name: digest.slice(0, keyNameBytes), key };
    }));
    return new Cipher(keys, platform);
  }

  /** Throws WrongKeyError when open() got no key. */
  async seal(value: unknown, place: Place): Promise<Sealed> {
    const [key] = this.#keys;
    if (key === undefined) throw noKey("write", place);
    const nonce = this.#platform.randomBytes(nonceBytes);
    const plain = utf8(encodeValue(value));
    const body = await crypto.subtle.encrypt(
      { name: "AES-GCM", iv: nonce, additionalData: additionalData(place) },
      key.key,
      plain,
    );
    return new Sealed(concat(Uint8Array.of(format), key.name, nonce, new Uint8Array(body)));
  }

  /** Throws WrongKeyError when no key matches, CorruptError when the value was truncated, changed or moved. */
  async open(sealed: Sealed, place: Place): Promise<unknown> {
    if (this.#keys.length === 0) throw noKey("read", place);
    const { bytes } = sealed;
    const where = `encrypted field "${place.field}" of table "${place.table}"`;
    if (bytes.length < headerBytes + 16 || bytes[0] !== format) {
      throw new CorruptError(`Cannot read ${where}: not a sealed value`, place);
    }
    const name = bytes.subarray(1, 1 + keyNameBytes);
    const fitting = this.#keys.filter((key) => compareBytes(key.name, name) === 0);
    if (fitting.length === 0) {
      throw new WrongKeyError(`Cannot read ${where}: sealed with another key`, {
        ...placeOf(place),
        hint: "pass the key it was sealed with in open({ key, oldKeys })",
      });
    }
    const nonce = bytes.slice(1 + keyNameBytes, headerBytes);
    for (const { key } of fitting) {
      try {
        const plain = await crypto.subtle.decrypt(
          { name: "AES-GCM", iv: nonce, additionalData: additionalData(place) },
          key,
          bytes.slice(headerBytes),
        );
        return decodeValue(fromUtf8(new Uint8Array(plain)));
      } catch (error) {
        if (error instanceof E2dbError) throw error;
      }
    }
    throw new CorruptError(`Cannot read ${where}: it fails authentication`, {
      ...placeOf(place),
      hint: "the value was changed, or copied from another row, field or table",
    });
  }
}

const placeOf = ({ table, field }: Place) => ({ table, field });

const additionalData = ({ table, field, id }: Place) =>
  concat(encodeOrdered(table), encodeOrdered(field), encodeOrdered(id));

const noKey = (verb: string, place: Place) =>
  new WrongKeyError(`Cannot ${verb} encrypted field "${place.field}" of table "${place.table}": no key was given`, {
    ...placeOf(place),
    hint: "pass a 32-byte key in open({ key })",
  });
