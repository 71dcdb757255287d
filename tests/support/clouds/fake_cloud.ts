/**
 * The common part of the cloud fakes: an API for machines and a metadata service, as one request handler that serves
 * over HTTP (for the providers' own clients) or in memory, and the faults of both.
 */
import type { Http } from "../../../lib/ports.ts";

export interface FakeInstance {
  /** The same instance keeps its name. */
  name: string;
  address?: string;
  publicAddress?: string;
  stopped?: boolean;
  /** Hetzner and Azure: the second network or interface. */
  otherAddress?: string;
  tags: Readonly<Record<string, string>>;
}

export const cloudFaults = [
  "metadata-unreachable",
  "metadata-silent",
  "api-unreachable",
  "api-silent",
  "token-refused",
  "no-permission",
  "throttled",
  "server-error",
  "cut-answer",
  "garbled-answer",
  "other-shape",
  "endless-answer",
  "redirect",
] as const;
export type CloudFault = typeof cloudFaults[number];

export abstract class FakeCloud {
  /** A secret that the tests search for in every log line and error. */
  readonly token = "canary-3f1c9d2e7b8a4056";
  instances: FakeInstance[] = [];
  /** Name of the instance the metadata service belongs to. */
  self = "self";
  fault: CloudFault | undefined;
  readonly requests: string[] = [];
  /** Size limit of endless answers. */
  sentMiB = 0;

  /** Both return undefined for unknown paths. */
  protected abstract metadata(url: URL, request: Request): Response | undefined;
  protected abstract api(url: URL, request: Request): Response | undefined;
  /** The provider's error format. */
  protected abstract error(status: number, message: string): unknown;
  protected abstract isMetadata(url: URL): boolean;

  get own(): FakeInstance {
    return this.instances.find(({ name }) => name === this.self) ?? { name: this.self, tags: {} };
  }

  async handle(request: Request): Promise<Response> {
    const url = new URL(request.url);
    this.requests.push(`${request.method} ${url.pathname}${url.search}`);
    if (this.isMetadata(url)) {
      if (this.fault === "metadata-unreachable") throw refusedConnection();
      if (this.fault === "metadata-silent") return await silence(request.signal);
      return this.metadata(url, request) ?? Response.json({ error: "Not found" }, { status: 404 });
    }
    switch (this.fault) {
      case "api-unreachable":
        throw refusedConnection();
      case "api-silent":
        return await silence(request.signal);
      case "token-refused":
        // A provider may repeat the request in its error.
        return this.failure(401, `unable to authenticate ${request.headers.get("authorization")}`);
      case "no-permission":
        return this.failure(403, `${this.token.slice(0, 6)} you are not authorized`);
      case "throttled":
        return this.failure(429, "too many requests", { "retry-after": "40" });
      case "server-error":
        return this.failure(503, "server error");
      case "redirect":
        return new Response(null, { status: 302, headers: { location: "https://elsewhere.test/" } });
      case "garbled-answer":
        return new Response("<html>welcome to the hotel</html>");
      case "other-shape":
        return Response.json({ droplets: 7, servers: {}, items: [1], value: "x" });
      case "endless-answer":
        return new Response(this.#endless());
      case "metadata-unreachable":
      case "metadata-silent":
      case "cut-answer":
      case undefined:
        break;
      default:
        this.fault satisfies never;
    }
    const refused = request.headers.get("authorization") !== `Bearer ${this.token}`;
    const response = refused ? this.failure(401, "unable to authenticate") : this.api(url, request);
    if (response === undefined) return this.failure(404, "not found");
    return this.fault === "cut-answer" ? await cut(response) : response;
  }

  /** In memory, as an argument of lib/. */
  readonly http: Http = async (url, init) => {
    const request = new Request(url, init ?? {});
    const response = await Promise.race([this.handle(request), aborted(request.signal)]);
    if (response.status === 302 && request.redirect !== "manual") {
      throw new Error("the token would be sent to another host");
    }
    return response;
  };

  /** Over loopback, for the provider's own client. */
  serve(): { url: string } & AsyncDisposable {
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => this.handle(request));
    return {
      url: `http://127.0.0.1:${server.addr.port}`,
      [Symbol.asyncDispose]: () => server.shutdown(),
    };
  }

  #endless(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const chunk = new Uint8Array(1024 * 1024).fill(0x20);
    const pull = (controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>) => {
      this.sentMiB++;
      controller.enqueue(chunk);
    };
    return new ReadableStream({ pull }, { highWaterMark: 0 });
  }

  protected failure(status: number, message: string, headers: Record<string, string> = {}): Response {
    return Response.json(this.error(status, message), { status, headers });
  }
}

/** The error of Deno's fetch. */
function refusedConnection(): TypeError {
  return new TypeError(
    "error sending request for url (http://x/): client error (Connect): tcp connect error: Connection refused (os error 111)",
  );
}

function silence(signal: AbortSignal): Promise<never> {
  return aborted(signal);
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

async function cut(response: Response): Promise<Response> {
  const text = await response.text();
  const half = new TextEncoder().encode(text.slice(0, text.length / 2));
  let sent = false;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (sent) controller.error(new TypeError("error reading a body from connection"));
      else controller.enqueue(half);
      sent = true;
    },
  });
  return new Response(body, response);
}
