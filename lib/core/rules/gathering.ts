/** Which of the known addresses answer: how many nodes have gathered, and who is missing. */
import type { View } from "../facts/view.ts";

const namedMax = 5;

/**
 * Known addresses that nobody here answers for: bootstrap peers, and every peer that gossip still remembers. As long
 * as fewer than a quorum are silent, they can neither be a living cluster nor bootstrap one of their own.
 */
export function unaccounted(view: View): string[] {
  const known = new Set(view.settings.seeds);
  const here = new Set([view.self.gossipAddr]);
  for (const peer of view.peers) (peer.state === "alive" ? here : known).add(peer.gossipAddr);
  return [...known].filter((address) => !here.has(address));
}

/** For people: how many have gathered, and the bootstrap addresses that do not answer. */
export function gatheredText(count: number, view: View): string {
  const text = `${count} of ${view.settings.requiredSize} nodes have gathered`;
  const silent = unaccounted(view).filter((address) => view.settings.seeds.includes(address)).sort();
  if (silent.length === 0) return text;
  const more = silent.length > namedMax ? ` and ${silent.length - namedMax} more` : "";
  return `${text}; no answer from ${silent.slice(0, namedMax).join(", ")}${more}`;
}
