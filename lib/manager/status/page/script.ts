/**
 * The script of the page: the source of the functions of view.ts, plot.ts, draw.ts and units.ts, and of the class
 * `LivePage`. There is no build step.
 */
import * as draw from "./draw.ts";
import * as livePage from "./live_page.ts";
import * as plot from "./plot.ts";
import * as view from "./view.ts";
import * as units from "../../../units.ts";

/** The script that the browser runs. */
export function pageScript(): string {
  const sources = [units, view, plot, draw, livePage].flatMap((module) => Object.values(module)).map(String);
  return [
    '"use strict";',
    ...sources,
    "new LivePage({ document, clock: performance, fetch: (path, init) => fetch(path, init), every: (ms, act) => setInterval(act, ms) }).start();",
    "",
  ].join("\n");
}
