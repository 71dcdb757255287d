/** Controls one process of `host.ts`: sends it requests, and kills it when a test takes far too long. */
import { type Answer, answerMark, type Request } from "./host.ts";

export type Outcome = Answer | { readonly kind: "timedOut"; readonly at: number } | {
  readonly kind: "ended";
  readonly at: number;
};

export class HostProcess {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  /** `copy`: the root of the copied project, whose deno.json resolves the packages. */
  constructor(copy: string, config: string | undefined) {
    const host = new URL("./host.ts", import.meta.url).href;
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-check",
        "--allow-all",
        "--v8-flags=--max-old-space-size=2048",
        ...config === undefined ? ["--no-config"] : ["--config", config],
        host,
      ],
      cwd: copy,
      stdin: "piped",
      stdout: "piped",
      stderr: Deno.env.has("E2D_MUTANTS_DEBUG") ? "inherit" : "null",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#lines = answerLines(this.#process.stdout);
  }

  /** `limitMs` returns the time limit of the test at this index. */
  async ask(request: Request, limitMs: (at: number) => number = () => defaultLimitMs): Promise<Outcome> {
    let at = 0;
    try {
      await this.#input.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    } catch {
      return { kind: "ended", at };
    }
    while (true) {
      const line = await within(this.#lines.next(), limitMs(at));
      if (line === undefined) return { kind: "timedOut", at };
      if (line.done) return { kind: "ended", at };
      const answer = JSON.parse(line.value) as Answer;
      if (answer.kind !== "begins") return answer;
      at = answer.at;
    }
  }

  async end(): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#input.abort().catch(() => {});
    await this.#process.status;
  }
}

/** Time limit for loading a file and running a test once, on a loaded machine. */
const defaultLimitMs = 300_000;

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: number | undefined;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(() => resolve(undefined), ms));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Tests may write to stdout, too, without ending their line. */
async function* answerLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const at = line.indexOf(answerMark);
      if (at >= 0) yield line.slice(at + answerMark.length);
    }
  }
}
