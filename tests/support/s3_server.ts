/** A real S3 server (versitygw) on loopback, with one bucket: "bucket". */
import { eventually, freePorts, temporaryDirectory } from "./fixtures.ts";
import { part } from "./parts.ts";

export const s3Keys = { accessKeyId: "access", secretAccessKey: "canary-4f1c7e" };

interface S3ServerOptions {
  readonly region?: string;
  /** Paths of PEM files. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export class S3Server implements AsyncDisposable {
  readonly endpoint: string;
  readonly folder: string;
  readonly #child: Deno.ChildProcess;
  readonly #directory: AsyncDisposable;

  private constructor(
    directory: { path: string } & AsyncDisposable,
    port: number,
    { region = "us-east-1", tls }: S3ServerOptions,
  ) {
    this.#directory = directory;
    this.folder = directory.path;
    this.endpoint = `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`;
    this.#child = new Deno.Command(part("versitygw-1.8.0", "versitygw"), {
      args: [
        "--port",
        `127.0.0.1:${port}`,
        "--access",
        s3Keys.accessKeyId,
        "--secret",
        s3Keys.secretAccessKey,
        "--region",
        region,
        ...(tls === undefined ? [] : ["--cert", tls.cert, "--key", tls.key]),
        "posix",
        directory.path,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  static async start(options: S3ServerOptions = {}): Promise<S3Server> {
    const directory = await temporaryDirectory();
    await Deno.mkdir(`${directory.path}/bucket`);
    const port = freePorts(1)[0]!;
    const server = new S3Server(directory, port, options);
    await eventually("the S3 server answers", async () => {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    });
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.status;
    await this.#directory[Symbol.asyncDispose]();
  }
}
