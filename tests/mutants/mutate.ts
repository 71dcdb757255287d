/**
 * Finds the mutants of a source file in the syntax tree of the TypeScript compiler. Each is one plausible mistake; texts
 * for people (reasons, hints, templates) are not mutated, because the golden stories test them.
 */
import { ts } from "@ts-morph/common";
import { Conditions } from "./conditions.ts";
import type { Site } from "./mutant.ts";
import { type Change, Sites } from "./sites.ts";

const { SyntaxKind } = ts;

/** All sites of a file, outer before inner, in the order of the text. */
export function findSites(file: string, text: string): Site[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS);
  const sites = new Sites(file, source);
  const conditions = new Conditions(sites);
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || isTypeOnly(node) || isUnreachable(node)) return;
    if (ts.isStatement(node)) visitStatement(sites, node);
    conditions.visit(node);
    if (ts.isCaseClause(node)) visitCase(sites, node);
    else if (ts.isBinaryExpression(node)) visitBinary(sites, node);
    else if (ts.isPropertyAccessExpression(node)) visitQuantifier(sites, node);
    else visitConstant(sites, node);
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(source, visit);
  return sites.found;
}

function isTypeOnly(node: ts.Node): boolean {
  return ts.isImportDeclaration(node) || ts.isExportDeclaration(node) || ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) || ts.isTypeParameterDeclaration(node);
}

/** `return kind satisfies never`: the type checker rejects the program that gets there. */
function isUnreachable(node: ts.Node): boolean {
  const expression = ts.isReturnStatement(node) || ts.isThrowStatement(node) ? node.expression : undefined;
  return expression !== undefined && ts.isSatisfiesExpression(expression) &&
    expression.type.kind === SyntaxKind.NeverKeyword;
}

/** True when removing this statement equals making the condition above it false. */
function isWholeBranch(node: ts.Statement): boolean {
  const parent = ts.isBlock(node.parent) && node.parent.statements.length === 1 ? node.parent.parent : node.parent;
  return ts.isIfStatement(parent) && parent.elseStatement === undefined;
}

/** Leaves its block before its end: at the end of a function it would leave anyway. */
function isEarlyExit(node: ts.Statement): boolean {
  if (ts.isThrowStatement(node)) return true;
  const inLoop = ts.isContinueStatement(node) || ts.isBreakStatement(node);
  if (!inLoop && !ts.isReturnStatement(node)) return false;
  if (ts.isCaseOrDefaultClause(node.parent)) return false;
  const isBody = ts.isBlock(node.parent) && ts.isFunctionLike(node.parent.parent);
  return !isBody;
}

function visitStatement(sites: Sites, node: ts.Statement): void {
  const effect = ts.isExpressionStatement(node) && !ts.isStringLiteral(node.expression) &&
    !(ts.isCallExpression(node.expression) && node.expression.expression.kind === SyntaxKind.SuperKeyword);
  if (!effect && !isEarlyExit(node) || isWholeBranch(node)) return;
  // In braces, because a following `else` belongs to an outer `if`.
  sites.wrap(
    node,
    [{ operator: effect ? "effect" : "exit", after: "" }],
    ([number]) => `{ if (__mutants.keep(${number})) `,
    " }",
  );
}

function visitCase(sites: Sites, { expression }: ts.CaseClause): void {
  sites.wrap(expression, [{ operator: "case", after: "never" }], ([number]) => `__mutants.label(${number}, `);
}

const boundaries = new Map<ts.SyntaxKind, readonly [name: string, exchanged: string]>([
  [SyntaxKind.LessThanToken, ["lt", "<="]],
  [SyntaxKind.LessThanEqualsToken, ["le", "<"]],
  [SyntaxKind.GreaterThanToken, ["gt", ">="]],
  [SyntaxKind.GreaterThanEqualsToken, ["ge", ">"]],
]);

const arithmetic = new Map<ts.SyntaxKind, readonly [name: string, exchanged: string]>([
  [SyntaxKind.PlusToken, ["add", "-"]],
  [SyntaxKind.MinusToken, ["sub", "+"]],
  [SyntaxKind.AsteriskToken, ["mul", "/"]],
  [SyntaxKind.SlashToken, ["div", "*"]],
  [SyntaxKind.PercentToken, ["rem", "*"]],
]);

const isText = (node: ts.Expression): boolean =>
  ts.isStringLiteral(node) || ts.isTemplateExpression(node) || ts.isNoSubstitutionTemplateLiteral(node) ||
  ts.isConditionalExpression(node) && (isText(node.whenTrue) || isText(node.whenFalse)) ||
  ts.isParenthesizedExpression(node) && isText(node.expression) ||
  ts.isBinaryExpression(node) && (isText(node.left) || isText(node.right));

function visitBinary(sites: Sites, node: ts.BinaryExpression): void {
  const { left, operatorToken, right } = node;
  if (operatorToken.kind === SyntaxKind.QuestionQuestionToken) return visitFallback(sites, node);
  const boundary = boundaries.get(operatorToken.kind);
  const [name, exchanged] = boundary ?? arithmetic.get(operatorToken.kind) ?? [];
  if (name === undefined || exchanged === undefined) return;
  if (boundary === undefined && (isText(left) || isText(right))) return;
  if (boundary !== undefined && isOrder(node)) return;
  const start = operatorToken.getStart(sites.source);
  const after = `${sites.text(left)} ${exchanged} ${sites.text(right)}`;
  const operator = boundary === undefined ? "arithmetic" : "boundary";
  sites.add(node, [{ operator, after }], ([number]) => [
    { at: sites.start(node), end: sites.start(node), text: `__mutants.${name}(${number}, `, side: "open" },
    { at: start, end: operatorToken.end, text: ",", side: "replace" },
    { at: node.end, end: node.end, text: ")", side: "close" },
  ]);
}

/** `a < b ? -1 : 1` compares for `sort`: where two are equal, their order is of no consequence. */
function isOrder(node: ts.BinaryExpression): boolean {
  const { parent } = node;
  if (!ts.isConditionalExpression(parent) || parent.condition !== node) return false;
  return /^-?1$/.test(parent.whenTrue.getText());
}

/** The 1 or 0 of such a comparison: `sort` asks whether a result is below 0, and nothing else. */
function isOrderAfter(node: ts.NumericLiteral): boolean {
  const { parent } = node;
  return ts.isConditionalExpression(parent) && ts.isBinaryExpression(parent.condition) && isOrder(parent.condition) &&
    ["0", "1"].includes(node.text);
}

function visitFallback(sites: Sites, { left, right }: ts.BinaryExpression): void {
  const open = ([number]: readonly number[]) => `__mutants.side(${number}, `;
  const isNothing = ts.isIdentifier(right) && right.text === "undefined";
  sites.wrap(left, [{ operator: "fallback", after: "undefined" }], open);
  if (!isNothing) sites.wrap(right, [{ operator: "fallback", after: "undefined" }], open);
}

const exchangedNames = new Map([["some", "every"], ["every", "some"], ["min", "max"], ["max", "min"]]);

function visitQuantifier(sites: Sites, node: ts.PropertyAccessExpression): void {
  const exchanged = exchangedNames.get(node.name.text);
  const isCalled = ts.isCallExpression(node.parent) && node.parent.expression === node;
  if (exchanged === undefined || !isCalled) return;
  const isMath = sites.text(node.expression) === "Math";
  if (isMath !== ["min", "max"].includes(exchanged)) return;
  const start = sites.start(node.name);
  const dot = node.questionDotToken === undefined ? node.expression.end : start;
  sites.add(
    node,
    [{ operator: "quantifier", after: exchanged, start }],
    ([number]) => [{
      at: dot,
      end: node.end,
      text: `[__mutants.constant(${number}, "${node.name.text}", "${exchanged}")]`,
      side: "replace",
    }],
  );
}

function visitConstant(sites: Sites, node: ts.Node): void {
  const values = replacements(sites, node);
  const changes: Change[] = values.map((after) => ({ operator: "constant", after }));
  sites.wrap(
    node,
    changes,
    (numbers) => numbers.map((number) => `__mutants.constant(${number}, `).join(""),
    // The first call is the outermost, and closes last.
    values.toReversed().map((after) => `, ${after})`).join(""),
  );
}

function replacements(sites: Sites, node: ts.Node): string[] {
  if (isName(node)) return [];
  const text = sites.text(node);
  if (ts.isNumericLiteral(node)) {
    if (isOrderAfter(node)) return [];
    const value = Number(text.replaceAll("_", ""));
    // A small number is a count or an index: its neighbour is the likely mistake. A large one is a limit: its double and
    // its half must make a difference.
    return value > 10 ? [`${value * 2}`, `${value / 2}`] : [`${value === 1 ? 0 : value + 1}`];
  }
  if (ts.isBigIntLiteral(node)) return [`${BigInt(text.slice(0, -1).replaceAll("_", "")) + 1n}n`];
  if (node.kind === SyntaxKind.TrueKeyword) return ["false"];
  if (node.kind === SyntaxKind.FalseKeyword) return ["true"];
  if (ts.isStringLiteral(node) && !isForPeople(node) && !isCompared(node)) {
    return [text.length === 2 ? '"mutant"' : '""'];
  }
  return [];
}

/** A literal that is the name of a property or of a member of an enum. */
function isName(node: ts.Node): boolean {
  const { parent } = node;
  return (ts.isPropertyAssignment(parent) || ts.isClassElement(parent) || ts.isEnumMember(parent)) &&
    (parent as { name?: ts.Node }).name === node;
}

const textNames = new Set(["text", "hint"]);

/** Part of a sentence: of a reason's text or hint, of an error, or joined with other texts. */
function isForPeople(node: ts.Node): boolean {
  for (let at = node; ts.isExpression(at) || ts.isTemplateSpan(at) || ts.isPropertyAssignment(at); at = at.parent) {
    if (ts.isPropertyAssignment(at)) return textNames.has(at.name.getText());
    if (ts.isTemplateSpan(at.parent) || ts.isNewExpression(at.parent)) return true;
    if (ts.isArrayLiteralExpression(at) || ts.isArrowFunction(at)) return false;
  }
  return /\s/.test(node.getText());
}

/** The condition around it has mutants already. */
function isCompared({ parent }: ts.Node): boolean {
  if (ts.isBinaryExpression(parent)) {
    return parent.operatorToken.kind !== SyntaxKind.QuestionQuestionToken &&
      parent.operatorToken.kind !== SyntaxKind.EqualsToken;
  }
  if (ts.isCaseClause(parent)) return true;
  return ts.isCallExpression(parent) && ts.isPropertyAccessExpression(parent.expression) &&
    ["includes", "has", "startsWith", "endsWith"].includes(parent.expression.name.text);
}
