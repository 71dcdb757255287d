import { E2dError } from "../errors.ts";
import type { DiscoveryMethod, DiscoveryPorts } from "./method.ts";
import { parsePeerList, peerListBytesMax } from "./peer_list.ts";

/**
 * Interval of reading the file. Changes are detected by the text, not by the modification time: in a mounted ConfigMap
 * the file is a link whose target is replaced.
 */
const pollIntervalMs = 2_000;

/** The addresses in a file. A missing or unreadable file is an error; an empty file means no peers. */
export function peersFile(path: string, ports: Pick<DiscoveryPorts, "clock" | "files">): DiscoveryMethod {
  async function read(): Promise<string> {
    const info = await ports.files.info(path);
    const tooLong = info?.kind === "file" && info.size > peerListBytesMax;
    const text = info === undefined || tooLong ? undefined : await ports.files.readText(path);
    if (text !== undefined && text.length <= peerListBytesMax) return text;
    if (info === undefined || !tooLong && text === undefined) {
      throw new E2dError("discovery_file", `Cannot read the peers of "${path}": the file does not exist`, {
        hint: "create the file; it may be empty while there are no peers",
      });
    }
    throw new E2dError(
      "discovery_file",
      `Cannot read the peers of "${path}": it is longer than ${peerListBytesMax} bytes`,
    );
  }
  return {
    name: "file",
    async peers(signal) {
      signal.throwIfAborted();
      return parsePeerList(await read(), `"${path}"`);
    },
    async *changes(signal) {
      let before: string | undefined;
      while (true) {
        const text = await read();
        if (text !== before) yield parsePeerList(text, `"${path}"`);
        before = text;
        await ports.clock.sleep(pollIntervalMs, signal);
      }
    },
  };
}
