/** The core's state after its last step, for readers outside the core: the status, admin requests, snapshots. */
import type { NodeState } from "../../core/state/state.ts";

export class LatestState {
  /** Undefined before the first step. */
  node: NodeState | undefined;
}
