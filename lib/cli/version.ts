/** What `e2d version` says: the original's JSON, with the runtime in place of Go's. Imports nothing: it is to be quick. */

/** Held equal to deno.json by a test. */
export const e2dVersion = "1.0.0";
/** Set by the build (tools/compile.ts); empty in a checkout. */
export const gitSha = "";
export const buildDate = "";

export function versionText(etcdVersion: string, runtime: { deno: string }): string {
  return JSON.stringify({
    etcd: { Version: etcdVersion },
    e2d: { Version: e2dVersion, GitSHA: gitSha },
    build: { Date: buildDate, DenoVersion: runtime.deno },
  });
}
