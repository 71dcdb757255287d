/** A real headless Chromium, asked over its DevTools protocol. */
import { part } from "../support/parts.ts";

const startTimeoutMs = 60_000;
const callTimeoutMs = 60_000;

// deno-lint-ignore no-explicit-any -- answers of the protocol: each caller knows the shape of its own
type Answer = any;

export interface ProtocolEvent {
  readonly method: string;
  readonly params: Answer;
}

/** One browser with one page. All that the page says and asks for is kept in `events`. */
export class Browser implements AsyncDisposable {
  readonly events: ProtocolEvent[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #socket: WebSocket;
  readonly #folder: string;
  readonly #calls = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  #session: string | undefined;

  private constructor(child: Deno.ChildProcess, socket: WebSocket, folder: string) {
    this.#child = child;
    this.#socket = socket;
    this.#folder = folder;
    socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    socket.onclose = () => {
      for (const { reject } of this.#calls.values()) reject(new Error("the browser has gone"));
      this.#calls.clear();
    };
  }

  static async start(): Promise<Browser> {
    const program = part("chromium-131.0.1", "chromium");
    const folder = await Deno.makeTempDir({ prefix: "e2d-browser-" });
    const child = new Deno.Command(program, {
      args: [
        "--headless",
        // Tests run as root in containers, where Chromium's own sandbox does not work; it sees our page alone.
        "--no-sandbox",
        "--no-zygote",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--no-proxy-server",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
        `--user-data-dir=${folder}`,
        "about:blank",
      ],
      env: { HOME: folder, XDG_CACHE_HOME: folder, XDG_CONFIG_HOME: folder },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      const url = await endpointOf(folder);
      const socket = new WebSocket(url);
      await new Promise<void>((resolve, reject) => {
        socket.onopen = () => resolve();
        socket.onerror = () => reject(new Error(`the browser does not answer at ${url}`));
      });
      const browser = new Browser(child, socket, folder);
      await browser.#attach();
      return browser;
    } catch (error) {
      child.kill("SIGKILL");
      await child.status;
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  async #attach(): Promise<void> {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    this.#session = sessionId;
    for (const domain of ["Page", "Runtime", "Network", "Log", "Accessibility"]) await this.call(`${domain}.enable`);
  }

  async call(method: string, params: Record<string, unknown> = {}): Promise<Answer> {
    const id = this.#nextId++;
    let timer: number | undefined;
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      timer = setTimeout(() => reject(new Error(`${method}: no answer in ${callTimeoutMs} ms`)), callTimeoutMs);
    });
    this.#socket.send(
      JSON.stringify({ id, method, params, ...(this.#session === undefined ? {} : { sessionId: this.#session }) }),
    );
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
      this.#calls.delete(id);
    }
  }

  /** The value of an expression in the page, as JSON; promises are awaited. */
  async evaluate<T = Answer>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) {
      throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    }
    return result.value;
  }

  /** Resolves when the expression is true in the page; throws with the page's text when it does not become so. */
  async until(expression: string, timeoutMs = 90_000): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!await this.evaluate<boolean>(expression).catch(() => false)) {
      if (performance.now() > endMs) {
        throw new Error(
          `not true in ${timeoutMs} ms: ${expression}\n${await this.evaluate("document.body.innerText")}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async open(url: string): Promise<void> {
    const { errorText } = await this.call("Page.navigate", { url });
    if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
    await this.until(`document.readyState === "complete" && location.href.startsWith(${JSON.stringify(url)})`);
  }

  async resize(width: number, height: number, mobile = false): Promise<void> {
    await this.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile });
  }

  async colourScheme(value: "light" | "dark"): Promise<void> {
    await this.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
  }

  async press(key: "Tab" | "Enter"): Promise<void> {
    const code = key === "Tab" ? 9 : 13;
    const common = { key, code: key, windowsVirtualKeyCode: code, ...(key === "Enter" ? { text: "\r" } : {}) };
    await this.call("Input.dispatchKeyEvent", { type: key === "Enter" ? "keyDown" : "rawKeyDown", ...common });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...common });
  }

  /** The whole page as PNG. */
  async screenshot(): Promise<Uint8Array<ArrayBuffer>> {
    const { data } = await this.call("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
    return Uint8Array.fromBase64(data);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise<void>((resolve) =>
      this.#socket.addEventListener("close", () => resolve(), { once: true })
    );
    this.#session = undefined;
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    await this.call("Browser.close").catch(() => {});
    await this.#child.status;
    clearTimeout(timer);
    this.#socket.close();
    if (this.#socket.readyState !== WebSocket.CLOSED) await gone;
    await Deno.remove(this.#folder, { recursive: true });
  }

  #received(message: Answer): void {
    if (message.id === undefined) {
      this.events.push({ method: message.method, params: message.params });
      return;
    }
    const call = this.#calls.get(message.id);
    if (message.error === undefined) call?.resolve(message.result);
    else call?.reject(new Error(message.error.message));
  }
}

/** Chromium writes its port and path into its profile as soon as it listens. */
async function endpointOf(folder: string): Promise<string> {
  const endMs = performance.now() + startTimeoutMs;
  for (;;) {
    const text = await Deno.readTextFile(`${folder}/DevToolsActivePort`).catch(() => "");
    const [port, path] = text.split("\n");
    if (port && path) return `ws://127.0.0.1:${port}${path}`;
    if (performance.now() > endMs) throw new Error(`the browser did not start in ${startTimeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
