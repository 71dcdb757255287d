/**
 * Transcripts in the docs: fenced blocks of ```console. A line that begins with `$ ` is a command, the lines after it are
 * what it prints, where `…` stands for anything on that line. Pure.
 */

export interface Step {
  command: string;
  output: string[];
  /** Counted from 1, of the command in its page. */
  line: number;
}

/** Throws where a block begins with anything but a command, or does not end: such a transcript would prove nothing. */
export function transcriptOf(page: string): Step[] {
  const steps: Step[] = [];
  let within = false, step: Step | undefined;
  for (const [at, text] of page.split("\n").entries()) {
    if (!within) {
      if (text === "```console") within = true;
    } else if (text === "```") {
      within = false;
      step = undefined;
    } else if (text.startsWith("$ ")) {
      step = { command: text.slice(2), output: [], line: at + 1 };
      steps.push(step);
    } else if (step !== undefined) {
      step.output.push(text);
    } else {
      throw new Error(`read transcript, line ${at + 1} "${text}": output without a command`);
    }
  }
  if (within) throw new Error("read transcript: its last block does not end");
  return steps;
}

const matches = (expected: string, actual: string) =>
  new RegExp(`^${expected.split("…").map(RegExp.escape).join(".*")}$`, "u").test(actual);

/** What differs first between a step and what was printed; undefined where all is as written. */
export function differenceOf({ output, command, line }: Step, printed: string): string | undefined {
  const actual = printed === "" ? [] : printed.replace(/\n$/, "").split("\n");
  for (let at = 0; at < Math.max(output.length, actual.length); at++) {
    const [wanted, got] = [output[at], actual[at]];
    if (wanted !== undefined && got !== undefined && matches(wanted, got)) continue;
    return `line ${line}, "${command}": expected ${JSON.stringify(wanted)}, printed ${JSON.stringify(got)}`;
  }
  return undefined;
}
