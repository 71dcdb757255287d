/**
 * Rejects guillemets and retired terms in sources, tests and documents. CONTRIBUTING.md has the language rules. A term that
 * is an interface (output of a command, a reason code) may stay where `allowed` lists it.
 */
import { fileURLToPath } from "node:url";
import { assertEquals } from "./support/assert.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const places = ["lib", "tests", "docs", "tools", "bench", "deploy", "main.ts", "install.sh"];
const kinds = /\.(ts|md|sh|yaml)$/;
/** Data of other programs, and this table. */
const leftOut = /^tests\/(vectors\/|language_test\.ts$)/;

/** Retired terms, matched as whole words in any case, and their replacements. */
const retired: Readonly<Record<string, string>> = {
  "by itself": "automatically, or the component that acts",
  "by themselves": "automatically",
  "former self": "stale member",
  "former selves": "stale members",
  "a human": "an operator",
  "vouched": "verified",
  "vouches": "verifies",
  "power cut": "power failure",
  "stand down": "yieldToNewerEpoch",
  "stands down": "yields to the newer epoch",
  "gives way": "yields",
  "give way": "yield",
  "makes way": "is replaced, is quarantined",
  "make way": "be replaced, be quarantined",
  "moved aside": "quarantined",
  "moves aside": "quarantines",
  "move aside": "quarantine",
  "moved its data aside": "quarantined its data",
  "moves its data aside": "quarantines its data",
  "found out": "detected",
  "finds out": "detects",
  "last words": "last log lines",
  "in the dark": "without power, or unknown",
  "goes dark": "loses power",
  "go dark": "lose power",
  "at hand": "present",
  "in the clear": "unencrypted",
  "makes room": "reclaims space",
  "says goodbye": "leaves",
  "majority lost": "quorum loss",
  "founding": "bootstrap",
  "founder": "initial member",
  "founders": "initial members",
  "spare": "standby node",
  "spares": "standby nodes",
  "catalogue": "snapshot lookup",
  "deed": "effect",
  "deeds": "effects",
  "moveAside": "quarantine",
  "makeRoom": "reclaimSpace",
  "make room": "reclaim space",
};

interface Allowed {
  readonly term: string;
  readonly files: readonly string[];
  readonly reason: string;
}

/** Places where a term is an interface. */
const allowed: readonly Allowed[] = [
  { term: "by itself", files: ["CHANGELOG.md"], reason: "quotes a former log line" },
  ...["founding", "founders", "spare", "moveAside", "makeRoom"].map((term): Allowed => (
    { term, files: ["CHANGELOG.md"], reason: "the list of renamed codes and outcomes" }
  )),
  {
    term: "catalogue",
    files: [
      "lib/cli/status.ts",
      "lib/manager/status/page/view.ts",
      "lib/manager/status/report.ts",
      "tests/cli/status_test.ts",
      "tests/e2e/page_probes.ts",
      "tests/manager/page/view_test.ts",
      "tests/manager/status_history_test.ts",
      "tests/manager/status_report_test.ts",
    ],
    reason: "a field of e2d status --json",
  },
  { term: "catalogue", files: ["lib/manager/adapters/facts_note.ts"], reason: "a field of the notes between nodes" },
  {
    term: "founders",
    files: ["lib/core/facts/node_record.ts", "lib/manager/data_dir/read_facts.ts", "tests/manager/node_record_test.ts"],
    reason: "a field of the node record and of the notes between nodes",
  },
  {
    term: "founding",
    files: ["lib/core/rules/bootstrap/proposal.ts"],
    reason: "part of the digest that nodes of different releases must compute alike",
  },
];

const pattern = (term: string) => new RegExp(`(?<!\\w)${term.replaceAll(" ", "\\s+(?:\\*|//|#)?\\s*")}(?!\\w)`, "gi");

async function* filesOf(path: string): AsyncGenerator<string> {
  if (!(await Deno.stat(root + path)).isDirectory) yield path;
  else for await (const { name } of Deno.readDir(root + path)) yield* filesOf(`${path}/${name}`);
}

async function checkedFiles(): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isFile } of Deno.readDir(root)) if (isFile && name.endsWith(".md")) found.push(name);
  for (const place of places) for await (const path of filesOf(place)) found.push(path);
  return found.filter((path) => kinds.test(path) && !leftOut.test(path)).sort();
}

const lineAt = (text: string, index: number) => text.slice(0, index).split("\n").length;

/** `file:line: the term and its replacement` for each occurrence. */
function findTerms(file: string, text: string, terms: Readonly<Record<string, string>>): string[] {
  const found: string[] = [];
  for (const [term, replacement] of Object.entries(terms)) {
    if (allowed.some((each) => each.term === term && each.files.includes(file))) continue;
    for (const { index } of text.matchAll(pattern(term))) {
      found.push(`${file}:${lineAt(text, index)}: "${term}": write ${replacement}`);
    }
  }
  return found;
}

/** Each guillemet and each of `terms` in a file. */
async function findAll(file: string, terms: Readonly<Record<string, string>>): Promise<string[]> {
  const text = await Deno.readTextFile(root + file);
  const guillemets = [...text.matchAll(/[\u00ab\u00bb]/g)].map(({ index }) =>
    `${file}:${lineAt(text, index)}: guillemet`
  );
  return [...guillemets, ...findTerms(file, text, terms)];
}

Deno.test("language: no source, test or document contains a guillemet or a retired term", async () => {
  const files = await checkedFiles();
  assertEquals((await Promise.all(files.map((file) => findAll(file, retired)))).flat(), []);
});

Deno.test("language: each allowed place exists and contains its term", async () => {
  for (const { term, files } of allowed) {
    for (const file of files) {
      assertEquals(pattern(term).test(await Deno.readTextFile(root + file)), true, `${file} has no "${term}" any more`);
    }
  }
});
