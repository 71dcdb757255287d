/**
 * A name that two live nodes claim: reported at both holders, beside the leader and wherever else gossip sees it. It
 * blocks the newcomer (replace.ts, start.ts) and nothing else; no member is removed and no data quarantined for it.
 */
import type { NameConflict } from "../facts/peer.ts";
import type { Reason } from "../facts/reason.ts";

export function nameConflictReason({ name, addresses: [one, other] }: NameConflict): Reason {
  return {
    code: "name_taken",
    text: `two live nodes claim the name "${name}": ${one} and ${other}`,
    hint: "start the newcomer of the two with another --name, or stop it",
  };
}
