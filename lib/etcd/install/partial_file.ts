/** A download in progress on disk, which a later process can continue. It never decides whether to continue. */
import type { Hash } from "node:crypto";
import type { AppendFile, Files, Staging } from "../../ports.ts";

export interface PartialFileRequest {
  readonly folder: string;
  /** Without user name and password. */
  readonly shownUrl: string;
  readonly sizeMaxBytes: number;
}

export interface PartialFilePorts {
  files: Pick<Files, "readText" | "writeAtomic">;
  staging: Pick<Staging, "read" | "append">;
}

/** The file `archive` with its running checksum; `origin.json` beside it has the URL and the ETag that it came from. */
export class PartialFile {
  readonly path: string;
  etag: string | undefined;
  /** Bytes that this process received from the network. */
  receivedBytes = 0;
  readonly #originPath: string;
  readonly #url: string;
  readonly #file: AppendFile;
  readonly #ports: PartialFilePorts;
  readonly #createHash: () => Hash;
  #hash: Hash;

  private constructor(request: PartialFileRequest, ports: PartialFilePorts, file: AppendFile, createHash: () => Hash) {
    this.path = `${request.folder}/archive`;
    this.#originPath = `${request.folder}/origin.json`;
    this.#url = request.shownUrl;
    this.#file = file;
    this.#ports = ports;
    this.#createHash = createHash;
    this.#hash = createHash();
  }

  static async open(request: PartialFileRequest, ports: PartialFilePorts): Promise<PartialFile> {
    // Loaded on demand: most commands never download, and loading costs 20 ms.
    const { createHash } = await import("node:crypto");
    const file = await ports.staging.append(`${request.folder}/archive`, { mode: 0o600 });
    const partial = new PartialFile(request, ports, file, () => createHash("sha256"));
    try {
      partial.etag = strongTag(parseOrigin(await ports.files.readText(partial.#originPath), partial.#url));
      if (partial.size > request.sizeMaxBytes || (partial.size > 0 && partial.etag === undefined)) {
        await partial.restart();
      }
      if (partial.size > 0) {
        for await (const chunk of await ports.staging.read(partial.path) ?? []) partial.#hash.update(chunk);
      }
      return partial;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  get size(): number {
    return this.#file.size;
  }

  /** True when the next request can ask for the rest only. */
  resumable(): boolean {
    return this.size > 0 && this.etag !== undefined;
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.#file.append(chunk);
    this.#hash.update(chunk);
    this.receivedBytes += chunk.length;
  }

  /** Empties the file. The bytes that follow belong to this ETag. */
  async restart(etag?: string): Promise<void> {
    await this.#file.empty();
    this.#hash = this.#createHash();
    this.etag = strongTag(etag);
    await this.#ports.files.writeAtomic(this.#originPath, JSON.stringify({ url: this.#url, etag: this.etag }));
  }

  sum(): string {
    return this.#hash.copy().digest("hex");
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }
}

/** Only a strong ETag guarantees identical bytes (RFC 9110, section 13.1.5). */
function strongTag(etag: string | undefined): string | undefined {
  return etag !== undefined && /^"[\x21\x23-\x7e]{1,256}"$/.test(etag) ? etag : undefined;
}

/** The ETag that an earlier attempt recorded for this URL; undefined: the download must begin again. */
function parseOrigin(text: string | undefined, url: string): string | undefined {
  try {
    const origin: unknown = JSON.parse(text ?? "null");
    if (typeof origin !== "object" || origin === null) return undefined;
    const { url: from, etag } = origin as { url?: unknown; etag?: unknown };
    return from === url && typeof etag === "string" ? etag : undefined;
  } catch {
    return undefined;
  }
}
