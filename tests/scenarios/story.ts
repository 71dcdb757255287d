/**
 * Golden stories: a file is a sequence of blocks, each with commands, a line of four dashes, and the decisions and reports
 * of the nodes. A story has no randomness: every duration is the middle one, and only cut connections lose messages.
 */
import type { World } from "../sim/world.ts";
import { execute } from "./commands.ts";

export interface Block {
  readonly head: readonly string[];
  readonly commands: readonly string[];
  readonly expected: readonly string[];
}

export function parseStory(text: string): Block[] {
  const blocks: Block[] = [];
  let head: string[] = [];
  let commands: string[] = [];
  let expected: string[] | undefined;
  const end = () => {
    if (expected !== undefined) blocks.push({ head, commands, expected });
    if (expected !== undefined) [head, commands, expected] = [[], [], undefined];
  };
  for (const line of text.split("\n")) {
    if (line === "----") expected = [];
    else if (line === "") end();
    else if (expected !== undefined) expected.push(line);
    else if (line.startsWith("#")) head.push(line);
    else commands.push(line);
  }
  end();
  return blocks;
}

export function renderStory(blocks: readonly Block[], outputs: readonly (readonly string[])[]): string {
  return blocks.map((block, index) => [...block.head, ...block.commands, "----", ...outputs[index]!].join("\n") + "\n")
    .join("\n");
}

/** The output of the nodes for each block. */
export function playStory(blocks: readonly Block[]): string[][] {
  let world: World | undefined;
  const outputs: string[][] = [];
  for (const { commands } of blocks) {
    const from = world?.output.length ?? 0;
    for (const command of commands) world = execute(command, world);
    const output = world!.output.slice(from);
    // A wait that ends within a second is noise for the reader, and so is its end.
    const shown = output.filter((line, index) => {
      if (line.wait) {
        return !output.slice(index + 1).some((next) => next.node === line.node && next.ms - line.ms < 1_000);
      }
      if (!line.over) return true;
      const before = world!.output.slice(0, from + index).findLast(({ node, wait }) => wait && node === line.node);
      return before === undefined || line.ms - before.ms >= 1_000;
    });
    outputs.push(shown.map((line) => line.text));
  }
  return outputs;
}
