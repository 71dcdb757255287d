/**
 * Keeps this process, and those that it starts from then on, from leaving their memory on the disk when they crash: keys
 * and credentials are in it. Only the soft limit goes down, so that whoever hunts a crash can raise it again
 * (`prlimit --core=unlimited --pid PID`). prlimit is of util-linux, as setpriv is; where there is none, LimitCORE=0 of a
 * unit file does the same, and false is returned.
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
