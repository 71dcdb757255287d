/**
 * Transcripts in the docs: fenced blocks of ```console. A line that begins with `$ `, or with the name of a machine and
 * then `$ `, is a command; one that ends with a backslash continues in the next line. The lines after it are its output,
 * where `…` stands for any text on that line, and a line of only `…` for any lines. Ids, times, sizes and ages are
 * examples. Pure.
 */

export interface Step {
  /** Before the `$`; empty where it does not matter. */
  machine: string;
  command: string;
  output: string[];
  /** Line of the command in its page, from 1. */
  line: number;
}

const prompt = /^([a-z]*)\$ (.*)$/;

/** Throws if a block does not begin with a command, or does not end: such a transcript would test nothing. */
export function transcriptOf(page: string): Step[] {
  const steps: Step[] = [];
  let within = false, step: Step | undefined, continued = false;
  for (const [at, text] of page.split("\n").entries()) {
    const [, machine, command] = prompt.exec(text) ?? [];
    if (!within) {
      if (text === "```console") within = true;
    } else if (text === "```") {
      within = continued = false;
      step = undefined;
    } else if (continued && step !== undefined) {
      continued = text.endsWith("\\");
      step.command += `\n${text}`;
    } else if (command !== undefined) {
      step = { machine: machine!, command, output: [], line: at + 1 };
      continued = command.endsWith("\\");
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

/** The first block of the page that contains only variables of e2d: the settings of its nodes. */
export function settingsOf(page: string): Record<string, string> {
  for (const [, block] of page.matchAll(/^```sh\n(.*?)^```$/gms)) {
    const pairs = block!.trimEnd().split("\n").map((line) => /^(E2D_[A-Z_]+)=(\S*)$/.exec(line));
    if (pairs.every((pair) => pair !== null)) {
      return Object.fromEntries(pairs.map(([, name, value]) => [name!, value!]));
    }
  }
  throw new Error("read settings: the page has no block of variables alone");
}

/** Replaces values that differ in each run. The order of lines, revisions and counts must match. */
const exampleless = (line: string) =>
  line.replace(/\b(\d{4}-\d\d-\d\dT[\d:.]+|\d{8}T\d{6})Z/g, "TIME")
    .replace(/\b\d\d:\d\d:\d\d\.\d{3}\b/g, "TIME")
    .replace(/\b[0-9a-f]{8,}\b/g, "ID")
    .replace(/\b[\d.]+ ([KMG]iB|B|bytes)\b/g, "SIZE")
    .replace(/\b\d+ (s|min)\b/g, "AGE")
    // The leader is random.
    .replace(/\b(voter|leader)\b/g, "ROLE")
    .replace(/ {2,}/g, "  ");

const matches = (expected: string, actual: string) =>
  new RegExp(`^${exampleless(expected).split("…").map(RegExp.escape).join(".*")}$`, "u").test(exampleless(actual));

/** The first difference between a step and its output; undefined if they match. */
export function differenceOf({ output, command, line }: Step, printed: string): string | undefined {
  const actual = printed === "" ? [] : printed.replace(/\n$/, "").split("\n");
  let got = 0;
  // Where the lines after a lone `…` may begin.
  let free = false;
  for (const wanted of output) {
    if (wanted === "…") {
      free = true;
      continue;
    }
    const from = got;
    while (free && got < actual.length && !matches(wanted, actual[got]!)) got++;
    if (got >= actual.length || !matches(wanted, actual[got]!)) {
      return `line ${line}, "${command}": expected ${JSON.stringify(wanted)}, printed ${JSON.stringify(actual[from])}`;
    }
    got++;
    free = false;
  }
  if (got === actual.length || free) return undefined;
  return `line ${line}, "${command}": expected nothing more, printed ${JSON.stringify(actual[got])}`;
}
