import { assertEquals } from "../support/assert.ts";
import { etcdCacheDir, etcdSharedDir } from "../../lib/cli/etcd_provider.ts";

Deno.test("etcdCacheDir() follows XDG, then the service's own cache, then the home", () => {
  const all = { XDG_CACHE_HOME: "/x", CACHE_DIRECTORY: "/var/cache/e2d:/other", HOME: "/home/u" };
  assertEquals(etcdCacheDir(all), "/x/e2d/etcd");
  assertEquals(etcdCacheDir({ ...all, XDG_CACHE_HOME: "relative" }), "/var/cache/e2d/etcd");
  assertEquals(etcdCacheDir({ HOME: "/home/u" }), "/home/u/.cache/e2d/etcd");
  for (const environment of [{}, { HOME: "" }, { HOME: "/" }, { XDG_CACHE_HOME: "" }]) {
    assertEquals(etcdCacheDir(environment), undefined);
  }
});

Deno.test("etcdSharedDir() is next to the bin folder of the executable, unless the launcher sets E2D_LIB_DIR", () => {
  assertEquals(etcdSharedDir({}, "/usr/local/bin/e2d"), "/usr/local/lib/e2d/etcd");
  assertEquals(etcdSharedDir({ E2D_LIB_DIR: "/opt/lib/e2d" }, undefined), "/opt/lib/e2d/etcd");
  assertEquals(etcdSharedDir({ E2D_LIB_DIR: "opt" }, undefined), undefined);
});
