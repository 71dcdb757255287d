/** Runs etcdctl or etcdutl to its end. */
import type { Process, Processes } from "../../ports.ts";
import { etcdEnvironment } from "./environment.ts";

export interface ToolResult {
  readonly code: number;
  /** The end of each output, at most 64 KiB. */
  readonly stdout: string;
  readonly stderr: string;
}

const outputMaxChars = 65_536;

/** Throws E2dError `process_start`, or the signal's reason after killing the program. */
export async function runTool(
  processes: Processes,
  program: string,
  args: readonly string[],
  { environment, signal }: { environment?: Readonly<Record<string, string>>; signal?: AbortSignal | undefined } = {},
): Promise<ToolResult> {
  signal?.throwIfAborted();
  const process: Process = await processes.start(program, args, {
    dieWithParent: true,
    inherit: etcdEnvironment,
    ...(environment !== undefined && { environment }),
  });
  const kill = () => process.kill("SIGKILL");
  signal?.addEventListener("abort", kill, { once: true });
  try {
    const [stdout, stderr, { code }] = await Promise.all([
      lastText(process.stdout),
      lastText(process.stderr),
      process.exited,
    ]);
    signal?.throwIfAborted();
    return { code, stdout, stderr };
  } finally {
    signal?.removeEventListener("abort", kill);
  }
}

async function lastText(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) text = (text + decoder.decode(chunk, { stream: true })).slice(-outputMaxChars);
  return text;
}
