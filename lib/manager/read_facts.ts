/** The facts of lib/core that both the node record and the notes to peers carry. */
import type { Founder, Lineage } from "../core/view.ts";
import { count, object, text } from "./json.ts";

export function readFounder(value: unknown): Founder {
  const each = object(value);
  return { name: text(each.name), peerUrl: text(each.peerUrl), nonce: text(each.nonce) };
}

export function readLineage(value: unknown): Lineage {
  const each = object(value);
  return { id: text(each.id), epoch: count(each.epoch), token: text(each.token) };
}
