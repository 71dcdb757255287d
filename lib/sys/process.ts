import { E2dError } from "../errors.ts";
import type { Process, Processes, ProcessIdentity } from "../ports.ts";

/** The processes of this machine. */
export const systemProcesses: Processes = {
  async start(program, args, options = {}) {
    const setpriv = options.dieWithParent ? await findSetpriv() : undefined;
    const [command, commandArgs] = setpriv === undefined
      ? [program, [...args]]
      : [setpriv, ["--pdeathsig", "SIGTERM", "--", program, ...args]];
    // Through setpriv, a missing program would appear as an exit. Checked here, it is an error of the start.
    if (setpriv !== undefined) await requireRunnable(program);
    let child: Deno.ChildProcess;
    try {
      child = new Deno.Command(command, {
        args: commandArgs,
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        // setsid(2) before exec does not affect the parent-death signal.
        detached: options.ownSession === true,
        ...environmentFor(options.environment, options.inherit),
      }).spawn();
    } catch (error) {
      throw new E2dError("process_start", `Cannot start "${program}": the system refused`, { cause: error });
    }
    return systemProcess(child);
  },

  async identify(pid) {
    // Without all permissions Deno may not read files of other processes under /proc; `cat` may.
    const [stat, commandLine] = await Promise.all([catProc(`/proc/${pid}/stat`), catProc(`/proc/${pid}/cmdline`)]);
    if (stat === undefined || commandLine === undefined) return undefined;
    // proc_pid_stat(5): the name in brackets may contain any character, so fields are counted after the last bracket.
    // Field 3 is the state, 20 the number of threads, 22 the start time in clock ticks since boot.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie with other threads has not exited: those still own its sockets and files.
    if ((fields[0] === "Z" && Number(fields[17]) <= 1) || fields[19] === undefined) return undefined;
    const args = commandLine.split("\0").filter((arg) => arg !== "");
    return { pid, started: `${await bootId()}-${fields[19]}`, args } satisfies ProcessIdentity;
  },

  kill(pid, signal) {
    try {
      Deno.kill(pid, signal);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        throw new E2dError("process_kill", `Cannot send ${signal} to process ${pid}: the system refused`, {
          cause: error,
        });
      }
    }
  },
};

function systemProcess(child: Deno.ChildProcess): Process {
  return {
    pid: child.pid,
    stdout: child.stdout,
    stderr: child.stderr,
    exited: child.status.then(({ code, signal }) => ({ code, signal: signal ?? undefined })),
    kill(signal) {
      try {
        child.kill(signal);
      } catch {
        // It has exited already.
      }
    },
  };
}

function environmentFor(
  added: Readonly<Record<string, string>> = {},
  inherit: RegExp | undefined,
): { clearEnv?: boolean; env: Record<string, string> } {
  if (inherit === undefined) return { env: { ...added } };
  const kept = Object.entries(Deno.env.toObject()).filter(([name]) => inherit.test(name));
  return { clearEnv: true, env: { ...Object.fromEntries(kept), ...added } };
}

let setprivPath: Promise<string | undefined> | undefined;

/**
 * setpriv of util-linux, which every distribution with systemd has, sets the parent-death signal and then executes the
 * program. Undefined where it is missing, or is that of Busybox, which lacks the option.
 */
function findSetpriv(): Promise<string | undefined> {
  setprivPath ??= (async () => {
    if (Deno.build.os !== "linux") return undefined;
    try {
      const { success } = await new Deno.Command("setpriv", {
        args: ["--pdeathsig", "SIGTERM", "--", "true"],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).output();
      return success ? "setpriv" : undefined;
    } catch {
      return undefined;
    }
  })();
  return setprivPath;
}

async function requireRunnable(program: string): Promise<void> {
  if (!program.includes("/")) return;
  const refuse = (cause: unknown) =>
    new E2dError("process_start", `Cannot start "${program}": the system refused`, { cause });
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(program);
  } catch (cause) {
    throw refuse(cause);
  }
  if (!info.isFile || ((info.mode ?? 0o111) & 0o111) === 0) throw refuse(new Error("permission denied (os error 13)"));
}

async function catProc(path: string): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command("cat", { args: [path], stdin: "null", stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch {
    return undefined;
  }
}

/** Identifies the boot from which start times count. */
async function bootId(): Promise<string> {
  return (await catProc("/proc/sys/kernel/random/boot_id"))?.trim() ?? "";
}
