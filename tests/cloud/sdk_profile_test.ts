/** Profiles whose credentials the AWS SDK obtains, on real files: a credential process, and single sign-on. */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { awsCredentials, type AwsPorts } from "../../lib/cloud/aws/credentials.ts";
import { configuredRegion } from "../../lib/cloud/aws/profile_files.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

async function portsOf(folder: string, config: string): Promise<AwsPorts> {
  await Deno.writeTextFile(`${folder}/config`, config);
  const environment: Record<string, string> = {
    AWS_CONFIG_FILE: `${folder}/config`,
    AWS_SHARED_CREDENTIALS_FILE: `${folder}/credentials`,
    AWS_PROFILE: "backup",
  };
  return {
    http: () => Promise.reject(new Error("no request is needed")),
    clock: systemClock,
    random: systemRandom,
    files: systemFiles,
    log: new TestLog(),
    environment: (name) => environment[name],
  };
}

async function script(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
}

Deno.test("awsCredentials() runs the credential process of a profile, and reports one that fails", async () => {
  await using dir = await temporaryDirectory();
  const ports = await portsOf(dir.path, `[profile backup]\ncredential_process = ${dir.path}/keys\n`);
  const keys = { Version: 1, AccessKeyId: "AKIDPROC", SecretAccessKey: "canary-9d1e", SessionToken: "st" };
  await script(`${dir.path}/keys`, `echo '${JSON.stringify({ ...keys, Expiration: "2099-01-01T00:00:00Z" })}'`);
  assertEquals(await awsCredentials({}, ports)(), {
    accessKeyId: "AKIDPROC",
    secretAccessKey: "canary-9d1e",
    sessionToken: "st",
    expiresAtMs: Date.UTC(2099, 0),
  });
  for (const broken of ["exit 3", `echo '{"Version":1,"SecretAccessKey":"canary-9d1e"'`, "echo '{}'"]) {
    await script(`${dir.path}/keys`, broken);
    const error = await assertE2dError("aws_credentials", () => awsCredentials({}, ports)());
    assert(error.message.startsWith('Cannot use the AWS profile "backup": '), error.message);
    assert(!`${error.message} ${error.cause}`.includes("canary"), error.message);
  }
});

Deno.test("awsCredentials() uses a profile of single sign-on after aws sso login, and names that command without it", async () => {
  await using dir = await temporaryDirectory();
  const config = "[profile backup]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = backup\n" +
    "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.example/start\n";
  const ports = await portsOf(dir.path, config);
  const error = await assertE2dError("aws_credentials", () => awsCredentials({}, ports)());
  assert(error.hint?.includes("aws sso login --profile backup"), error.hint);

  const cache = `${dir.path}/.aws/sso/cache`;
  await Deno.mkdir(cache, { recursive: true });
  await Deno.writeTextFile(
    `${cache}/${createHash("sha1").update("corp").digest("hex")}.json`,
    JSON.stringify({ accessToken: "token", expiresAt: "2099-01-01T00:00:00Z" }),
  );
  // The SDK looks for the token under HOME and in this file, by variables that all tests of this process share.
  const program = `
    import { sdkProfileCredentials } from "${root}lib/cloud/aws/sdk_profile.ts";
    const roleCredentials = { accessKeyId: "ASIASSO", secretAccessKey: "s", sessionToken: "t", expiration: 4070908800000 };
    const asked = [];
    const http = (url, init) => {
      asked.push([init.method, new URL(url).hostname, new Headers(init.headers).get("x-amz-sso_bearer_token")]);
      return Promise.resolve(Response.json({ roleCredentials }));
    };
    const paths = { config: "${dir.path}/config", credentials: undefined };
    const found = await sdkProfileCredentials("backup", paths, { http });
    console.log(JSON.stringify({ found, asked }));
  `;
  await Deno.writeTextFile(`${dir.path}/sso.ts`, program);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-all", `--config=${root}deno.json`, `${dir.path}/sso.ts`],
    env: { HOME: dir.path, AWS_CONFIG_FILE: `${dir.path}/config`, DENO_DIR: await denoDir() },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(text !== "", new TextDecoder().decode(stderr));
  assertEquals(JSON.parse(text), {
    found: { accessKeyId: "ASIASSO", secretAccessKey: "s", sessionToken: "t", expiresAtMs: 4070908800000 },
    asked: [["GET", "portal.sso.eu-west-1.amazonaws.com", "token"]],
  });
});

/** The cache of this Deno, which it would look for under HOME. */
async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

Deno.test("configuredRegion() takes the environment's region before the profile's, and us-east-1 without both", async () => {
  await using dir = await temporaryDirectory();
  const ports = await portsOf(dir.path, "[profile backup]\nregion = eu-west-3\n");
  assertEquals(await configuredRegion(ports), "eu-west-3");
  const named = (name: string) => name === "AWS_DEFAULT_REGION" ? "eu-north-1" : ports.environment(name);
  assertEquals(await configuredRegion({ ...ports, environment: named }), "eu-north-1");
  const other = await portsOf(dir.path, "[profile other]\nregion = eu-west-3\n");
  assertEquals(await configuredRegion(other), "us-east-1");
});
