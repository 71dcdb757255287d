/**
 * Notifies the service manager by sd_notify(3): lines of NAME=VALUE in one datagram to the socket that NOTIFY_SOCKET
 * names. Deno's own datagrams (`"unstable": ["net"]` in deno.json) reach sockets with a path; for the others, and where
 * Deno runs without that setting, the program systemd-notify sends it, which needs `NotifyAccess=all`.
 */
import type { Logger, ServiceManager } from "../ports.ts";

export interface NotifyPorts {
  readonly environment: (name: string) => string | undefined;
  /** Of this process. WATCHDOG_PID may name another one. */
  readonly pid: number;
  readonly log: Logger;
}

/** A state that the service manager did not receive by then is outdated. */
const sendTimeoutMs = 5_000;

/** Undefined when no service manager listens. */
export function serviceManager({ environment, pid, log }: NotifyPorts): ServiceManager | undefined {
  const socket = environment("NOTIFY_SOCKET");
  if (socket === undefined || socket === "") return undefined;
  const watchdogMs = watchdog(environment, pid);
  let warned = false;
  const failed = (error: unknown) => {
    log[warned ? "debug" : "warn"]("cannot notify the service manager", { socket, error: String(error) });
    warned = true;
  };
  const { send, close } = sender(socket);
  // Sent in order: READY=1 must not follow STOPPING=1.
  let last = Promise.resolve();
  return {
    ...(watchdogMs !== undefined && { watchdogMs }),
    tell(state) {
      const lines = Object.entries(state).map(([name, value]) => `${name}=${value.replace(/[\r\n]+/g, " ")}`);
      last = last.then(() => send(lines)).catch(failed);
      return last;
    },
    close,
  };
}

/** WATCHDOG_USEC has whole microseconds; undefined when it is invalid or meant for another process. */
function watchdog(environment: NotifyPorts["environment"], pid: number): number | undefined {
  const usec = Number(environment("WATCHDOG_USEC"));
  const watched = environment("WATCHDOG_PID");
  if (!Number.isSafeInteger(usec) || usec <= 0 || (watched !== undefined && Number(watched) !== pid)) return undefined;
  return usec / 1_000;
}

interface Sender {
  readonly send: (lines: readonly string[]) => Promise<void>;
  readonly close: () => void;
}

function sender(socket: string): Sender {
  const from = socket.startsWith("/") ? unnamed() : undefined;
  if (from === undefined) return throughSystemdNotify();
  return {
    async send(lines) {
      await within(from.send(new TextEncoder().encode(lines.join("\n")), { transport: "unixpacket", path: socket }));
    },
    close: () => from.close(),
  };
}

/**
 * A socket to send from. Deno binds a socket without a path only with all permissions, so this one gets a path in a
 * temporary folder that only this user can enter.
 */
function unnamed(): Deno.DatagramConn | undefined {
  let folder: string | undefined;
  try {
    folder = Deno.makeTempDirSync({ prefix: "e2d-notify-" });
    return Deno.listenDatagram({ transport: "unixpacket", path: `${folder}/from` });
  } catch {
    // This Deno lacks the feature or the permission, or there is no folder to write to.
    return undefined;
  } finally {
    if (folder !== undefined) Deno.removeSync(folder, { recursive: true });
  }
}

function throughSystemdNotify(): Sender {
  return {
    async send(lines) {
      const { code, stderr } = await new Deno.Command("systemd-notify", {
        args: [...lines],
        stdin: "null",
        stdout: "null",
        signal: AbortSignal.timeout(sendTimeoutMs),
      }).output();
      if (code !== 0) throw new Error(`systemd-notify: exit code ${code}: ${new TextDecoder().decode(stderr).trim()}`);
    },
    close() {},
  };
}

async function within(sending: Promise<unknown>): Promise<void> {
  let timer: number | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not accepted within ${sendTimeoutMs} ms`)), sendTimeoutMs);
  });
  try {
    await Promise.race([sending, late]);
  } finally {
    clearTimeout(timer);
  }
}
