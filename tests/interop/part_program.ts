/** A part that is built from a source in this repository; throws if the source is newer than the part. */
import { part } from "../support/parts.ts";

export function partProgram(name: string, executable: string, source: string): string {
  const path = part(name, executable);
  const built = Deno.readTextFileSync(path.replace(/[^/]+$/, "main.go"));
  if (built !== Deno.readTextFileSync(new URL(`go/${source}/main.go`, import.meta.url))) {
    throw new Error(
      `real part "${name}" was built from another tests/interop/go/${source}: run tests/parts/install.sh ${name}`,
    );
  }
  return path;
}
