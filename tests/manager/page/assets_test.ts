import { pageAsset } from "../../../lib/manager/status/page/assets.ts";
import { handleLocalStatus, handleStatus } from "../../../lib/manager/status/handler.ts";
import { DecisionLog } from "../../../lib/manager/status/decision_log.ts";
import { StatusHistory } from "../../../lib/manager/status/history.ts";
import { assert, assertEquals } from "../../support/assert.ts";

const sources = {
  report: () => undefined,
  journal: new DecisionLog(),
  gossip: () => undefined,
  nowWallMs: () => Date.parse("2026-11-24T03:00:00Z"),
  history: new StatusHistory(),
};
const paths = ["/", "/page.css", "/page.js", "/page.svg"];

Deno.test("pageAsset() allows only the page's own content, and serves no other path", () => {
  for (const path of paths) {
    const { headers } = pageAsset(path)!;
    const policy = headers.get("content-security-policy")!;
    assert(policy.startsWith("default-src 'none'; ") && policy.includes("frame-ancestors 'none'"), path);
    assert(!/unsafe|\*|https?:|data:/.test(policy), policy);
    assertEquals([headers.get("x-content-type-options"), headers.get("referrer-policy")], ["nosniff", "no-referrer"]);
  }
  assertEquals(pageAsset("/page"), undefined);
});

Deno.test("handleStatus() serves the page only for GET and HEAD, also before the node's first step", async () => {
  const ask = (method: string) => handleStatus(new Request("http://10.0.0.1:7981/", { method }), sources);
  assertEquals([ask("GET").status, ask("HEAD").status, ask("POST").status], [200, 200, 405]);
  assert((await ask("GET").text()).includes('<html lang="en"'));
});

Deno.test("handleLocalStatus() rejects requests to other host names", () => {
  assertEquals(handleLocalStatus(new Request("http://evil.example/"), sources).status, 421);
});

Deno.test("handleStatus() dates its answers by the node's clock", () => {
  const { headers } = handleStatus(new Request("http://127.0.0.1/status"), sources);
  assertEquals(headers.get("date"), "Tue, 24 Nov 2026 03:00:00 GMT");
});

Deno.test("the page references no other origin and has no inline code or style; its script is complete", async () => {
  const [html, css, js] = await Promise.all(["/", "/page.css", "/page.js"].map((path) => pageAsset(path)!.text()));
  assert(!/https?:|\son\w+=|style=|<style|<script(?! src="\/page\.js")/.test(html!));
  assert(!/url\(|@import/.test(css!));
  assert(!/innerHTML|outerHTML|insertAdjacent|eval\(|\bimport\b|\bexport\b/.test(js!));
  for (const name of ["verdictOf", "plotOf", "drawRows"]) assert(js!.includes(`function ${name}(`), name);
  assert(js!.includes("class LivePage {"));
  // Throws when it is no JavaScript.
  new Function(js!);
});
