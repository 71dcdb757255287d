import { E2dError } from "../errors.ts";
import type { DiscoveryMethod, DiscoveryPorts } from "./method.ts";
import { parsePeerList, peerListBytesMax } from "./peer_list.ts";

/**
 * How often the file is looked at. By its text and not by its time: in a mounted ConfigMap the file is a link that stays
 * the same while what it leads to is exchanged.
 */
const lookEveryMs = 2_000;

/** The addresses in a file. A file that is missing or unreadable is an error, an empty one an empty list. */
export function peersFile(path: string, ports: Pick<DiscoveryPorts, "clock" | "files">): DiscoveryMethod {
  async function read(): Promise<string> {
    const info = await ports.files.info(path);
    const tooLong = info?.kind === "file" && info.size > peerListBytesMax;
    const text = info === undefined || tooLong ? undefined : await ports.files.readText(path);
    if (text !== undefined && text.length <= peerListBytesMax) return text;
    if (info === undefined || !tooLong && text === undefined) {
      throw new E2dError("discovery_file", `Cannot read the peers of "${path}": there is no such file`, {
        hint: "write the file, an empty one where there are no peers yet",
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
        await ports.clock.sleep(lookEveryMs, signal);
      }
    },
  };
}
