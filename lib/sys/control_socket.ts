/**
 * The control socket: a Unix socket for admin requests. File permissions decide which users may connect; it is not
 * reachable over the network. Each direction carries one JSON object on one line.
 */
import { E2dError } from "../errors.ts";

const requestMaxBytes = 65_536;

export interface ControlServer {
  close(): void;
}

/**
 * Replaces the socket of an earlier process, so the caller must hold the lock of the data-dir. Throws E2dError
 * `control_listen`.
 */
export async function serveControl(
  path: string,
  handler: (request: unknown) => Promise<unknown>,
): Promise<ControlServer> {
  await Deno.remove(path).catch(() => {});
  let listener: Deno.UnixListener;
  try {
    listener = Deno.listen({ transport: "unix", path });
    await Deno.chmod(path, 0o600);
  } catch (cause) {
    throw new E2dError("control_listen", `Cannot listen on "${path}": the system refused`, { cause });
  }
  void (async () => {
    for await (const connection of listener) void answer(connection, handler);
  })().catch(() => {});
  return {
    close() {
      listener.close();
      removeNow(path);
    },
  };
}

/** Synchronous, because the process may be about to exit. */
function removeNow(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was removed already.
  }
}

async function answer(connection: Deno.UnixConn, handler: (request: unknown) => Promise<unknown>): Promise<void> {
  try {
    const line = await readLine(connection);
    await writeLine(connection, await handler(JSON.parse(line)));
  } catch {
    // The client has disconnected or sent no valid JSON: the connection is closed without an answer.
  } finally {
    connection.close();
  }
}

/** Throws E2dError `control_unreachable` when no node listens there or this user has no permission. */
export async function askControl(path: string, request: unknown): Promise<unknown> {
  let connection: Deno.UnixConn;
  try {
    connection = await Deno.connect({ transport: "unix", path });
  } catch (cause) {
    const forbidden = cause instanceof Deno.errors.PermissionDenied;
    const state = forbidden ? "permission denied" : "no node listens there";
    throw new E2dError("control_unreachable", `Cannot connect to the node at "${path}": ${state}`, {
      cause,
      hint: forbidden
        ? "run this command as the user of the node, or as root"
        : "run this command on the node's machine as its user, with the --data-dir of the node",
    });
  }
  try {
    await writeLine(connection, request);
    return JSON.parse(await readLine(connection));
  } finally {
    connection.close();
  }
}

async function readLine(connection: Deno.UnixConn): Promise<string> {
  const data = new Uint8Array(requestMaxBytes);
  let length = 0;
  while (length < data.length) {
    const count = await connection.read(data.subarray(length));
    if (count === null) break;
    length += count;
    if (data[length - 1] === 10) break;
  }
  return new TextDecoder().decode(data.subarray(0, length));
}

async function writeLine(connection: Deno.UnixConn, value: unknown): Promise<void> {
  const data = new TextEncoder().encode(`${JSON.stringify(value)}\n`);
  for (let at = 0; at < data.length;) at += await connection.write(data.subarray(at));
}
