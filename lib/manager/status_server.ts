/** The status address: who may ask there, and with which certificate it shows itself. */
import { describeError } from "../errors.ts";
import type { HostPort } from "../ports.ts";
import { isLoopback } from "./addresses.ts";
import { readPair, type Security } from "./security.ts";
import type { System } from "./start_node.ts";
import { handleLocalStatus, type HandlerSources, handleStatus } from "./status_handler.ts";

export interface StatusServer {
  /** Shows the certificate that is on the disk now. Throws nothing: the former one goes on. */
  renew(): Promise<void>;
  close(): Promise<void>;
}

/** Undefined where none is wanted, or none can be had: a database needs no status page. */
export async function serveStatus(
  at: HostPort | undefined,
  { set }: Security,
  { serveHttp, files, log }: Pick<System, "serveHttp" | "files" | "log">,
  sources: HandlerSources,
): Promise<StatusServer | undefined> {
  if (at === undefined) return undefined;
  const handle = isLoopback(at.host) ? handleLocalStatus : handleStatus;
  // Beyond this machine nobody reads it in the clear, where there are certificates.
  const pair = set.kind === "mutual" && !isLoopback(at.host) ? set.server : undefined;
  const open = (tls: Awaited<ReturnType<typeof readPair>> | undefined) =>
    serveHttp(at, (request) => handle(request, sources), tls);
  try {
    let shown = pair && await readPair(files, pair);
    let server = open(shown);
    return {
      async renew() {
        if (pair === undefined) return;
        try {
          const now = await readPair(files, pair);
          if (now.certificate === shown?.certificate && now.key === shown.key) return;
          shown = now;
          await server.close();
          server = open(now);
        } catch (error) {
          log.error("the status address cannot take its new certificate up", { error: describeError(error) });
        }
      },
      close: () => server.close(),
    };
  } catch (error) {
    log.warn("there is no status page", { error: describeError(error) });
    return undefined;
  }
}
