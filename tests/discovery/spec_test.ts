import fc from "fast-check";
import { isE2dError } from "../../lib/errors.ts";
import { discoveryForms, type DiscoverySpec, parseDiscovery } from "../../lib/discovery/spec.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

const accepted: Record<string, DiscoverySpec> = {
  "aws-autoscaling-group": { method: "aws-autoscaling-group" },
  "AWS-AutoScaling-Group": { method: "aws-autoscaling-group" },
  "ec2-tags": { method: "ec2-tags", tags: [] },
  "ec2-tags:Name=my-cluster,Email=admin@example.com": {
    method: "ec2-tags",
    tags: [{ key: "Name", value: "my-cluster" }, { key: "Email", value: "admin@example.com" }],
  },
  "ec2-tags:etcd": { method: "ec2-tags", tags: [{ key: "etcd", value: "" }] },
  "ec2-tags:a=b=c": { method: "ec2-tags", tags: [{ key: "a", value: "b=c" }] },
  "ec2-tags:kubernetes.io/cluster/x=owned": {
    method: "ec2-tags",
    tags: [{ key: "kubernetes.io/cluster/x", value: "owned" }],
  },
  "ec2-tags:a=1,a=1": { method: "ec2-tags", tags: [{ key: "a", value: "1" }] },
  "do-tags": { method: "do-tags", tags: [] },
  "do-tags:etcd,env:prod": { method: "do-tags", tags: ["etcd", "env:prod"] },
  "k8s-labels:app.kubernetes.io/name=etcd": {
    method: "k8s-labels",
    tags: [{ key: "app.kubernetes.io/name", value: "etcd" }],
  },
  "gce-labels:role=": { method: "gce-labels", tags: [{ key: "role", value: "" }] },
  "azure-tags:Cost center=ops 7": { method: "azure-tags", tags: [{ key: "Cost center", value: "ops 7" }] },
  "hetzner-labels:env=prod": { method: "hetzner-labels", tags: [{ key: "env", value: "prod" }] },
  "dns:etcd.example.com.": { method: "dns", name: "etcd.example.com." },
  "file:/etc/e2d/peers": { method: "file", path: "/etc/e2d/peers" },
  "exec:curl -s http://x/a,b | jq -r .[]": { method: "exec", command: "curl -s http://x/a,b | jq -r .[]" },
};

for (const [text, spec] of Object.entries(accepted)) {
  Deno.test(`parseDiscovery() reads "${text}"`, () => assertEquals(parseDiscovery(text), spec));
}

const refused: Record<string, string> = {
  "aws-autoscaling-group:x": "takes no option",
  "ec2-tags:": "a tag is empty",
  "ec2-tags:a=b,": "a tag is empty",
  "ec2-tags:a=b, c=d": "space",
  "ec2-tags:=b": "valid tag name",
  "ec2-tags:a=1,a=2": "two values",
  "do-tags:env=prod": "not a valid tag",
  "do-tags:": "a tag is empty",
  "k8s-labels:app": "has no value",
  "k8s-labels:-x=1": "valid tag name",
  "k8s-labels:x=a b": "valid tag value",
  "gce-labels:Role=x": "valid tag name",
  "gce-labels:role=Prod": "valid tag value",
  "azure-tags:a<b=c": "valid tag name",
  "hetzner-labels:x=a/b": "valid tag value",
  "dns:": "not a DNS name",
  "dns:a b": "not a DNS name",
  "dns:a..b": "not a DNS name",
  "file:": "path is missing",
  "exec:  ": "command is missing",
  "": "method is unknown",
};

for (const [text, state] of Object.entries(refused)) {
  Deno.test(`parseDiscovery() refuses "${text}" and says how to write it`, async () => {
    const error = await assertE2dError("discovery_spec", () => parseDiscovery(text));
    assert(error.message.includes(state), error.message);
    assert(error.hint);
  });
}

Deno.test("parseDiscovery() lists all methods for an unknown one and names the closest", async () => {
  for (
    const [given, meant] of [["ec2-tag:a=b", "ec2-tags"], ["aws", "aws-autoscaling-group"], ["k8s-label", "k8s-labels"]]
  ) {
    const error = await assertE2dError("discovery_spec", () => parseDiscovery(given!));
    assert(error.hint!.includes(`did you mean "${meant}"?`), error.hint);
    for (const form of Object.values(discoveryForms)) assert(error.hint!.includes(form), form);
  }
  const error = await assertE2dError("discovery_spec", () => parseDiscovery("consul"));
  assert(!error.hint!.includes("did you mean"));
});

Deno.test("parseDiscovery() accepts any text in bounded time and throws only discovery_spec", () => {
  const methods = fc.constantFrom(...Object.keys(discoveryForms));
  const text = fc.oneof(fc.string(), fc.tuple(methods, fc.string({ maxLength: 200 })).map(([m, o]) => `${m}:${o}`));
  fc.assert(
    fc.property(text, (any) => {
      try {
        const spec = parseDiscovery(any);
        assertEquals(parseDiscovery(any), spec);
      } catch (error) {
        if (!isE2dError(error, "discovery_spec")) throw error;
      }
    }),
    { seed: 8, numRuns: 2000 },
  );
});

Deno.test("parseDiscovery() does not repeat a command, which may hold a password, nor an endless text", async () => {
  const long = await assertE2dError("discovery_spec", () => parseDiscovery("x".repeat(4097)));
  assert(long.message.length < 200);
});
