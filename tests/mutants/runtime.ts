/**
 * The instrumented copy of a file calls this module at each mutated place. At most one mutant is active; a place whose
 * mutants are all inactive behaves as the original. While recording, a mutant counts as reached only if its result
 * differs from the original's: a test in which the two never differ cannot tell them apart, and is not run for it.
 */

export const maxMutants = (1 << 16) - 1;

let active = -1;
let recording = false;
/** By the number of a mutant: 1 if it was reached. Flags, because each is set a million times in a simulation. */
const reached = new Uint8Array(maxMutants + 1);
let steps = 0;
let maxSteps = Infinity;

/** Thrown in a mutant that runs far more steps than the original; independent of the speed of the machine. */
export class EndlessMutant extends Error {
  override name = "EndlessMutant";
}

/** `mutant` -1: none. `limit`: steps after which the run counts as endless. */
export function begin(mutant: number, limit = Infinity): void {
  active = mutant;
  steps = 0;
  maxSteps = limit;
}

export function record(on: boolean): void {
  recording = on;
  reached.fill(0);
}

export function recorded(): { reached: number[]; steps: number } {
  // Number 0 belongs to no mutant.
  return { reached: [...reached.keys()].filter((mutant) => mutant > 0 && reached[mutant] === 1), steps };
}

function reach(mutant: number): void {
  reached[mutant] = 1;
}

function step(): void {
  if (++steps > maxSteps) throw new EndlessMutant(`more than ${maxSteps} steps`);
}

/** A condition: `whenTrue` makes it true, `whenFalse` false. It is still evaluated. */
export function cond(whenTrue: number, whenFalse: number, value: unknown): unknown {
  step();
  if (recording) reach(value ? whenFalse : whenTrue);
  return active === whenTrue ? true : active === whenFalse ? false : value;
}

/** A constant and what replaces it; several replacements are nested. */
export function constant(mutant: number, original: unknown, mutated: unknown): unknown {
  if (recording) reach(mutant);
  return active === mutant ? mutated : original;
}

/** One side of `??`, which the mutant removes. */
export function side(mutant: number, value: unknown): unknown {
  if (recording && value !== undefined && value !== null) reach(mutant);
  return active === mutant ? undefined : value;
}

/** A `case` value that equals nothing while the mutant is active. */
export function label(mutant: number, value: unknown): unknown {
  if (recording) reach(mutant);
  return active === mutant ? noValue : value;
}
const noValue = Symbol("never");

/** Whether a statement runs. */
export function keep(mutant: number): boolean {
  step();
  if (recording) reach(mutant);
  return active !== mutant;
}

// deno-lint-ignore no-explicit-any
type Operand = any;

function either(mutant: number, original: unknown, mutated: unknown): unknown {
  step();
  if (recording && !Object.is(original, mutated)) reach(mutant);
  return active === mutant ? mutated : original;
}

export const lt = (mutant: number, a: Operand, b: Operand) => either(mutant, a < b, a <= b);
export const le = (mutant: number, a: Operand, b: Operand) => either(mutant, a <= b, a < b);
export const gt = (mutant: number, a: Operand, b: Operand) => either(mutant, a > b, a >= b);
export const ge = (mutant: number, a: Operand, b: Operand) => either(mutant, a >= b, a > b);

/** `+` also joins strings, which have no difference. */
const numeric = (a: Operand, b: Operand) => typeof a === typeof b && (typeof a === "number" || typeof a === "bigint");

export const add = (mutant: number, a: Operand, b: Operand) => numeric(a, b) ? either(mutant, a + b, a - b) : a + b;
export const sub = (mutant: number, a: Operand, b: Operand) => either(mutant, a - b, a + b);
export const mul = (mutant: number, a: Operand, b: Operand) =>
  numeric(a, b) && Number(b) !== 0 ? either(mutant, a * b, a / b) : a * b;
export const div = (mutant: number, a: Operand, b: Operand) => either(mutant, a / b, a * b);
export const rem = (mutant: number, a: Operand, b: Operand) => either(mutant, a % b, a * b);
