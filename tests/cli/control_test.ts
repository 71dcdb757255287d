import { nodeSocket } from "../../lib/cli/control.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

const defaultSocket = `${Deno.cwd()}/data.e2d.sock`;
const unitSocket = "/var/lib/e2d/etcd.e2d.sock";
const among = (...paths: string[]) => (path: string) => Promise.resolve(paths.includes(path));

Deno.test("nodeSocket() prefers the node of the default data-dir to that of the unit", async () => {
  assertEquals(await nodeSocket(undefined, among(defaultSocket, unitSocket)), defaultSocket);
  assertEquals(await nodeSocket(undefined, among(unitSocket)), unitSocket);
  assertEquals(await nodeSocket("", among(unitSocket)), unitSocket);
});

Deno.test("nodeSocket() returns only the node of a given data-dir", async () => {
  assertEquals(await nodeSocket("data", among(unitSocket)), defaultSocket);
  assertEquals(await nodeSocket("./data/", among(unitSocket)), defaultSocket);
  assertEquals(await nodeSocket("/srv/etcd", among(defaultSocket, unitSocket)), "/srv/etcd.e2d.sock");
});

Deno.test("nodeSocket() names both sockets and --data-dir if there is no node", async () => {
  const { message, hint } = await assertE2dError("control_unreachable", () => nodeSocket(undefined, among()));
  assert(message.includes(`"${defaultSocket}"`) && message.includes(`"${unitSocket}"`), message);
  assert(hint?.includes("--data-dir"), hint);
});
