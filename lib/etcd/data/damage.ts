import { E2dError } from "../../errors.ts";

/** E2dError `data_damaged`: a file that etcd wrote is not intact. `state` names the place and the fault. */
export function damage(state: string): E2dError {
  return new E2dError("data_damaged", state);
}
