/**
 * A machine under a real systemd: its PID 1 in separate namespaces, its disk the root of this machine below a layer in
 * memory that is discarded afterwards. Needs root.
 */
import { eventually } from "./fixtures.ts";
import { OwnCgroup } from "./own_cgroup.ts";
import { part, partsDir } from "./parts.ts";

/**
 * The path of the real parts in every machine: their folder here may be below /tmp, and a machine has its own /tmp.
 */
const partsThere = "/opt/e2d-parts";

/** The path in a machine of `path`, an executable of a part. */
export function inMachine(path: string): string {
  if (!path.startsWith(`${partsDir}/`)) throw new Error(`"${path}" is not in the folder of the real parts`);
  return `${partsThere}${path.slice(partsDir.length)}`;
}

async function run(program: string, args: readonly string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args], stdin: "null" }).output();
  return { code, text: [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("").trim() };
}

async function must(program: string, ...args: string[]): Promise<void> {
  const { code, text } = await run(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${text}`);
}

export interface SystemdMachineOptions {
  /** Read-only mounts from this machine, by the path there. */
  readonly shown?: ReadonlyMap<string, string>;
  /** Writable mounts, by the path there. */
  readonly shared?: ReadonlyMap<string, string>;
  /** Copies that all of its users may read, by the path there. */
  readonly copied?: ReadonlyMap<string, string>;
  /** The file of its network namespace; default: one with only a loopback interface. */
  readonly namespace?: string;
}

export class SystemdMachine implements AsyncDisposable {
  /** Its root directory, to put files in. */
  readonly root: string;
  readonly #layer: string;
  #nspawn: Deno.ChildProcess | undefined;
  #cgroup: OwnCgroup | undefined;
  #init = 0;

  private constructor(layer: string) {
    this.#layer = layer;
    this.root = `${layer}/root`;
  }

  /** `layer`: a folder that is created. Resolves when its systemd has started. */
  static async boot(layer: string, options: SystemdMachineOptions = {}): Promise<SystemdMachine> {
    const machine = new SystemdMachine(layer);
    try {
      await machine.#boot(options);
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
    return machine;
  }

  async write(path: string, text: string, mode = 0o644): Promise<void> {
    await Deno.mkdir(`${this.root}${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
    await Deno.writeTextFile(`${this.root}${path}`, text);
    await Deno.chmod(`${this.root}${path}`, mode);
  }

  /** Runs a command as root of the machine. The text is that of both outputs. */
  async sh(command: string): Promise<{ code: number; text: string }> {
    return await run("nsenter", ["--target", `${this.#init}`, "--all", "sh", "-c", command]);
  }

  /** Returns the text of `sh`. Throws it if the command fails. */
  async text(command: string): Promise<string> {
    const { code, text } = await this.sh(command);
    if (code !== 0) throw new Error(`${command}: exit code ${code}: ${text}`);
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#nspawn !== undefined) {
      // All of its processes end with its PID 1.
      try {
        if (this.#init !== 0) Deno.kill(this.#init, "SIGKILL");
        else this.#nspawn.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await this.#nspawn.status;
    }
    await this.#cgroup?.remove();
    await run("umount", ["--lazy", this.root]);
    await run("umount", ["--lazy", this.#layer]);
  }

  async #boot(options: SystemdMachineOptions): Promise<void> {
    const { shown = new Map(), shared = new Map(), copied = new Map(), namespace } = options;
    await Deno.mkdir(this.#layer);
    await must("mount", "-t", "tmpfs", "tmpfs", this.#layer);
    for (const folder of ["upper", "work", "root"]) await Deno.mkdir(`${this.#layer}/${folder}`);
    // The mode of its root directory must not depend on the umask: not every process in it runs as root.
    await Deno.chmod(`${this.#layer}/upper`, 0o755);
    const layers = `lowerdir=/,upperdir=${this.#layer}/upper,workdir=${this.#layer}/work`;
    await must("mount", "-t", "overlay", "overlay", "-o", layers, this.root);
    for (const [path, here] of copied) {
      await must("cp", "-r", here, `${this.root}${path}`);
      await must("chmod", "-R", "a+rX", `${this.root}${path}`);
    }
    this.#cgroup = await OwnCgroup.make();
    this.#nspawn = new Deno.Command("sh", {
      args: this.#cgroup.shell(part("systemd-nspawn-252", "systemd-nspawn"), [
        ...["--quiet", `--directory=${this.root}`, "--boot", `--machine=e2d-test-${Deno.pid}`],
        ...["--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"],
        namespace === undefined ? "--private-network" : `--network-namespace-path=${namespace}`,
        ...[[partsThere, partsDir], ...shown].map(([path, here]) => `--bind-ro=${here}:${path}`),
        ...[...shared].map(([path, here]) => `--bind=${here}:${path}`),
        "systemd.unit=basic.target",
      ]),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const { pid } = this.#nspawn;
    await eventually("PID 1 of the machine", async () => {
      const children = (await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`)).trim().split(" ");
      this.#init = Number(children[0]);
      return this.#init > 0 && (await Deno.readTextFile(`/proc/${this.#init}/comm`)).trim() === "systemd";
    });
    await eventually("a systemd that has started", async () => {
      const { text } = await this.sh("systemctl is-system-running");
      // "degraded": a service that this test does not use has failed there.
      return /^(running|degraded)$/.test(text);
    });
    for (const path of shown.keys()) await this.#makeReadable(path);
  }

  /** Files that were created under a strict umask are unreadable for other users there: a readable copy replaces them. */
  async #makeReadable(path: string): Promise<void> {
    const copy = `/var/tmp/shown${path.replaceAll("/", "-")}`;
    const forRootAlone = "'(' -type d ! -perm -005 -o -type f ! -perm -004 ')' -print -quit";
    await this.text(`[ -z "$(find ${path} ${forRootAlone})" ] || {
      cp -r ${path} ${copy} && chmod -R a+rX ${copy} && mount --bind ${copy} ${path}
    }`);
  }
}

/** Installs the unit and its user as docs/systemd.md describes. */
export async function installUnit(machine: SystemdMachine): Promise<void> {
  const read = (name: string) => Deno.readTextFile(new URL(`../../deploy/systemd/${name}`, import.meta.url));
  await machine.write("/etc/sysusers.d/e2d.conf", await read("e2d-sysusers.conf"));
  await machine.write("/etc/systemd/system/e2d.service", await read("e2d.service"));
  await machine.text("systemd-sysusers && systemctl daemon-reload");
}
