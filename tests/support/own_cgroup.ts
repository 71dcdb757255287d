/**
 * A cgroup for one process and its children. Otherwise the machines of a test share one, and the systemd of one removes
 * the cgroup of a service while the systemd of another starts it (exit status 219).
 */
const hierarchies = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
let count = 0;

export class OwnCgroup {
  readonly #paths: readonly string[];

  private constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** Below the cgroup of this process, in each hierarchy that systemd uses: v1's `name=systemd`, and v2's. */
  static async make(): Promise<OwnCgroup> {
    const own = (await Deno.readTextFile("/proc/self/cgroup")).trim().split("\n").map((line) => line.split(":"));
    const name = `e2d-test-${Deno.pid}-${count++}`;
    const paths: string[] = [];
    for (const root of hierarchies) {
      const v1 = root.endsWith("/systemd");
      const [, , path] = own.find(([id, controllers]) => v1 ? controllers === "name=systemd" : id === "0") ?? [];
      if (path === undefined || !await exists(`${root}/cgroup.procs`)) continue;
      const cgroup = `${root}${path === "/" ? "" : path}/${name}`;
      await Deno.mkdir(cgroup);
      paths.push(cgroup);
    }
    return new OwnCgroup(paths);
  }

  /** The arguments of `sh` that run a command inside it, under the pid of that `sh`. */
  shell(program: string, args: readonly string[]): string[] {
    const enter = this.#paths.map((path) => `echo $$ > '${path}/cgroup.procs'`);
    return ["-c", [...enter, 'exec "$0" "$@"'].join(" && "), program, ...args];
  }

  /** Once all of its processes have ended. */
  async remove(): Promise<void> {
    for (const path of this.#paths) await removeTree(path);
  }
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

/** Its files belong to the kernel: a cgroup is removed by removing its folders, the innermost first. */
async function removeTree(path: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(path)) {
    if (isDirectory) await removeTree(`${path}/${name}`);
  }
  await new Deno.Command("rmdir", { args: [path], stderr: "null" }).output();
}
