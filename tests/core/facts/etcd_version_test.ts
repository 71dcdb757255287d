import { versionOf } from "../../../lib/core/facts/etcd_version.ts";
import type { EndpointFacts } from "../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, member, silent } from "../facts.ts";

Deno.test("versionOf() is what the member itself answered last at one of its addresses, and unknown since a failure", () => {
  const b = member("b", { clientUrls: ["http://1", "http://2"] });
  const of = (endpoints: Readonly<Record<string, EndpointFacts>>) =>
    versionOf(b, { endpoints: new Map(Object.entries(endpoints)) });
  const own = answering(answer("b", [], { version: "3.5.33" }), 0);
  assertEquals(of({}), undefined);
  assertEquals(of({ "http://1": own }), "3.5.33");
  assertEquals(of({ "http://1": silent(0), "http://2": own }), "3.5.33");
  assertEquals(of({ "http://1": answering(answer("c", [], { version: "3.6.14" })), "http://2": own }), "3.5.33");
  assertEquals(of({ "http://1": silent(0) }), undefined);
  assertEquals(of({ "http://3": own }), undefined, "at no address of the member");
});
