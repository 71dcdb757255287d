import { nodeSocket } from "../../lib/cli/control.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

const here = `${Deno.cwd()}/data.e2d.sock`;
const unit = "/var/lib/e2d/etcd.e2d.sock";
const among = (...paths: string[]) => (path: string) => Promise.resolve(paths.includes(path));

Deno.test("nodeSocket() takes the node of the default data-dir before that of the unit", async () => {
  assertEquals(await nodeSocket(undefined, among(here, unit)), here);
  assertEquals(await nodeSocket(undefined, among(unit)), unit);
  assertEquals(await nodeSocket("", among(unit)), unit);
});

Deno.test("nodeSocket() takes no other node than that of the data-dir that is given", async () => {
  assertEquals(await nodeSocket("data", among(unit)), here);
  assertEquals(await nodeSocket("./data/", among(unit)), here);
  assertEquals(await nodeSocket("/srv/etcd", among(here, unit)), "/srv/etcd.e2d.sock");
});

Deno.test("nodeSocket() names both places and --data-dir where there is no node", async () => {
  const { message, hint } = await assertE2dError("control_unreachable", () => nodeSocket(undefined, among()));
  assert(message.includes(`"${here}"`) && message.includes(`"${unit}"`), message);
  assert(hint?.includes("--data-dir"), hint);
});
