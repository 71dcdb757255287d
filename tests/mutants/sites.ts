/** Collects the sites of one file: converts syntax nodes to mutants with positions, and to the edits that contain them. */
import { ts } from "@ts-morph/common";
import type { Edit, Mutant, Operator, Site } from "./mutant.ts";

/** A change of one node; `start` and `end` narrow it to a part of the node. */
export interface Change {
  readonly operator: Operator;
  readonly after: string;
  readonly start?: number;
  readonly end?: number;
}

export class Sites {
  readonly found: Site[] = [];
  readonly #ids = new Set<string>();

  constructor(readonly file: string, readonly source: ts.SourceFile) {}

  text(node: ts.Node): string {
    return node.getText(this.source);
  }

  start(node: ts.Node): number {
    return node.getStart(this.source);
  }

  /** Adds the changes of `node`, outer nodes before those within. `edits` receives the numbers in the order of `changes`. */
  add(node: ts.Node, changes: readonly Change[], edits: (numbers: readonly number[]) => readonly Edit[]): void {
    if (changes.length > 0) this.found.push({ mutants: changes.map((change) => this.#mutant(node, change)), edits });
  }

  /** Adds changes among which a call around the node selects: `__mutants.name(numbers, node)`. */
  wrap(node: ts.Node, changes: readonly Change[], open: (numbers: readonly number[]) => string, close = ")"): void {
    this.add(node, changes, (numbers) => [
      { at: this.start(node), end: this.start(node), text: open(numbers), side: "open" },
      { at: node.end, end: node.end, text: close, side: "close" },
    ]);
  }

  #mutant(node: ts.Node, { operator, after, start = this.start(node), end = node.end }: Change): Mutant {
    const { line, character } = this.source.getLineAndCharacterOfPosition(start);
    const before = this.source.text.slice(start, end).replace(/\s+/g, " ");
    const base = `${this.file}:${line + 1}:${character + 1}:${operator}${
      after === "" ? "" : `=${after.replace(/\s+/g, " ").slice(0, 40)}`
    }`;
    let id = base;
    for (let twin = 2; this.#ids.has(id); twin++) id = `${base}#${twin}`;
    this.#ids.add(id);
    return { id, file: this.file, line: line + 1, operator, within: enclosingName(node), before, after, start, end };
  }
}

/** The nearest function with a name: a declaration, a method, or an arrow in a constant of the module. */
function enclosingName(node: ts.Node): string {
  for (let at: ts.Node | undefined = node; at !== undefined; at = at.parent) {
    if (ts.isFunctionDeclaration(at) && at.name !== undefined) return at.name.text;
    if (ts.isVariableDeclaration(at) && at.parent.parent.parent.kind === ts.SyntaxKind.SourceFile) {
      return at.name.getText();
    }
    if (ts.isClassElement(at) && ts.isClassLike(at.parent)) {
      const name = at.name?.getText() ?? "constructor";
      return `${at.parent.name?.text ?? "class"}.${name}`;
    }
  }
  return "(module)";
}

/** The function to which a `return` here belongs. */
export function enclosingFunction(node: ts.Node): ts.SignatureDeclaration | undefined {
  for (let at = node.parent; at !== undefined; at = at.parent) {
    if (ts.isFunctionLike(at)) return at;
  }
  return undefined;
}
