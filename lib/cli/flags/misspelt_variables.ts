/** Finds variables that look like a misspelt setting. Without the warning e2d would silently run with the default. */
import { suggest } from "./suggest.ts";

/** Variables of e2d and install.sh that belong to no flag. */
const otherVariables = ["E2D_ETCD_MIRROR", "E2D_LIB_DIR", "E2D_RELEASES"];

/** Variables that Kubernetes and Docker set for a service "e2d" or "e2d-client": E2D_SERVICE_HOST, E2D_CLIENT_PORT_2379_TCP_ADDR. */
const serviceVariable = /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/;

/** One line per variable in `environment` that resembles one of `settings`, the variables of all flags. */
export function misspeltVariables(
  environment: Readonly<Record<string, string | undefined>>,
  settings: readonly string[],
): string[] {
  const known = [...new Set([...settings, ...otherVariables])];
  // Compared without the prefix: with it, the edit distance of unrelated names would be small.
  const words = known.map(withoutPrefix);
  return Object.entries(environment).flatMap(([name, value]) => {
    if (!name.startsWith("E2D_") || !value || known.includes(name) || serviceVariable.test(name)) return [];
    const meant = suggest(withoutPrefix(name), words);
    return meant === undefined ? [] : [`unknown variable ${name}: did you mean E2D_${meant}?`];
  });
}

const withoutPrefix = (name: string) => name.replace(/^E2D_/, "");
