/** The objects of deploy/kubernetes. */
import { parseAllDocuments } from "yaml";

export interface Container {
  name: string;
  args: string[];
  env: { name: string }[];
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
}

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  // deno-lint-ignore no-explicit-any -- of as many shapes as there are kinds
  spec: any;
}

const folder = new URL("../../deploy/kubernetes/", import.meta.url);

/** In an order in which they may be made. */
export async function manifests(): Promise<Manifest[]> {
  const found: Manifest[] = [];
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) if (name.endsWith(".yaml")) names.push(name);
  for (const name of names.sort()) {
    for (const document of parseAllDocuments(await Deno.readTextFile(new URL(name, folder)))) {
      if (document.errors.length > 0) throw document.errors[0];
      found.push(document.toJS({ maxAliasCount: 20 }) as Manifest);
    }
  }
  return found;
}

/** Where the API keeps objects like this one. */
export function collectionOf({ apiVersion, kind }: Manifest, namespace: string): string {
  const group = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
  return `${group}/namespaces/${namespace}/${kind.toLowerCase()}s`;
}
