/**
 * A machine under a real systemd: its PID 1 in namespaces of its own, its disk this machine's root below a layer in memory
 * that is gone afterwards. Needs root.
 */
import { eventually } from "./fixtures.ts";
import { part } from "./parts.ts";

async function run(program: string, args: readonly string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args], stdin: "null" }).output();
  return { code, text: [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("").trim() };
}

async function must(program: string, ...args: string[]): Promise<void> {
  const { code, text } = await run(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${text}`);
}

export interface SystemdMachineOptions {
  /** What of this machine it sees, by the path there. */
  readonly shown?: ReadonlyMap<string, string>;
  /** The same for what it may write to. */
  readonly shared?: ReadonlyMap<string, string>;
  /** The file of its network namespace; default: one with a loopback interface and nothing else. */
  readonly namespace?: string;
}

export class SystemdMachine implements AsyncDisposable {
  /** Its root directory, to put files in. */
  readonly root: string;
  readonly #layer: string;
  #nspawn: Deno.ChildProcess | undefined;
  #init = 0;

  private constructor(layer: string) {
    this.#layer = layer;
    this.root = `${layer}/root`;
  }

  /** `layer`: a folder to be made. Resolves when its systemd has started. */
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

  /** As its root. The text is what it says on both outputs. */
  async sh(command: string): Promise<{ code: number; text: string }> {
    return await run("nsenter", ["--target", `${this.#init}`, "--all", "sh", "-c", command]);
  }

  /** What `sh` says. Throws with it where the command fails. */
  async text(command: string): Promise<string> {
    const { code, text } = await this.sh(command);
    if (code !== 0) throw new Error(`${command}: exit code ${code}: ${text}`);
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#nspawn !== undefined) {
      // All that runs there ends with its PID 1.
      try {
        if (this.#init !== 0) Deno.kill(this.#init, "SIGKILL");
        else this.#nspawn.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await this.#nspawn.status;
    }
    await run("umount", ["--lazy", this.root]);
    await run("umount", ["--lazy", this.#layer]);
  }

  async #boot({ shown = new Map(), shared = new Map(), namespace }: SystemdMachineOptions): Promise<void> {
    await Deno.mkdir(this.#layer);
    await must("mount", "-t", "tmpfs", "tmpfs", this.#layer);
    for (const folder of ["upper", "work", "root"]) await Deno.mkdir(`${this.#layer}/${folder}`);
    const layers = `lowerdir=/,upperdir=${this.#layer}/upper,workdir=${this.#layer}/work`;
    await must("mount", "-t", "overlay", "overlay", "-o", layers, this.root);
    this.#nspawn = new Deno.Command(part("systemd-nspawn-252", "systemd-nspawn"), {
      args: [
        ...["--quiet", `--directory=${this.root}`, "--boot", `--machine=e2d-test-${Deno.pid}`],
        ...["--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"],
        namespace === undefined ? "--private-network" : `--network-namespace-path=${namespace}`,
        ...[...shown].map(([path, here]) => `--bind-ro=${here}:${path}`),
        ...[...shared].map(([path, here]) => `--bind=${here}:${path}`),
        "systemd.unit=basic.target",
      ],
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
      // "degraded": a service of this machine that this test does not use has failed there.
      return /^(running|degraded)$/.test(text);
    });
  }
}

/** The unit and its user, as docs/systemd.md has them installed. */
export async function installUnit(machine: SystemdMachine): Promise<void> {
  const read = (name: string) => Deno.readTextFile(new URL(`../../deploy/systemd/${name}`, import.meta.url));
  await machine.write("/etc/sysusers.d/e2d.conf", await read("e2d-sysusers.conf"));
  await machine.write("/etc/systemd/system/e2d.service", await read("e2d.service"));
  await machine.text("systemd-sysusers && systemctl daemon-reload");
}
