/**
 * The interfaces between e2d and its environment. lib/sys implements them on the real system; tests implement them in
 * memory with a simulated clock. Nothing else in lib/ may use `Deno.*`, the clock or randomness.
 */

/** Time. Wall time is for display and files; durations are measured by the monotonic clock only. */
export interface Clock {
  /** Milliseconds since the Unix epoch. May jump either way. */
  wallMs(): number;
  /** Milliseconds since an arbitrary start. Never decreases. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Randomness. `float` is for spreading load; `bytes` is cryptographically secure, for keys and nonces. */
export interface Random {
  /** Uniform in [0, 1). */
  float(): number;
  bytes(length: number): Uint8Array<ArrayBuffer>;
}

export interface HostPort {
  host: string;
  port: number;
}

export interface Datagram {
  data: Uint8Array<ArrayBuffer>;
  from: HostPort;
}

/** One bound UDP socket. */
export interface Datagrams {
  readonly local: HostPort;
  /** Resolves when the kernel has accepted the packet, which does not mean delivery. Throws E2dError `udp_send`. */
  send(data: Uint8Array, to: HostPort): Promise<void>;
  /** Ends when the socket is closed and its port free again. The queue is bounded: the oldest packets are dropped. */
  receive(): AsyncIterable<Datagram>;
  /** Packets dropped from the queue. Undefined: not counted. */
  readonly overflowed?: number;
  close(): void;
}

/** One TCP connection as a pair of Web streams. */
export interface Connection {
  readonly remote: HostPort;
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;
  /** Frees the socket immediately. Idempotent. */
  close(): void;
}

export interface Listener {
  readonly local: HostPort;
  /** Ends when the listener is closed. */
  accept(): AsyncIterable<Connection>;
  close(): void;
}

export interface Connections {
  /** Throws E2dError `tcp_dial` when refused, unreachable or aborted. */
  dial(to: HostPort, signal: AbortSignal): Promise<Connection>;
  /** Throws E2dError `address_in_use` or `tcp_listen`. */
  listen(at: HostPort): Promise<Listener>;
}

export interface FileInfo {
  kind: "file" | "directory" | "symlink" | "other";
  /** Bytes. */
  size: number;
  modifiedMs: number;
  /** Permission bits, e.g. 0o600. */
  mode: number;
  /** Identifies the file; a new file at the same path has another identity. Undefined: not known. */
  identity?: string;
  /** `self` is the user of this process. Undefined: the system has no owners. */
  owner?: "self" | "root" | "other";
  /** True when its group is the first group of this process. Undefined: the system has no groups. */
  ownGroup?: boolean;
}

/** Files. `undefined` always means absent; every other failure throws E2dError. */
export interface Files {
  /** Of a link itself; with `followLinks`, of its target. */
  info(path: string, options?: { followLinks?: boolean }): Promise<FileInfo | undefined>;
  read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  readText(path: string): Promise<string | undefined>;
  /** Names in a directory, sorted; undefined when there is no such directory. */
  list(path: string): Promise<string[] | undefined>;
  /** Writes completely or not at all: a temporary file beside the target, fsync, rename, fsync of the directory. */
  writeAtomic(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void>;
  /** As writeAtomic, but throws E2dError `file_exists` when the target exists. */
  writeNew(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void>;
  makeDirectory(path: string, options?: { mode?: number }): Promise<void>;
  /** Never replaces a file: throws E2dError `file_exists` when the new name exists. */
  rename(from: string, to: string): Promise<void>;
}

/** A file for random access. It is not locked: other processes may write to it meanwhile. */
export interface OpenFile {
  /** Bytes at the time it was opened. */
  readonly size: number;
  /** Fewer bytes than `length` only at the end of the file. Throws E2dError `file_read`. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): void;
}

export interface FileReader {
  /** Follows links. Undefined when there is no such file. Throws E2dError `file_read`. */
  open(path: string): Promise<OpenFile | undefined>;
}

/** A file that only grows, until it is emptied. */
export interface AppendFile {
  /** Bytes in the file. */
  readonly size: number;
  append(data: Uint8Array): Promise<void>;
  /** Truncates the file to zero bytes. */
  empty(): Promise<void>;
  /** Resolves when the bytes are on the disk. */
  sync(): Promise<void>;
  close(): void;
}

/** Large files and whole folders that are prepared under a temporary name, until one rename publishes them. */
export interface Staging {
  /** Identifies this process among all that run or ran on this machine: letters, digits and "-". */
  readonly owner: string;
  /** True while the process of this `owner` runs; may be true for another process that reuses its pid. */
  ownerRuns(owner: string): Promise<boolean>;
  /** Undefined when there is no such file. Chunks are bounded. */
  read(path: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>> | undefined>;
  /** Opens a file for writing at its end, and creates it if necessary. Throws E2dError `disk_full` or `file_write`. */
  append(path: string, options?: { mode?: number }): Promise<AppendFile>;
  /** Makes one folder, mode 0700. Throws E2dError `file_exists` when the name exists, even as a dangling link. */
  makeNewFolder(path: string): Promise<void>;
  /** Renames a folder and syncs the rename. Never replaces a folder that is not empty. */
  moveFolder(from: string, to: string): Promise<"moved" | "taken" | "gone">;
  /**
   * Makes a synced copy of a file, which shares its blocks where the file system can. False when there is no such file.
   * Throws E2dError `disk_full` or `file_write`.
   */
  copyFile(from: string, to: string): Promise<boolean>;
  /** Renames a file, replacing an existing one, and syncs the rename. The file itself must be synced before. */
  replaceFile(from: string, to: string): Promise<void>;
  /** Removes a file, or a folder with its contents. Succeeds when it does not exist. */
  remove(path: string): Promise<void>;
  /** Bytes that this user can still write to the file system of this path; undefined when it is not known. */
  freeBytes(path: string): Promise<number | undefined>;
}

/** A lock that the system releases when the process of its holder exits for any reason. */
export interface FileLock {
  /** The text of the previous holder; at most 64 KiB. */
  readonly found: string;
  /** Replaces the text, not atomically. */
  write(text: string): Promise<void>;
  release(): void;
}

export interface Locks {
  /**
   * Creates the file if necessary. Undefined when another process holds the lock during all of `waitMs`. Throws E2dError
   * `file_read` or `file_write`.
   */
  take(path: string, waitMs: number): Promise<FileLock | undefined>;
}

export interface ProcessExit {
  code: number;
  signal: string | undefined;
}

export interface Process {
  readonly pid: number;
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly stderr: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly exited: Promise<ProcessExit>;
  kill(signal: "SIGTERM" | "SIGKILL" | "SIGINT"): void;
}

export interface Processes {
  /** Throws E2dError `process_start` when the program is missing or not executable. */
  start(program: string, args: readonly string[], options?: {
    environment?: Readonly<Record<string, string>>;
    /** Names of the variables that the child inherits from this process. Default: all. */
    inherit?: RegExp;
    /** Ask the system to end the child when this process dies, if it can. Default false. */
    dieWithParent?: boolean;
    /** Start the child in its own session, which signals of a terminal do not reach. Default false. */
    ownSession?: boolean;
  }): Promise<Process>;
  /** The process that has this pid now; undefined when there is none, or it is not known. */
  identify(pid: number): Promise<ProcessIdentity | undefined>;
  /** For a process that this one did not start. Succeeds when it has exited. Throws E2dError `process_kill`. */
  kill(pid: number, signal: "SIGTERM" | "SIGKILL"): void;
}

/** A pid is reused; pid and start together identify a process. */
export interface ProcessIdentity {
  pid: number;
  /** Equal text: the same process. */
  started: string;
  /** The program and its arguments; empty when the process is exiting. */
  args: readonly string[];
}

/** The service manager that started this process, and that is notified of its state. Nothing here throws. */
export interface ServiceManager {
  /** The service manager ends this process without WATCHDOG=1 for this long. Undefined: it does not. */
  readonly watchdogMs?: number;
  /** Sends variables of sd_notify(3). Resolves when they were sent, or could not be sent. */
  tell(state: Readonly<Record<string, string>>): Promise<void>;
  close(): void;
}

/** The platform's `fetch`; tests pass their own. */
export type Http = (url: string | URL, init?: RequestInit & { signal?: AbortSignal | null }) => Promise<Response>;

/**
 * The body of an answer of status 200, over a new connection and never through a proxy. `tls` is for https: PEM texts,
 * including the client's certificate if the server requires one. Throws for every other answer.
 */
export type DirectGet = (
  url: string,
  tls:
    | { readonly ca: string; readonly certificate?: string | undefined; readonly key?: string | undefined }
    | undefined,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
) => Promise<string>;

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log. The implementation masks fields named like a secret, and leaves out undefined fields. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with fields added to each line. */
  with(fields: LogFields): Logger;
}

/** The result of one TLS handshake with an HTTP server. */
export type TlsProbeResult =
  /** Both sides accepted each other's certificate: the server answered. */
  | { kind: "accepted" }
  /** The server's certificate does not verify under `trusted`, or does not name the host. */
  | { kind: "untrusted"; detail: string }
  /** The server rejected the client's certificate. */
  | { kind: "refused"; detail: string }
  | { kind: "unreachable"; detail: string };

/** Tests by one handshake which certificates a server trusts and presents. All texts are PEM. Throws only the signal's reason. */
export type TlsProbe = (
  to: HostPort,
  credentials: { trusted: string; certificate: string; key: string },
  signal: AbortSignal,
) => Promise<TlsProbeResult>;

export interface ServiceRecord extends HostPort {
  priority: number;
  weight: number;
}

/**
 * DNS queries. `undefined`: a name server answered that the name, or records of this type, do not exist. Throws E2dError
 * `dns_failed` when the servers refuse, fail, do not answer or send an invalid answer.
 */
export interface Resolver {
  /** SRV. Targets without their last dot. */
  services(name: string, signal: AbortSignal): Promise<readonly ServiceRecord[] | undefined>;
  /** A and AAAA. */
  addresses(name: string, signal: AbortSignal): Promise<readonly string[] | undefined>;
}

export interface NetworkAddress {
  /** Name of the interface. */
  device: string;
  /** Without zone and prefix length. */
  address: string;
}

/** The addresses and routes of this machine. */
export interface Network {
  addresses(): readonly NetworkAddress[];
  /** Interfaces of the default routes, the preferred one first; empty when there is none, or it is not known. */
  defaultDevices(): Promise<readonly string[]>;
}

/**
 * Calls a gRPC method that streams its answer. `messages` has the bytes of the length-prefixed messages as a byte stream
 * with backpressure, which fails when the connection fails; `refusal` is the status of a server that sent no message.
 * Throws when the call cannot be made. Trailers are not available: the reader must know the end of the stream, and must
 * call `close` there.
 */
export type OpenGrpcStream = (request: {
  /** "https://10.0.0.1:2379/etcdserverpb.Maintenance/Snapshot" */
  readonly url: string;
  readonly message: Uint8Array<ArrayBuffer>;
  /** PEM texts. */
  readonly tls?: { readonly ca: string; readonly certificate?: string | undefined; readonly key?: string | undefined };
  readonly signal: AbortSignal;
}) => Promise<
  | { readonly kind: "messages"; readonly body: ReadableStream<Uint8Array<ArrayBuffer>>; close(): void }
  | { readonly kind: "refusal"; readonly code: number; readonly details: string }
>;
