import { withDeadline } from "../cloud/with_deadline.ts";
import { E2dError } from "../errors.ts";
import type { Processes } from "../ports.ts";
import type { DiscoveryMethod, DiscoveryPorts, PeerAddress } from "./method.ts";
import { parsePeerList, peerListBytesMax } from "./peer_list.ts";

export const commandTimeoutMs = 15_000;
const stderrBytesMax = 64 * 1024;
const stderrShownMax = 300;

/**
 * The lines that a command writes to standard output. The command runs with `sh -c`, so quotes, pipes and variables have
 * their usual meaning. Exit code 0 without lines means no peers.
 */
export function execCommand(command: string, ports: Pick<DiscoveryPorts, "clock" | "processes">): DiscoveryMethod {
  const failed = (state: string) =>
    new E2dError("discovery_exec", `Cannot find peers by "exec": the command ${state}`, {
      hint: "run the command in a shell as the user of e2d",
    });
  let groupSupported: Promise<boolean> | undefined;
  return {
    name: "exec",
    async peers(signal): Promise<readonly PeerAddress[]> {
      signal.throwIfAborted();
      groupSupported ??= canStartProcessGroup(ports.processes);
      const [program, ...args] = await groupSupported ? ["setsid", "sh", "-c", command] : ["sh", "-c", command];
      const process = await ports.processes.start(program!, args, { dieWithParent: true });
      const timeoutError = () => failed(`did not end within ${commandTimeoutMs} ms`);
      try {
        return await withDeadline(
          { ms: commandTimeoutMs, clock: ports.clock, signal, timeoutError },
          async (limited) => {
            const [stdout, stderr, exit] = await Promise.all([
              readBounded(process.stdout, peerListBytesMax, limited),
              readBounded(process.stderr, stderrBytesMax, limited),
              process.exited,
            ]);
            if (exit.code !== 0) {
              throw failed(`ended with ${exit.signal ?? `exit code ${exit.code}`}${stderrSuffix(stderr.text)}`);
            }
            if (!stdout.whole) throw failed(`wrote more than ${peerListBytesMax} bytes`);
            return parsePeerList(stdout.text, "the command");
          },
        );
      } catch (error) {
        // Killing the shell alone would leave its children running, more with each poll.
        if (await groupSupported) ports.processes.kill(-process.pid, "SIGKILL");
        else process.kill("SIGKILL");
        throw error;
      }
    },
  };
}

/** True when setsid (util-linux or busybox) can start the command as a process group, which is killed as a whole. */
async function canStartProcessGroup(processes: Processes): Promise<boolean> {
  try {
    const probe = await processes.start("setsid", ["true"]);
    const [exit] = await Promise.all([probe.exited, probe.stdout.cancel(), probe.stderr.cancel()]);
    return exit.code === 0;
  } catch {
    return false;
  }
}

/** Reads to the end, so that the writer never blocks, and keeps the first `bytesMax` bytes. */
async function readBounded(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  bytesMax: number,
  signal: AbortSignal,
): Promise<{ text: string; whole: boolean }> {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  // A child of the command may keep the pipe open without end.
  const cancel = () => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", cancel, { once: true });
  let text = "";
  let bytes = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      if (bytes < bytesMax) text += decoder.decode(next.value.subarray(0, bytesMax - bytes), { stream: true });
      bytes += next.value.length;
    }
  } finally {
    signal.removeEventListener("abort", cancel);
  }
  return { text, whole: bytes <= bytesMax };
}

function stderrSuffix(stderr: string): string {
  // deno-lint-ignore no-control-regex
  const plain = stderr.replace(/[\x00-\x1f\x7f]+/g, " ").trim();
  if (plain === "") return "";
  return `: ${plain.length > stderrShownMax ? `…${plain.slice(-stderrShownMax)}` : plain}`;
}
