import { pageAsset } from "../../../lib/manager/page/assets.ts";
import { handleLocalStatus, handleStatus } from "../../../lib/manager/status_handler.ts";
import { Journal } from "../../../lib/manager/journal.ts";
import { StatusHistory } from "../../../lib/manager/status_history.ts";
import { assert, assertEquals } from "../../support/assert.ts";

const sources = {
  report: () => undefined,
  journal: new Journal(),
  gossip: () => undefined,
  nowWallMs: () => Date.parse("2026-11-24T03:00:00Z"),
  history: new StatusHistory(),
};
const paths = ["/", "/page.css", "/page.js", "/page.svg"];

Deno.test("pageAsset() lets in nothing but the page's own files, and knows no other path", () => {
  for (const path of paths) {
    const { headers } = pageAsset(path)!;
    const policy = headers.get("content-security-policy")!;
    assert(policy.startsWith("default-src 'none'; ") && policy.includes("frame-ancestors 'none'"), path);
    assert(!/unsafe|\*|https?:|data:/.test(policy), policy);
    assertEquals([headers.get("x-content-type-options"), headers.get("referrer-policy")], ["nosniff", "no-referrer"]);
  }
  assertEquals(pageAsset("/page"), undefined);
});

Deno.test("handleStatus() serves the page by GET and HEAD alone, before the node's first step, too", async () => {
  const ask = (method: string) => handleStatus(new Request("http://10.0.0.1:7981/", { method }), sources);
  assertEquals([ask("GET").status, ask("HEAD").status, ask("POST").status], [200, 200, 405]);
  assert((await ask("GET").text()).includes('<html lang="en"'));
});

Deno.test("handleLocalStatus() gives the page to no other name of this machine", () => {
  assertEquals(handleLocalStatus(new Request("http://evil.example/"), sources).status, 421);
});

Deno.test("handleStatus() dates its answers by the node's clock", () => {
  const { headers } = handleStatus(new Request("http://127.0.0.1/status"), sources);
  assertEquals(headers.get("date"), "Tue, 24 Nov 2026 03:00:00 GMT");
});

Deno.test("the page names no other origin and holds no code or style of its own; its script is whole", async () => {
  const [html, css, js] = await Promise.all(["/", "/page.css", "/page.js"].map((path) => pageAsset(path)!.text()));
  assert(!/https?:|\son\w+=|style=|<style|<script(?! src="\/page\.js")/.test(html!));
  assert(!/url\(|@import/.test(css!));
  assert(!/innerHTML|outerHTML|insertAdjacent|eval\(|\bimport\b|\bexport\b/.test(js!));
  for (const name of ["verdictOf", "plotOf", "drawRows", "startPage"]) assert(js!.includes(`function ${name}(`), name);
  // Throws when it is no JavaScript.
  new Function(js!);
});
