/**
 * The seams between e2d's rules and the world: interfaces only. lib/sys implements them on the real system, tests
 * implement them in memory under a simulated clock. Nothing else in lib/ touches `Deno.*`, the clock or chance.
 */

/** Time. Wall time is for people and files; durations are measured on the monotonic clock alone. */
export interface Clock {
  /** Milliseconds since the Unix epoch. May jump either way. */
  wallMs(): number;
  /** Milliseconds since an arbitrary start. Never goes back. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Chance. `float` is for spreading load, `bytes` is fit for keys and nonces. */
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
  /** Resolves when the kernel has taken the packet; says nothing about arrival. Throws E2dError `udp_send`. */
  send(data: Uint8Array, to: HostPort): Promise<void>;
  /** Ends when the socket is closed and its port free again. Packets nobody has asked for yet are bounded: the oldest are dropped. */
  receive(): AsyncIterable<Datagram>;
  /** Packets that were dropped so. Undefined: nobody counts. */
  readonly overflowed?: number;
  close(): void;
}

/** One TCP connection as a pair of Web streams. */
export interface Connection {
  readonly remote: HostPort;
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;
  /** Frees the socket at once; safe to call twice. */
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
}

/** Files. `undefined` always means «not there»; everything else that goes wrong throws E2dError. */
export interface Files {
  /** Of a link itself; with `followLinks` of what it leads to. */
  info(path: string, options?: { followLinks?: boolean }): Promise<FileInfo | undefined>;
  read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  readText(path: string): Promise<string | undefined>;
  /** Names in a directory, sorted; undefined when there is no such directory. */
  list(path: string): Promise<string[] | undefined>;
  /** Temporary file beside the target, fsync, rename, fsync of the directory: whole or not at all. */
  writeAtomic(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void>;
  /** As writeAtomic, but fails with E2dError `file_exists` when the target is there. */
  writeNew(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void>;
  makeDirectory(path: string, options?: { mode?: number }): Promise<void>;
  /** Never replaces: throws E2dError `file_exists` when the new name is taken. */
  rename(from: string, to: string): Promise<void>;
}

/** A file to be read anywhere in it. It is not locked: others may write to it meanwhile. */
export interface OpenFile {
  /** Bytes when it was opened. */
  readonly size: number;
  /** Fewer bytes than `length` only where the file ends. Throws E2dError `file_read`. */
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
  /** Forgets everything written so far. */
  empty(): Promise<void>;
  /** Resolves when the bytes are on the disk. */
  sync(): Promise<void>;
  close(): void;
}

/** Big files and whole folders on their way into place: what is downloaded or unpacked until one rename shows it. */
export interface Staging {
  /** Names this process among all that run or ran on this machine: letters, digits and "-". */
  readonly owner: string;
  /** True while the process that an `owner` names is running; may be true of another one that got its number. */
  ownerRuns(owner: string): Promise<boolean>;
  /** Undefined when there is no such file. Chunks are bounded. */
  read(path: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>> | undefined>;
  /** Opens to write at the end; makes the file when there is none. Throws E2dError `disk_full` or `file_write`. */
  append(path: string, options?: { mode?: number }): Promise<AppendFile>;
  /** Gives a folder its new name and makes that last. Never replaces a folder with something in it. */
  moveFolder(from: string, to: string): Promise<"moved" | "taken" | "gone">;
  /** Gives a file its name, in place of what had it, and makes that last. Its bytes must be on the disk. */
  replaceFile(from: string, to: string): Promise<void>;
  /** Removes a file, or a folder with all that is in it; succeeds when nothing is there. */
  remove(path: string): Promise<void>;
}

/** A lock that the system takes back when its holder ends, however it ends. */
export interface FileLock {
  /** What the holder before wrote, be it long dead; at most 64 KiB. */
  readonly found: string;
  /** Replaces the text; readers may see half of it. */
  write(text: string): Promise<void>;
  release(): void;
}

export interface Locks {
  /**
   * Makes the file when there is none. Undefined when another process holds it for all of `waitMs`. Throws E2dError
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
    /** Names of the variables of this process that the child is to have. Default: all. */
    inherit?: RegExp;
    /** Ask the system to end the child when this process dies, where it can. Default false. */
    dieWithParent?: boolean;
  }): Promise<Process>;
  /** Who runs under this number now; undefined when nobody does, or the system does not tell. */
  identify(pid: number): Promise<ProcessIdentity | undefined>;
  /** To a process that this one did not start. No error when it is gone. Throws E2dError `process_kill`. */
  kill(pid: number, signal: "SIGTERM" | "SIGKILL"): void;
}

/** Numbers of processes come again; number and start together do not. */
export interface ProcessIdentity {
  pid: number;
  /** Equal text: the same process. */
  started: string;
  /** The program and its arguments; empty when it has given back its memory and is about to end. */
  args: readonly string[];
}

/** Who started this process as a service, and wants to know how it is. Nothing here throws: a service runs without, too. */
export interface ServiceManager {
  /** So often at least it wants WATCHDOG=1, else it ends this process. Undefined: never. */
  readonly watchdogMs?: number;
  /** Variables of sd_notify(3). Resolves when they were sent, or could not be. */
  tell(state: Readonly<Record<string, string>>): Promise<void>;
  close(): void;
}

/** `fetch` as the platform has it; tests hand in their own. */
export type Http = (url: string | URL, init?: RequestInit & { signal?: AbortSignal | null }) => Promise<Response>;

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log. Fields named like a secret are masked by the implementation, not by the caller. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with fields added to each line. */
  with(fields: LogFields): Logger;
}

/** What one TLS handshake with an HTTP server told. */
export type TlsProbeResult =
  /** Both sides took each other's certificate: an answer came. */
  | { kind: "accepted" }
  /** The server's certificate does not verify under `trusted`, or does not name the host. */
  | { kind: "untrusted"; detail: string }
  /** The server would have none of the certificate it was shown. */
  | { kind: "refused"; detail: string }
  | { kind: "unreachable"; detail: string };

/** Asks a server by one handshake what it trusts and shows. All texts are PEM. Throws nothing but the signal's reason. */
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
 * Questions to the domain name system. `undefined`: a name server says that there is no such name, or none of these
 * records under it. Throws E2dError `dns_failed` when the servers refuse, fail, stay silent or answer nonsense.
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

/** Where this machine stands in its networks. */
export interface Network {
  addresses(): readonly NetworkAddress[];
  /** Interfaces of the default routes, the preferred one first; empty where there is none or the system does not tell. */
  defaultDevices(): Promise<readonly string[]>;
}

/**
 * The answer of a gRPC method that is a stream, as the bytes of its length-prefixed messages, with backpressure: a byte
 * stream, which fills buffers that its reader brings along. Errors of the connection are the stream's errors, of any kind.
 * Throws what kept the call from being made; `refusal` is the status of a server that answered with no message at all.
 * Trailers are not seen: whoever reads must know the end, and call `close` when it has read enough.
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
