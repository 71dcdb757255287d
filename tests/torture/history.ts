/** The history of the clients' operations, and its judge. */
import { part } from "../support/parts.ts";

/** One call to a register. Times in microseconds since the campaign began. */
export interface Operation {
  readonly client: number;
  readonly key: string;
  readonly kind: "get" | "put" | "swap";
  /** Of a swap: the expected value; "" for no value. */
  readonly expect?: string;
  /** The value of a put or swap; of a get the value that was read, "" for none. */
  readonly value: string;
  /** It failed with an unknown outcome. */
  readonly unknown?: boolean;
  readonly swapped?: boolean;
  readonly call: number;
  readonly return: number;
}

export interface Verdict {
  readonly operations: number;
  readonly keys: number;
  /** Keys whose history is not linearizable. */
  readonly broken: readonly string[];
  /** Keys whose check did not end within a minute. */
  readonly undecided: readonly string[];
}

/** Throws when the judge cannot read the history. */
export async function judge(history: readonly Operation[]): Promise<Verdict> {
  const child = new Deno.Command(part("judge-1.3.1", "judge"), { stdin: "piped", stdout: "piped", stderr: "piped" })
    .spawn();
  const asked = ReadableStream.from(lines(history)).pipeThrough(new TextEncoderStream()).pipeTo(child.stdin);
  const { success, stdout, stderr } = await child.output();
  await asked.catch(() => {});
  if (!success) throw new Error(`the judge gives no verdict: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout)) as Verdict;
}

function* lines(history: readonly Operation[]): Generator<string> {
  for (const operation of history) yield `${JSON.stringify(operation)}\n`;
}

/**
 * Keys with another final value than the last acknowledged write, which no later write and no unknown outcome explains.
 * The judge finds these, too; this check reports them as lost writes.
 */
export function lostWrites(history: readonly Operation[], found: ReadonlyMap<string, string>): string[] {
  const lost: string[] = [];
  for (const [key, operations] of Map.groupBy(history, ({ key }) => key)) {
    const writes = operations.filter(({ kind, unknown, swapped }) => kind === "put" || unknown || swapped)
      .filter(({ kind }) => kind !== "get");
    const last = writes.filter(({ unknown }) => !unknown).reduce<Operation | undefined>(
      (latest, write) => latest === undefined || write.call > latest.call ? write : latest,
      undefined,
    );
    const value = found.get(key) ?? "";
    // Any write that ended after the last one began may be the final one.
    const may = writes.filter((write) => last === undefined || write.unknown || write.return >= last.call);
    if (!may.some((write) => write.value === value) && (last !== undefined || value !== "")) lost.push(key);
  }
  return lost.sort();
}
