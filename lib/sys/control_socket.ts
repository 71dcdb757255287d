/**
 * A socket in the file system for commands that change something: who may open it is settled by its permissions, and no
 * network reaches it. One JSON object a line each way.
 */
import { E2dError } from "../errors.ts";

const requestMaxBytes = 65_536;

export interface ControlServer {
  close(): void;
}

/** Takes the place of a socket that a dead process left: the caller holds the lock of the data-dir. */
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

/** Without a wait: the process may be about to end. */
function removeNow(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // Somebody has removed it before.
  }
}

async function answer(connection: Deno.UnixConn, handler: (request: unknown) => Promise<unknown>): Promise<void> {
  try {
    const line = await readLine(connection);
    await writeLine(connection, await handler(JSON.parse(line)));
  } catch {
    // The asker has gone, or asked nonsense: both end the conversation.
  } finally {
    connection.close();
  }
}

/** Throws E2dError `control_unreachable` when nobody listens there, or this user may not ask. */
export async function askControl(path: string, request: unknown): Promise<unknown> {
  let connection: Deno.UnixConn;
  try {
    connection = await Deno.connect({ transport: "unix", path });
  } catch (cause) {
    const forbidden = cause instanceof Deno.errors.PermissionDenied;
    const state = forbidden ? "this user may not" : "nobody listens there";
    throw new E2dError("control_unreachable", `Cannot ask the node at "${path}": ${state}`, {
      cause,
      hint: forbidden
        ? "run this as the user of the node, or as root"
        : "run this on the node's machine as its user, with the --data-dir it runs on",
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
