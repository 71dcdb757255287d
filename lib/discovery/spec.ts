/**
 * Parses `--peer-discovery` before any cloud code is loaded, so that an invalid method or option is refused at start. The
 * Go original accepted any text and found no peers. Pure.
 */
import { E2dError } from "../errors.ts";

export interface Tag {
  readonly key: string;
  readonly value: string;
}

/** Empty `tags`: the tags of the instance that this node runs on. */
export type DiscoverySpec =
  | { readonly method: "aws-autoscaling-group" }
  | { readonly method: "ec2-tags" | LabelMethod; readonly tags: readonly Tag[] }
  | { readonly method: "do-tags"; readonly tags: readonly string[] }
  | { readonly method: "dns"; readonly name: string }
  | { readonly method: "file"; readonly path: string }
  | { readonly method: "exec"; readonly command: string };

type LabelMethod = "k8s-labels" | "gce-labels" | "azure-tags" | "hetzner-labels";
export type DiscoveryMethodName = DiscoverySpec["method"];

/** Each method with the form of its option, in the order of the help text. */
export const discoveryForms: Readonly<Record<DiscoveryMethodName, string>> = {
  "aws-autoscaling-group": "aws-autoscaling-group",
  "ec2-tags": "ec2-tags[:k=v,…]",
  "do-tags": "do-tags[:v,…]",
  "k8s-labels": "k8s-labels[:k=v,…]",
  "dns": "dns:NAME",
  "gce-labels": "gce-labels[:k=v,…]",
  "azure-tags": "azure-tags[:k=v,…]",
  "hetzner-labels": "hetzner-labels[:k=v,…]",
  "file": "file:PATH",
  "exec": "exec:COMMAND",
};

const names = Object.keys(discoveryForms) as DiscoveryMethodName[];
const specLengthMax = 4096;
/** The limit of an EC2 instance. */
const tagsMax = 50;

/** Name and value of a Kubernetes label; Hetzner has the same rules. */
const labelValue = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;
const labelKey =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/** The providers' rules for tags: a tag that a provider cannot store cannot match. */
const tagRules: Readonly<Record<"ec2-tags" | LabelMethod, { key: RegExp; value: RegExp }>> = {
  "ec2-tags": { key: /^.{1,128}$/su, value: /^.{0,256}$/su },
  "k8s-labels": { key: labelKey, value: labelValue },
  "hetzner-labels": { key: labelKey, value: labelValue },
  "gce-labels": { key: /^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$/u, value: /^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$/u },
  // deno-lint-ignore no-control-regex
  "azure-tags": { key: /^[^<>%&\\?/\x00-\x1f]{1,512}$/u, value: /^.{0,256}$/su },
};
const digitalOceanTag = /^[A-Za-z0-9:_-]{1,255}$/;
const dnsName = /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*\.?$/;

/** Parses `METHOD[:OPTION]`; the method is case-insensitive, as in the Go original. Throws E2dError `discovery_spec`. */
export function parseDiscovery(text: string): DiscoverySpec {
  if (text.length > specLengthMax) {
    throw new E2dError("discovery_spec", `Cannot use --peer-discovery: it is longer than ${specLengthMax} characters`);
  }
  const trimmed = text.trim();
  const colon = trimmed.indexOf(":");
  const given = (colon < 0 ? trimmed : trimmed.slice(0, colon)).toLowerCase();
  const option = colon < 0 ? undefined : trimmed.slice(colon + 1);
  const method = names.find((name) => name === given);
  if (method === undefined) throw unknownMethod(given);
  switch (method) {
    case "aws-autoscaling-group":
      if (option !== undefined) {
        throw specError(trimmed, "the method takes no option", "remove the colon and the text after it");
      }
      return { method };
    case "ec2-tags":
    case "k8s-labels":
    case "gce-labels":
    case "azure-tags":
    case "hetzner-labels":
      return {
        method,
        tags: withoutRepeats(trimmed, entriesOf(trimmed, option).map((entry) => parseTag(trimmed, method, entry))),
      };
    case "do-tags":
      return { method, tags: entriesOf(trimmed, option).map((entry) => parseDigitalOceanTag(trimmed, entry)) };
    case "dns": {
      const name = (option ?? "").trim();
      if (!dnsName.test(name)) {
        throw specError(trimmed, `"${name}" is not a DNS name`, "write the name of the records: dns:etcd.example.com");
      }
      return { method, name };
    }
    case "file": {
      const path = (option ?? "").trim();
      if (path === "") throw specError(trimmed, "the path is missing", "write file:/etc/e2d/peers");
      return { method, path };
    }
    case "exec": {
      const command = (option ?? "").trim();
      if (command === "") {
        throw specError(
          trimmed,
          "the command is missing",
          "write exec:/usr/local/bin/peers for a command that prints one address per line",
        );
      }
      return { method, command };
    }
    default:
      return method satisfies never;
  }
}

function withoutRepeats(text: string, tags: readonly Tag[]): Tag[] {
  return tags.filter((tag, at) => {
    const first = tags.find(({ key }) => key === tag.key)!;
    if (first.value === tag.value) return tags.indexOf(first) === at;
    throw specError(text, `"${tag.key}" has two values`, "pass each tag once: an instance must have all of the tags");
  });
}

function entriesOf(text: string, option: string | undefined): string[] {
  if (option === undefined) return [];
  const entries = option.split(",");
  if (entries.length > tagsMax) throw specError(text, `it has more than ${tagsMax} tags`, "pass fewer tags");
  for (const entry of entries) {
    if (entry.trim() === "") {
      throw specError(
        text,
        "a tag is empty",
        "separate tags with one comma; without a colon the instance's own tags are used",
      );
    }
    if (entry !== entry.trim()) {
      throw specError(text, `"${entry}" begins or ends with a space`, "write no spaces around the comma");
    }
  }
  return entries;
}

function parseTag(text: string, method: "ec2-tags" | LabelMethod, entry: string): Tag {
  const equals = entry.indexOf("=");
  // A name alone means the empty value, as in the Go original, and only for EC2.
  if (equals < 0 && method !== "ec2-tags") {
    throw specError(text, `"${entry}" has no value`, `write ${entry}=VALUE, or ${entry}= for the empty value`);
  }
  const key = equals < 0 ? entry : entry.slice(0, equals);
  const value = equals < 0 ? "" : entry.slice(equals + 1);
  const rules = tagRules[method];
  if (!rules.key.test(key)) {
    throw specError(text, `"${key}" is not a valid tag name for ${method}`, "check its spelling");
  }
  if (!rules.value.test(value)) {
    throw specError(text, `"${value}" is not a valid tag value for ${method}`, "check its spelling");
  }
  return { key, value };
}

function parseDigitalOceanTag(text: string, entry: string): string {
  if (digitalOceanTag.test(entry)) return entry;
  throw specError(
    text,
    `"${entry}" is not a valid tag for do-tags`,
    "use letters, digits, colons, dashes and underscores: tags of DigitalOcean have no value",
  );
}

function specError(text: string, state: string, hint: string): E2dError {
  return new E2dError("discovery_spec", `Cannot use --peer-discovery "${redacted(text)}": ${state}`, { hint });
}

function unknownMethod(given: string): E2dError {
  const [closest] = names
    .map((name) => ({ name, distance: editDistance(given, name) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(name.length / 3)))
    .sort((a, b) => a.distance - b.distance);
  const suggestion = closest?.name ?? names.find((name) => given.length > 1 && name.startsWith(given));
  const list = Object.values(discoveryForms).join(", ");
  return new E2dError("discovery_spec", `Cannot use --peer-discovery "${redacted(given)}": the method is unknown`, {
    hint: suggestion === undefined ? `use one of ${list}` : `did you mean "${suggestion}"? The methods: ${list}`,
  });
}

/** Shortens the text, and hides the command of exec, which may contain a secret. */
function redacted(text: string): string {
  const plain = text.toLowerCase().startsWith("exec:") ? "exec:…" : text;
  return plain.length > 120 ? `${plain.slice(0, 119)}…` : plain;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  if (a.length > 64) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
