import { assertEquals } from "../support/assert.ts";
import type { ListedEtcd } from "../../lib/etcd/install/provider.ts";
import { listText } from "../../lib/cli/etcd.ts";

Deno.test("listText() aligns the columns and marks the etcd that run selects", () => {
  const cached: ListedEtcd = { version: "3.6.14", folder: "/cache/3.6.14", source: "cache" };
  const installed: ListedEtcd = { version: "3.5.33", folder: "/usr/local/lib/e2d/etcd/3.5.33", source: "installed" };
  const path: ListedEtcd = { version: "3.4.23", folder: "/usr/bin", source: "path" };
  assertEquals(
    listText([cached, installed, path], cached),
    [
      "   VERSION  SOURCE     FOLDER",
      "*  3.6.14   cache      /cache/3.6.14",
      "   3.5.33   installed  /usr/local/lib/e2d/etcd/3.5.33",
      "   3.4.23   path       /usr/bin",
      "",
    ].join("\n"),
  );
  assertEquals(listText([], undefined).startsWith("no etcd is installed"), true);
});
