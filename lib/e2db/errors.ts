/** Details of an {@link E2dbError}, all optional. */
export interface E2dbErrorDetails {
  table?: string | undefined;
  field?: string | undefined;
  /** What the caller can do next, as an instruction. */
  hint?: string | undefined;
  cause?: unknown;
}

/** Every code of an {@link E2dbError}; stable between releases. */
export type E2dbErrorCode =
  | "bad_cursor"
  | "bad_import"
  | "bad_schema"
  | "closed"
  | "compacted"
  | "conflict"
  | "corrupt"
  | "duplicate"
  | "lock_lost"
  | "lock_timeout"
  | "missing_required"
  | "not_found"
  | "not_indexed"
  | "outcome_unknown"
  | "schema_change"
  | "stale_version"
  | "too_large"
  | "unavailable"
  | "unknown_field"
  | "unknown_table"
  | "wrong_key"
  | "wrong_type";

/**
 * The base class of every error that e2db throws deliberately. Catch by class (`instanceof DuplicateError`) or, across copies of
 * the module, by `code`.
 */
export class E2dbError extends Error {
  override readonly name: string = "E2dbError";
  readonly code: E2dbErrorCode;
  readonly table: string | undefined;
  readonly field: string | undefined;
  readonly hint: string | undefined;

  constructor(code: E2dbErrorCode, message: string, details: E2dbErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.table = details.table;
    this.field = details.field;
    this.hint = details.hint;
  }
}

/** A cursor that was not made by this query. */
export class BadCursorError extends E2dbError {
  override readonly name = "BadCursorError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("bad_cursor", message, details);
  }
}

/** An invalid line of an import; the message has its number. */
export class BadImportError extends E2dbError {
  override readonly name = "BadImportError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("bad_import", message, details);
  }
}

/** An invalid table declaration, detected before anything is sent. */
export class BadSchemaError extends E2dbError {
  override readonly name = "BadSchemaError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("bad_schema", message, details);
  }
}

/** This program has closed the database. */
export class ClosedError extends E2dbError {
  override readonly name = "ClosedError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("closed", message, details);
  }
}

/** etcd has compacted the requested revision. */
export class CompactedError extends E2dbError {
  override readonly name = "CompactedError";
  /** The oldest revision that can still be read; 0 when etcd did not report it. */
  readonly compactRevision: number;
  constructor(message: string, details: E2dbErrorDetails & { compactRevision: number }) {
    super("compacted", message, details);
    this.compactRevision = details.compactRevision;
  }
}

/** Other writers committed first at every attempt. Nothing was written. */
export class ConflictError extends E2dbError {
  override readonly name = "ConflictError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("conflict", message, details);
  }
}

/** Stored bytes that e2db did not write, or that another program has changed. */
export class CorruptError extends E2dbError {
  override readonly name = "CorruptError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("corrupt", message, details);
  }
}

/** The id, or the value of a unique field, belongs to another row. */
export class DuplicateError extends E2dbError {
  override readonly name = "DuplicateError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("duplicate", message, details);
  }
}

/** The lock is no longer held; the write that it fenced was not made. */
export class LockLostError extends E2dbError {
  override readonly name = "LockLostError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("lock_lost", message, details);
  }
}

/** Another holder kept the lock for longer than `waitMs`. */
export class LockTimeoutError extends E2dbError {
  override readonly name = "LockTimeoutError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("lock_timeout", message, details);
  }
}

/** A required field without a value. */
export class MissingRequiredError extends E2dbError {
  override readonly name = "MissingRequiredError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("missing_required", message, details);
  }
}

/** The row to change does not exist. */
export class NotFoundError extends E2dbError {
  override readonly name = "NotFoundError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("not_found", message, details);
  }
}

/** A query that no index can answer. */
export class NotIndexedError extends E2dbError {
  override readonly name = "NotIndexedError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("not_indexed", message, details);
  }
}

/** The connection broke after a write was sent, and etcd's history no longer shows whether it was applied. */
export class OutcomeUnknownError extends E2dbError {
  override readonly name = "OutcomeUnknownError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("outcome_unknown", message, details);
  }
}

/** A declaration that does not fit the stored table; `hint` lists the steps to take. */
export class SchemaChangeError extends E2dbError {
  override readonly name = "SchemaChangeError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("schema_change", message, details);
  }
}

/** The row has changed since the version that the caller passed. */
export class StaleVersionError extends E2dbError {
  override readonly name = "StaleVersionError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("stale_version", message, details);
  }
}

/** More than fits into one etcd transaction (128 operations, 1.5 MiB), or into one key. */
export class TooLargeError extends E2dbError {
  override readonly name = "TooLargeError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("too_large", message, details);
  }
}

/** etcd did not answer within the time limit. A write was certainly not applied. */
export class UnavailableError extends E2dbError {
  override readonly name = "UnavailableError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("unavailable", message, details);
  }
}

/** The table has no field of this name. */
export class UnknownFieldError extends E2dbError {
  override readonly name = "UnknownFieldError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("unknown_field", message, details);
  }
}

/** The table does not exist, or was dropped. */
export class UnknownTableError extends E2dbError {
  override readonly name = "UnknownTableError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("unknown_table", message, details);
  }
}

/** An encrypted value that none of the given keys opens. */
export class WrongKeyError extends E2dbError {
  override readonly name = "WrongKeyError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("wrong_key", message, details);
  }
}

/** A value of a type that the field does not accept. */
export class WrongTypeError extends E2dbError {
  override readonly name = "WrongTypeError";
  constructor(message: string, details?: E2dbErrorDetails) {
    super("wrong_type", message, details);
  }
}
