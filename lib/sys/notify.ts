/**
 * Talk with the service manager by sd_notify(3): lines of NAME=VALUE in one datagram to the socket that NOTIFY_SOCKET
 * names. Deno's own datagrams (`"unstable": ["net"]` in deno.json) reach sockets with a path; for the others, and where
 * a Deno runs without that setting, the program systemd-notify is asked to speak, which needs `NotifyAccess=all`.
 */
import type { Logger, ServiceManager } from "../ports.ts";

export interface NotifyPorts {
  readonly environment: (name: string) => string | undefined;
  /** The number of this process: systemd may mean another one by its WATCHDOG_USEC. */
  readonly pid: number;
  readonly log: Logger;
}

/** A datagram that the service manager does not take at once is news of no worth a moment later. */
const sendTimeoutMs = 5_000;

/** Undefined when no service manager listens. */
export function serviceManager({ environment, pid, log }: NotifyPorts): ServiceManager | undefined {
  const socket = environment("NOTIFY_SOCKET");
  if (socket === undefined || socket === "") return undefined;
  const watchdogMs = watchdog(environment, pid);
  let told = false;
  const failed = (error: unknown) => {
    log[told ? "debug" : "warn"]("the service manager was not told", { socket, error: String(error) });
    told = true;
  };
  const { send, close } = sender(socket);
  // One after the other: READY=1 behind STOPPING=1 would be a lie.
  let last = Promise.resolve();
  return {
    ...(watchdogMs === undefined ? {} : { watchdogMs }),
    tell(state) {
      const lines = Object.entries(state).map(([name, value]) => `${name}=${value.replace(/[\r\n]+/g, " ")}`);
      last = last.then(() => send(lines)).catch(failed);
      return last;
    },
    close,
  };
}

/** Half a minute says "30000000"; anything that is no whole number of microseconds is no watchdog. */
function watchdog(environment: NotifyPorts["environment"], pid: number): number | undefined {
  const usec = Number(environment("WATCHDOG_USEC"));
  const meant = environment("WATCHDOG_PID");
  if (!Number.isSafeInteger(usec) || usec <= 0 || (meant !== undefined && Number(meant) !== pid)) return undefined;
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
 * A socket to send from. Only with all permissions does Deno bind one without a name, so it gets one for a moment, in a
 * folder that nobody else can enter.
 */
function unnamed(): Deno.DatagramConn | undefined {
  let folder: string | undefined;
  try {
    folder = Deno.makeTempDirSync({ prefix: "e2d-notify-" });
    return Deno.listenDatagram({ transport: "unixpacket", path: `${folder}/from` });
  } catch {
    return undefined; // Not this Deno, not with these permissions, or nowhere to write.
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
    timer = setTimeout(() => reject(new Error(`not taken within ${sendTimeoutMs} ms`)), sendTimeoutMs);
  });
  try {
    await Promise.race([sending, late]);
  } finally {
    clearTimeout(timer);
  }
}
