/**
 * The output of `e2d version`: the JSON of the Go e2d, with the version of Deno instead of Go. Imports nothing, because
 * scripts and probes run this command often.
 */

/** A test compares this with deno.json. */
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
