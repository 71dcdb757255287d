/**
 * Disables core dumps of this process and of those that it starts later, because their memory contains keys and
 * credentials. Only the soft limit is lowered, so that an operator can raise it to debug a crash (`prlimit
 * --core=unlimited --pid PID`). False when prlimit (util-linux) is missing; LimitCORE=0 in a unit file has the same
 * effect.
 */
export async function forbidCoreDumps(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("prlimit", {
      args: [`--pid=${Deno.pid}`, "--core=0:"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}
