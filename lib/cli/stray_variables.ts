/** Variables that look like a misspelt setting: nothing else would tell of them, and a setting that is not there is quiet. */
import { suggest } from "./suggest.ts";

/** Of e2d and its installer, beside those of flags. */
const others = ["E2D_ETCD_MIRROR", "E2D_LIB_DIR", "E2D_RELEASES"];

/** What Kubernetes and Docker set beside a service: E2D_SERVICE_HOST, E2D_CLIENT_PORT_2379_TCP_ADDR for "e2d-client". */
const ofService = /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/;

/** A line for each variable that is nearly one of `settings`, the variables of all flags. */
export function strayVariables(
  environment: Readonly<Record<string, string | undefined>>,
  settings: readonly string[],
): string[] {
  const known = [...new Set([...settings, ...others])];
  // The prefix is no part of what was misspelt: with it too much would be near.
  const words = known.map(withoutPrefix);
  return Object.entries(environment).flatMap(([name, value]) => {
    if (!name.startsWith("E2D_") || !value || known.includes(name) || ofService.test(name)) return [];
    const meant = suggest(withoutPrefix(name), words);
    return meant === undefined ? [] : [`${name} is no setting of e2d: did you mean E2D_${meant}?`];
  });
}

const withoutPrefix = (name: string) => name.replace(/^E2D_/, "");
