/**
 * Mutants of conditions. Of `a && b` only `a` true, `b` true and the whole false are made: a test that kills these kills
 * every other replacement of its operators, too (Kaminski, Ammann and Offutt, "Improving logic-based testing", 2013).
 */
import { ts } from "@ts-morph/common";
import { enclosingFunction, type Sites } from "./sites.ts";

const { SyntaxKind } = ts;

interface Wanted {
  readonly true: boolean;
  readonly false: boolean;
}
export const both: Wanted = { true: true, false: true };
/** Of the condition of a loop: one that is always true never ends. */
export const falseOnly: Wanted = { true: false, false: true };
const trueOnly: Wanted = { true: true, false: false };

const comparisons = new Set([
  SyntaxKind.EqualsEqualsEqualsToken,
  SyntaxKind.ExclamationEqualsEqualsToken,
  SyntaxKind.EqualsEqualsToken,
  SyntaxKind.ExclamationEqualsToken,
  SyntaxKind.LessThanToken,
  SyntaxKind.LessThanEqualsToken,
  SyntaxKind.GreaterThanToken,
  SyntaxKind.GreaterThanEqualsToken,
  SyntaxKind.InKeyword,
  SyntaxKind.InstanceOfKeyword,
]);

const predicateMethods = new Set(["some", "every", "filter", "find", "findIndex", "findLast", "findLastIndex"]);
const booleanMethods = new Set(["some", "every", "includes", "has", "startsWith", "endsWith", "test"]);

export const isComparison = (node: ts.Node): node is ts.BinaryExpression =>
  ts.isBinaryExpression(node) && comparisons.has(node.operatorToken.kind);

const isLogical = (node: ts.Node): node is ts.BinaryExpression =>
  ts.isBinaryExpression(node) &&
  (node.operatorToken.kind === SyntaxKind.AmpersandAmpersandToken ||
    node.operatorToken.kind === SyntaxKind.BarBarToken);

const isNot = (node: ts.Node): node is ts.PrefixUnaryExpression =>
  ts.isPrefixUnaryExpression(node) && node.operator === SyntaxKind.ExclamationToken;

/** True when the syntax alone shows that the value is true or false. */
function isBoolean(node: ts.Expression): boolean {
  if (ts.isParenthesizedExpression(node)) return isBoolean(node.expression);
  if (isComparison(node) || isNot(node)) return true;
  if (isLogical(node)) return isBoolean(node.left) && isBoolean(node.right);
  return ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) &&
    booleanMethods.has(node.expression.name.text);
}

const isPredicate = (node: ts.Node): boolean =>
  ts.isArrowFunction(node) && ts.isCallExpression(node.parent) && node.parent.arguments[0] === node &&
  ts.isPropertyAccessExpression(node.parent.expression) && predicateMethods.has(node.parent.expression.name.text);

function givesBoolean(node: ts.SignatureDeclaration | undefined): boolean {
  if (node === undefined) return false;
  const kind = node.type?.kind;
  return kind === SyntaxKind.BooleanKeyword || kind === SyntaxKind.TypePredicate || isPredicate(node);
}

/** `a > b ? 1 : 0` at the end of a comparison for `sort`, which tells results that are not below 0 from no other. */
const isOrderTail = (node: ts.Node): node is ts.ConditionalExpression =>
  ts.isConditionalExpression(node) && ts.isConditionalExpression(node.parent) && node.whenTrue.getText() === "1" &&
  node.whenFalse.getText() === "0" && node.parent.whenTrue.getText() === "-1";

export class Conditions {
  /** Conditions that were visited as part of an outer one. */
  readonly #met = new Set<ts.Node>();

  constructor(readonly sites: Sites) {}

  /** Must be called for each node, outer ones first. */
  visit(node: ts.Node): void {
    if (isOrderTail(node)) this.#met.add(node.condition);
    if (ts.isIfStatement(node)) this.#condition(node.expression, both);
    else if (ts.isConditionalExpression(node)) this.#condition(node.condition, both);
    else if (ts.isWhileStatement(node) || ts.isDoStatement(node)) this.#condition(node.expression, falseOnly);
    else if (ts.isForStatement(node) && node.condition !== undefined) this.#condition(node.condition, falseOnly);
    else if (ts.isArrowFunction(node) && !ts.isBlock(node.body) && givesBoolean(node)) this.#condition(node.body, both);
    else if (ts.isReturnStatement(node) && node.expression !== undefined && givesBoolean(enclosingFunction(node))) {
      this.#condition(node.expression, both);
    } else if (ts.isExpression(node) && !this.#met.has(node)) this.#value(node);
  }

  /** An expression whose value is not, or not only, a condition. */
  #value(node: ts.Expression): void {
    if (isComparison(node) || isNot(node) || isLogical(node) && isBoolean(node)) this.#condition(node, both);
    else if (isLogical(node)) {
      this.#condition(node.left, node.operatorToken.kind === SyntaxKind.BarBarToken ? falseOnly : both);
    }
  }

  #condition(node: ts.Expression, wanted: Wanted): void {
    if (this.#met.has(node)) return;
    this.#met.add(node);
    if (ts.isParenthesizedExpression(node)) return this.#condition(node.expression, wanted);
    if (isNot(node)) return this.#condition(node.operand, { true: wanted.false, false: wanted.true });
    if (isLogical(node)) {
      const and = node.operatorToken.kind === SyntaxKind.AmpersandAmpersandToken;
      this.#fixed(node, { true: wanted.true && !and, false: wanted.false && and });
      this.#condition(node.left, and ? trueOnly : falseOnly);
      return this.#condition(node.right, and ? trueOnly : falseOnly);
    }
    if (ts.isConditionalExpression(node)) {
      this.#condition(node.condition, both);
      this.#condition(node.whenTrue, wanted);
      return this.#condition(node.whenFalse, wanted);
    }
    this.#fixed(node, wanted);
  }

  /** True or false in place of the expression, which is still evaluated. */
  #fixed(node: ts.Expression, wanted: Wanted): void {
    // A literal is a constant, not a condition.
    if (node.kind === SyntaxKind.TrueKeyword || node.kind === SyntaxKind.FalseKeyword) return;
    if (ts.isAwaitExpression(node) || ts.isIdentifier(node) && node.text === "undefined") return;
    const values = [true, false].filter((value) => wanted[`${value}`]);
    this.sites.wrap(
      node,
      values.map((value) => ({ operator: "condition", after: `${value}` })),
      (numbers) => {
        const numberOf = (value: boolean) => numbers[values.indexOf(value)] ?? 0;
        return `__mutants.cond(${numberOf(true)}, ${numberOf(false)}, `;
      },
    );
  }
}
