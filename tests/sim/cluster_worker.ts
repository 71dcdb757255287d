/** Runs the seeds it is told in a thread of its own. */
import { runSeed } from "./cluster.ts";

interface Scope {
  onmessage: (event: MessageEvent<{ first: number; last: number }>) => void;
  postMessage(message: unknown): void;
}

const scope = self as unknown as Scope;
scope.onmessage = ({ data: { first, last } }) => {
  scope.postMessage(Array.from({ length: last - first }, (_, index) => runSeed(first + index)));
};
