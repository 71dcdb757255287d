import { patienceMs } from "../support/fixtures.ts";

/** A program that speaks JSON lines: requests with an id on stdin, answers with that id and events on stdout. */
export interface Line {
  id?: number;
  event?: string;
  error?: string;
  [field: string]: unknown;
}

export class JsonProcess implements AsyncDisposable {
  /** All events so far, oldest first. */
  readonly events: Line[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #answers = new Map<number, (line: Line) => void>();
  readonly #watchers = new Set<() => void>();
  readonly #read: Promise<void>;
  #id = 0;
  #ended = false;

  constructor(program: string, args: string[]) {
    this.#child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped" }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#read = this.#readLines();
  }

  get pid(): number {
    return this.#child.pid;
  }

  async #readLines(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const text of lines) {
        const line = JSON.parse(text) as Line;
        if (line.id !== undefined) this.#answers.get(line.id)?.(line);
        else this.events.push(line);
      }
      for (const watch of this.#watchers) watch();
    }
    this.#ended = true;
    for (const watch of this.#watchers) watch();
    for (const answer of this.#answers.values()) answer({ error: "the process has ended" });
  }

  /** Throws the error that the program returns. */
  async request(op: string, fields: Record<string, unknown> = {}): Promise<Line> {
    const id = ++this.#id;
    const answer = new Promise<Line>((resolve) => this.#answers.set(id, resolve));
    await this.#writer.write(new TextEncoder().encode(JSON.stringify({ id, op, ...fields }) + "\n"));
    const line = await withTimeout(answer, patienceMs, `the answer to "${op}"`);
    this.#answers.delete(id);
    if (line.error) throw new Error(`${op}: ${line.error}`);
    return line;
  }

  /** The first matching event from number `from` on. */
  event(what: string, fits: (event: Line) => boolean, { timeoutMs = patienceMs, from = 0 } = {}): Promise<Line> {
    const found = new Promise<Line>((resolve, reject) => {
      const look = () => {
        const event = this.events.slice(from).find(fits);
        if (event) resolve(event);
        else if (this.#ended) reject(new Error(`the process has ended before ${what}`));
        else return;
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
    return withTimeout(found, timeoutMs, what);
  }

  /** SIGKILL, to simulate a crash. */
  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#child.status;
    await this.#read;
    await this.#writer.abort().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

export async function withTimeout<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: number | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
