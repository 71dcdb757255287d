/** The files of deploy/ are accepted by the real programs that read them. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { part } from "../support/parts.ts";
import { KubeApi } from "./kube_api.ts";
import { collectionOf, manifests } from "../deploy/manifests.ts";

const folder = new URL("../../deploy/", import.meta.url);

async function output(program: string, args: string[], install: string): Promise<{ code: number; text: string }> {
  try {
    const { code, stdout, stderr } = await new Deno.Command(program, {
      args,
      signal: AbortSignal.timeout(60_000),
    }).output();
    return { code, text: [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("").trim() };
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Error(`real part "${program}" is missing: run ${install}`, { cause });
  }
}

const analyze = (...args: string[]) => output("systemd-analyze", args, "apt-get install systemd");

/** The unit with a program that exists on every machine in the place of e2d. */
async function unitIn(directory: string, change = (text: string) => text): Promise<string> {
  const text = await Deno.readTextFile(new URL("systemd/e2d.service", folder));
  const path = `${directory}/e2d.service`;
  await Deno.writeTextFile(path, change(text.replace("=/usr/local/bin/e2d run", "=/bin/true run")));
  return path;
}

Deno.test("e2d.service: systemd-analyze verify reports nothing", async () => {
  await using directory = await temporaryDirectory();
  assertEquals(await analyze("verify", "--man=no", await unitIn(directory.path)), { code: 0, text: "" });
});

Deno.test("e2d.service: systemd-analyze verify reports an unknown setting", async () => {
  await using directory = await temporaryDirectory();
  const path = await unitIn(directory.path, (text) => text.replace("WatchdogSec=", "WatchdogSeconds="));
  assert((await analyze("verify", "--man=no", path)).text.includes("WatchdogSeconds"));
});

Deno.test("e2d.service: systemd-analyze security reports a low exposure", async () => {
  await using directory = await temporaryDirectory();
  const exposure = (threshold: number, path: string) =>
    analyze("security", "--offline=true", `--threshold=${threshold}`, path);
  const path = await unitIn(directory.path);
  assertEquals((await exposure(20, path)).code, 0);
  // A lower threshold must fail, or the check shows nothing.
  assert((await exposure(1, path)).code !== 0);
});

Deno.test("e2d-sysusers.conf: systemd-sysusers accepts it", async () => {
  await using directory = await temporaryDirectory();
  await Deno.mkdir(`${directory.path}/etc`);
  const path = new URL("systemd/e2d-sysusers.conf", folder).pathname;
  const { code, text } = await output(
    "systemd-sysusers",
    [`--root=${directory.path}`, "--dry-run", path],
    "apt-get install systemd",
  );
  assertEquals(code, 0, text);
  assert(text.includes("'e2d'"), text);
});

Deno.test("cloud-init.yaml: the schema of cloud-init accepts it, and refuses a runcmd that is no list", async () => {
  await using directory = await temporaryDirectory();
  const schema = async (path: string) =>
    await output(part("cloud-init-22.4.2", "cloud-init"), ["schema", "--config-file", path], "tests/parts/install.sh");
  const path = new URL("cloud-init.yaml", folder).pathname;
  assertEquals(await schema(path), { code: 0, text: `Valid cloud-config: ${path}` });
  const wrong = `${directory.path}/wrong.yaml`;
  await Deno.writeTextFile(wrong, (await Deno.readTextFile(path)).replace("\nruncmd:\n", "\nruncmd: 3\nx-steps:\n"));
  assert((await schema(wrong)).text.includes("runcmd"), "a wrong runcmd was accepted");
});

Deno.test("deploy/kubernetes: a real kube-apiserver accepts every object, and the Role allows the requests of discovery", async () => {
  await using directory = await temporaryDirectory();
  await using api = await KubeApi.start(directory.path);
  const namespace = "deploy-test";
  await api.ask("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  const strict = "fieldValidation=Strict";
  const kinds: string[] = [];
  for (const object of await manifests()) {
    await api.ask("POST", `${collectionOf(object, namespace)}?${strict}`, object);
    kinds.push(object.kind);
  }
  assertEquals(kinds.sort(), [
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Service",
    "Service",
    "ServiceAccount",
    "StatefulSet",
  ]);
  // A wrong object is refused.
  const set = (await manifests()).find(({ kind }) => kind === "StatefulSet")!;
  const wrong = { ...set, metadata: { name: "wrong" }, spec: { ...set.spec, podManagmentPolicy: "Parallel" } };
  const refused = await api.ask("POST", `${collectionOf(set, namespace)}?${strict}`, wrong).catch(String);
  assert(String(refused).includes("podManagmentPolicy"), String(refused));

  const may = async (verb: string, resource: string, name = namespace) => {
    const review = await api.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
      spec: { user: `system:serviceaccount:${namespace}:e2d`, resourceAttributes: { namespace: name, verb, resource } },
    });
    return (review as { status: { allowed: boolean } }).status.allowed;
  };
  assertEquals(await Promise.all(["get", "list", "watch"].map((verb) => may(verb, "pods"))), [true, true, true]);
  assertEquals(
    await Promise.all([may("delete", "pods"), may("get", "secrets"), may("list", "pods", "default")]),
    [false, false, false],
  );
});
