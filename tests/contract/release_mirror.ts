/** A real HTTP server on loopback that serves etcd releases made from real programs. */
import { etcdDir, type EtcdVersion } from "../support/parts.ts";

/** A fault of the mirror for one path; it ends after `times` requests. */
export interface Fault {
  kind: "status" | "stall" | "cut" | "wrong-bytes";
  status?: number;
  /** Bytes of the body after which it stalls or breaks off. */
  afterBytes?: number;
  times: number;
}

export class ReleaseMirror implements AsyncDisposable {
  readonly url: string;
  readonly requests: { path: string; range: string | null }[] = [];
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  fault: Fault | undefined;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #stop = new AbortController();

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (r) => this.#answer(r));
    this.url = `http://127.0.0.1:${this.#server.addr.port}/releases`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#server.shutdown();
  }

  /** Packs the real programs with the system's tar, as the release does, under this version's name. */
  async add(version: EtcdVersion, { listed = true, as = version as string } = {}): Promise<string> {
    const arch = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
    const name = `etcd-v${as}-linux-${arch}`;
    const work = await Deno.makeTempDir({ prefix: "e2d-mirror-" });
    try {
      await Deno.mkdir(`${work}/${name}/Documentation`, { recursive: true });
      await Deno.writeTextFile(`${work}/${name}/Documentation/README.md`, "etcd\n");
      for await (const { name: program } of Deno.readDir(etcdDir(version))) {
        await Deno.copyFile(`${etcdDir(version)}/${program}`, `${work}/${name}/${program}`);
      }
      // Level 1 is fast, and the size does not matter.
      await run("tar", ["-C", work, "--use-compress-program=gzip -1", "-cf", `${work}/archive`, name]);
      await this.put(as, `${name}.tar.gz`, await Deno.readFile(`${work}/archive`), listed);
    } finally {
      await Deno.remove(work, { recursive: true });
    }
    return `/releases/v${as}/${name}.tar.gz`;
  }

  async put(version: string, name: string, data: Uint8Array<ArrayBuffer>, listed = true): Promise<void> {
    this.files.set(`/releases/v${version}/${name}`, data);
    const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex();
    const list = new TextEncoder().encode(`${sum}  ${name}\n`);
    if (listed) this.files.set(`/releases/v${version}/SHA256SUMS`, list);
  }

  #answer(request: Request): Response {
    const { pathname } = new URL(request.url);
    const range = request.headers.get("range");
    this.requests.push({ path: pathname, range });
    const data = this.files.get(pathname);
    if (data === undefined) return new Response("not here", { status: 404 });
    const fault = pathname.endsWith("SHA256SUMS") ? undefined : this.#takeFault();
    if (fault?.kind === "status") return new Response("no", { status: fault.status! });
    const etag = `"${data.length}"`;
    const asked = /^bytes=(\d+)-$/.exec(range ?? "");
    const from = asked !== null && request.headers.get("if-range") === etag ? Number(asked[1]) : 0;
    const body = this.#body(data, from, fault);
    const headers = new Headers({ etag, "content-length": String(data.length - from) });
    if (from > 0) headers.set("content-range", `bytes ${from}-${data.length - 1}/${data.length}`);
    return new Response(body, { status: from > 0 ? 206 : 200, headers });
  }

  #takeFault(): Fault | undefined {
    if (this.fault === undefined || this.fault.times === 0) return undefined;
    this.fault.times--;
    return this.fault;
  }

  #body(
    data: Uint8Array<ArrayBuffer>,
    from: number,
    fault: Fault | undefined,
  ): ReadableStream<Uint8Array<ArrayBuffer>> {
    let at = from;
    return new ReadableStream({
      pull: async (controller) => {
        if (at - from >= (fault?.afterBytes ?? Infinity)) {
          if (fault!.kind === "cut") return controller.error(new Error("cut"));
          if (fault!.kind === "stall") {
            return await new Promise((resolve) => this.#stop.signal.addEventListener("abort", () => resolve()));
          }
        }
        if (at >= data.length) return controller.close();
        const chunk = data.slice(at, at += 65_536);
        if (fault?.kind === "wrong-bytes") chunk[0]! ^= 1;
        controller.enqueue(chunk);
      },
    }, { highWaterMark: 0 });
  }
}

export async function run(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
