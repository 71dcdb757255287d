/** Draws values into the page with textContent and setAttribute, never as HTML. Sent to the browser, as view.ts is. */
import type { StatusReport } from "../report.ts";
import type { PageDocument, PageElement } from "./dom.ts";
import { type Plot, type PlotBox, rounded } from "./plot.ts";
import { type Concern, type Fact, memberLevel, memberState, type Row, rowsMost, type Verdict } from "./view.ts";
import { durationText } from "../../../units.ts";

export function byId(document: PageDocument, id: string): PageElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element "${id}"`);
  return found;
}

export function made(document: PageDocument, name: string, text = "", className = ""): PageElement {
  const element = document.createElement(name);
  element.textContent = text;
  if (className !== "") element.className = className;
  return element;
}

export function drawn(
  document: PageDocument,
  name: string,
  attributes: Record<string, string | number>,
  text = "",
): PageElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== "") element.textContent = text;
  return element;
}

/** Sets a text only when it differs: a screen reader reads every change. */
export function setText(document: PageDocument, id: string, text: string): void {
  const element = byId(document, id);
  if (element.textContent !== text) element.textContent = text;
}

export function drawVerdict(document: PageDocument, { level, headline, summary, concerns }: Verdict): void {
  byId(document, "verdict").className = `verdict ${level}`;
  setText(document, "sign", level === "good" ? "✓" : level === "wait" ? "…" : "!");
  setText(document, "headline", headline);
  setText(document, "summary", summary);
  byId(document, "concerns").replaceChildren(...concerns.map((concern) => concernItem(document, concern)));
}

export function concernItem(document: PageDocument, { level, text, hint }: Concern): PageElement {
  const item = made(document, "li", "", level);
  item.append(made(document, "b", text));
  if (hint !== undefined) item.append(made(document, "span", hint));
  return item;
}

export function drawFacts(document: PageDocument, facts: readonly Fact[]): void {
  byId(document, "facts").replaceChildren(...facts.map(({ label, value, note, level }) => {
    const group = made(document, "div", "", level);
    group.append(made(document, "dt", label), made(document, "dd", value));
    if (note !== "") group.append(made(document, "dd", note));
    return group;
  }));
}

/** The first cell is the row header; `mark` is the index of the cell that shows the level of the row. */
export function drawRows(document: PageDocument, id: string, rows: readonly Row[], mark: number): void {
  const table = byId(document, id);
  const heads = [...table.querySelectorAll("thead th")].map(({ textContent }) => textContent ?? "");
  table.hidden = rows.length === 0;
  byId(document, `${id}-empty`).hidden = rows.length > 0;
  table.querySelector("tbody")!.replaceChildren(...rows.map(({ cells, level }) => {
    const row = made(document, "tr");
    row.setAttribute("role", "row");
    cells.forEach((text, at) => {
      const cell = made(document, at === 0 ? "th" : "td", "", at === mark ? level : "");
      cell.setAttribute("role", at === 0 ? "rowheader" : "cell");
      if (at === 0) cell.setAttribute("scope", "row");
      cell.setAttribute("data-label", heads[at] ?? "");
      cell.append(made(document, "span", text));
      row.append(cell);
    });
    return row;
  }));
}

export function shortened(text: string): string {
  return text.length > 15 ? `${text.slice(0, 14)}…` : text;
}

/** Up to three members in a row with the leader in the middle, more in a ring with the leader on top. The table has the same facts as text. */
export function drawTopology(document: PageDocument, report: StatusReport): void {
  const members = report.members.slice(0, rowsMost());
  const leader = members.find(({ role }) => role === "leader");
  const others = members.filter((member) => member !== leader);
  const ring = members.length > 3;
  const svg = drawn(document, "svg", {
    viewBox: ring ? "0 0 480 320" : "0 0 480 106",
    role: "img",
    "aria-label": `Topology: ${
      members.map((each) => `${each.name || each.id} ${each.role}, ${memberState(each)}`).join("; ")
    }`,
  });
  const order = leader === undefined
    ? members
    : ring
    ? [leader, ...others]
    : [...others.slice(0, 1), leader, ...others.slice(1)];
  const places = order.map((member, at) => placeOf(member, at, order.length));
  const from = places.find(({ member }) => member === leader);
  for (const { member, x, y } of places) {
    if (from === undefined || member === leader) continue;
    svg.append(
      drawn(document, "line", {
        class: memberLevel(member),
        x1: rounded(from.x),
        y1: from.y,
        x2: rounded(x),
        y2: rounded(y),
      }),
    );
  }
  // In the upper half of the ring the text is above the node, where no line passes.
  for (const place of places) svg.append(drawMember(document, place, !ring || place.y > 150));
  byId(document, "topology").replaceChildren(...(members.length === 0 ? [] : [svg]));
}

type Member = StatusReport["members"][number];

interface MemberPlace {
  readonly member: Member;
  readonly x: number;
  readonly y: number;
}

/** The place of the member at this index of `count`, in units of the drawing. */
export function placeOf(member: Member, at: number, count: number): MemberPlace {
  if (count <= 3) return { member, x: 240 + 160 * (at - (count - 1) / 2), y: 30 };
  const angle = Math.PI * (2 * at / count - 0.5);
  return { member, x: 240 + 165 * Math.cos(angle), y: 158 + 80 * Math.sin(angle) };
}

export function drawMember(
  document: PageDocument,
  { member, x, y }: MemberPlace,
  textBelow: boolean,
): ReturnType<typeof drawn> {
  const leads = member.role === "leader";
  const state = memberState(member);
  const group = drawn(document, "g", { class: `${memberLevel(member)}${leads ? " leads" : ""}` });
  const text = (dy: number, attributes: Record<string, string>, content: string) =>
    drawn(document, "text", { ...attributes, x: rounded(x), y: rounded(y + dy) }, content);
  group.append(
    drawn(document, "circle", { cx: rounded(x), cy: rounded(y), r: leads ? 24 : 19 }),
    text(5, { class: "mark" }, markOf(member.role, state)),
    text(textBelow ? 43 : -49, {}, shortened(member.name || member.id)),
    text(textBelow ? 62 : -30, { class: "what" }, `${shortened(member.role)}, ${state}`),
  );
  return group;
}

export function markOf(role: string, state: string): string {
  return state === "silent" ? "✕" : state === "alarm" ? "!" : role === "leader" ? "★" : role === "voter" ? "✓" : "…";
}

/** `box` in units of the drawing. */
export function drawPlot(
  document: PageDocument,
  id: string,
  { lines, grid, times, spanMs }: Plot,
  box: PlotBox,
  textOf: (value: number) => string,
): void {
  const place = byId(document, `plot-${id}`);
  if (lines.every(({ path }) => path === "")) {
    place.replaceChildren(made(document, "p", "Nothing measured by this node yet.", "empty"));
    return;
  }
  const values = lines.map(({ name, last }) => `${name} ${last === undefined ? "unknown" : textOf(last)}`).join(", ");
  const svg = drawn(document, "svg", {
    viewBox: `0 0 ${box.widthPx} ${box.heightPx}`,
    role: "img",
    "aria-label": `${byId(document, `c-${id}`).textContent}, last ${durationText(spanMs)}. Now: ${values}`,
  });
  for (const { yPx, value } of grid) {
    svg.append(
      drawn(document, "line", { class: "grid", x1: box.leftPx, x2: box.widthPx, y1: yPx, y2: yPx }),
      drawn(document, "text", { x: box.leftPx - 8, y: yPx + 8, "text-anchor": "end" }, textOf(value)),
    );
  }
  times.forEach(({ xPx, agoMs }, at) => {
    const text = agoMs === 0 ? "now" : `−${rounded(agoMs / 60_000)} min`;
    const anchor = at === 0 ? "start" : at === times.length - 1 ? "end" : "middle";
    svg.append(drawn(document, "text", { x: xPx, y: box.heightPx - 3, "text-anchor": anchor }, text));
  });
  lines.forEach(({ path }, at) => svg.append(drawn(document, "path", { class: `s${at % 7}`, d: path })));
  const legend = made(document, "ul", "", "legend");
  lines.forEach(({ name, last }, at) => {
    const item = made(document, "li");
    const line = drawn(document, "svg", { viewBox: "0 0 28 8", "aria-hidden": "true" });
    line.append(drawn(document, "path", { class: `s${at % 7}`, d: "M1 4H27" }));
    item.append(line, made(document, "span", `${name} ${last === undefined ? "–" : textOf(last)}`));
    legend.append(item);
  });
  place.replaceChildren(svg, legend);
}
