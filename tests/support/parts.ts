/**
 * Paths of the real programs of the tests. A missing part fails the test with the command that installs it; no test is
 * skipped.
 */
const cacheHome = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`;
export const partsDir = Deno.env.get("E2D_PARTS_DIR") ?? `${cacheHome}/e2d-parts`;

/** The path of one executable of a part, e.g. `part("etcd-3.6.14", "etcdctl")`. */
export function part(name: string, executable: string): string {
  const path = `${partsDir}/${name}/${executable}`;
  try {
    Deno.statSync(path);
  } catch (cause) {
    throw new Error(`real part "${name}" is missing ${path}: run tests/parts/install.sh ${name}`, { cause });
  }
  return path;
}

/** Every etcd version of the suite, oldest first. */
export const etcdVersions = ["3.4.23", "3.5.33", "3.6.14", "3.7.3"] as const;
export type EtcdVersion = typeof etcdVersions[number];

/** The folder with etcd, etcdctl and (from 3.5) etcdutl of one version. */
export function etcdDir(version: EtcdVersion = "3.6.14"): string {
  return part(`etcd-${version}`, "etcd").replace(/\/etcd$/, "");
}
