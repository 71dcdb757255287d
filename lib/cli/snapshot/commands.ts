/** The snapshot commands, loaded together by the first one that runs. */
export { inspect } from "./inspect.ts";
export { list } from "./list.ts";
export { prune } from "./prune.ts";
export { restore } from "./restore.ts";
export { save } from "./save.ts";
export { verify } from "./verify.ts";
