/** Executes the transcripts of a docs page on a stage. */
import { assertEquals } from "../support/assert.ts";
import { eventually } from "../support/fixtures.ts";
import type { Stage } from "./stage.ts";
import { differenceOf, settingsOf, type Step, transcriptOf } from "./transcript.ts";

const read = (name: string) => Deno.readTextFile(new URL(`../../docs/${name}.md`, import.meta.url));

/** The transcripts of docs/NAME.md. */
export const stepsOf = async (name: string): Promise<Step[]> => transcriptOf(await read(name));
/** The settings of each machine in docs/NAME.md. */
export const settingsIn = async (name: string): Promise<Record<string, string>> => settingsOf(await read(name));

/**
 * Executes the steps in order; consecutive steps of the prompt `each` run on one machine after the other. A command is
 * repeated until its output matches the page, because a cluster needs time; one without output runs once.
 */
export async function walk(stage: Stage, steps: readonly Step[]): Promise<void> {
  for (let at = 0; at < steps.length; at++) {
    if (steps[at]!.machine !== "each") {
      await take(stage, steps[at]!);
      continue;
    }
    const after = steps.findIndex(({ machine }, index) => index > at && machine !== "each");
    const block = steps.slice(at, after === -1 ? steps.length : after);
    for (const machine of stage.names) {
      for (const step of block) await take(stage, { ...step, machine });
    }
    at += block.length - 1;
  }
}

async function take(stage: Stage, step: Step): Promise<void> {
  const once = step.output.length === 0;
  try {
    await eventually(`docs, line ${step.line}: ${step.command}`, async () => {
      for (const { code, printed } of await stage.perform(step)) {
        assertEquals(differenceOf(step, printed), undefined, printed);
        assertEquals(code, 0, printed);
      }
      return true;
    }, { everyMs: 500, ...(once ? { timeoutMs: 0 } : {}) });
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${await stage.journals()}`, { cause: error });
  }
}
