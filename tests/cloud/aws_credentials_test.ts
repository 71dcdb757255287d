import { type AwsCredentialConfig, awsCredentials, type AwsPorts } from "../../lib/cloud/aws/credentials.ts";
import { describeError } from "../../lib/errors.ts";
import type { Http } from "../../lib/ports.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { FakeAws } from "../support/clouds/fake_aws.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

const startMs = Date.UTC(2026, 0, 1);
const inMs = (ms: number) => new Date(startMs + ms).toISOString();
const hourMs = 3_600_000;

interface World {
  environment?: Record<string, string>;
  files?: Record<string, string>;
  config?: AwsCredentialConfig;
  role?: boolean;
}

function world({ environment = {}, files = {}, config = {}, role = false }: World = {}) {
  const clock = new TestClock();
  const log = new TestLog();
  const cloud = new FakeAws(() => startMs + clock.monotonicMs());
  cloud.region = "us-east-1";
  if (role) {
    cloud.served.set("meta-data/iam/security-credentials/", "node-role");
    cloud.served.set("meta-data/iam/security-credentials/node-role", roleText(cloud, hourMs));
    cloud.served.set(
      "meta-data/iam/info",
      `{"InstanceProfileArn":"arn:aws:iam::123456789012:instance-profile/team/nodes"}`,
    );
  }
  const http: { ask: Http } = { ask: cloud.http };
  const ports: AwsPorts = {
    clock,
    log,
    http: (url, init) => http.ask(url, init),
    random: { float: () => 0.5, bytes: () => new Uint8Array() },
    files: { readText: (path: string) => Promise.resolve(files[path]) } as unknown as AwsPorts["files"],
    environment: (name) => ({ HOME: "/home/e2d", ...environment })[name],
  };
  const source = awsCredentials({ metadataUrl: "http://metadata.test", ...config }, ports);
  const get = async (...args: Parameters<typeof source>) => {
    const outcome = await clock.settle(source(...args));
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  };
  return { clock, log, cloud, files, http, source, get };
}

function roleText(cloud: FakeAws, lifeMs: number, id = "ASIAINSTANCE"): string {
  cloud.accessKeyId = id;
  cloud.sessionToken = "session+of/instance=";
  return JSON.stringify({
    Code: "Success",
    AccessKeyId: id,
    SecretAccessKey: cloud.token,
    Token: cloud.sessionToken,
    Expiration: inMs(lifeMs),
  });
}

const environment = { AWS_ACCESS_KEY_ID: "AKIDENV", AWS_SECRET_ACCESS_KEY: "env-secret" };
const files = { "/home/e2d/.aws/credentials": "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = fs\n" };

Deno.test("awsCredentials() prefers flags to the environment, to a profile, to the instance's role", async () => {
  const config = { accessKey: "AKIDFLAG", secretKey: "flag-secret" };
  assertEquals(await world({ config, environment, files, role: true }).get(), {
    accessKeyId: "AKIDFLAG",
    secretAccessKey: "flag-secret",
  });
  assertEquals((await world({ environment, files, role: true }).get()).accessKeyId, "AKIDENV");
  assertEquals((await world({ files, role: true }).get()).accessKeyId, "AKIDFILE");
  const { get, cloud } = world({ role: true });
  assertEquals(await get(), {
    accessKeyId: "ASIAINSTANCE",
    secretAccessKey: cloud.token,
    sessionToken: "session+of/instance=",
    expiresAtMs: startMs + hourMs,
  });
});

Deno.test("awsCredentials() reads a session token from the environment", async () => {
  const { get } = world({ environment: { ...environment, AWS_SESSION_TOKEN: "st" } });
  assertEquals((await get()).sessionToken, "st");
});

Deno.test("awsCredentials() names all sources when none has credentials, in under two seconds", async () => {
  for (const fault of [undefined, "metadata-silent", "metadata-unreachable"] as const) {
    const { source, clock, cloud } = world();
    cloud.fault = fault;
    const outcome = await clock.settle(source());
    assert(outcome.status === "rejected");
    const error = await assertE2dError("aws_no_credentials", () => Promise.reject(outcome.reason));
    const places = ["flags: ", "environment: ", "web identity: ", "profile: ", "container: ", "instance role: "];
    for (const place of places) assert(error.message.includes(place), error.message);
    assert(error.hint);
    assert(outcome.tookMs < 2_000, `${outcome.tookMs}`);
  }
});

for (
  const [what, given] of Object.entries<World>({
    "half a pair of flags": { config: { accessKey: "AKID" } },
    "half a pair in the environment": { environment: { AWS_SECRET_ACCESS_KEY: "secret" } },
    "a web identity without a role": { environment: { AWS_WEB_IDENTITY_TOKEN_FILE: "/t" } },
    "a web identity without its token": { environment: { AWS_WEB_IDENTITY_TOKEN_FILE: "/t", AWS_ROLE_ARN: "arn:x" } },
    "a named profile that is not there": { environment: { AWS_PROFILE: "prod" }, files },
    "a profile with half a key pair": { files: { "/home/e2d/.aws/config": "[default]\naws_access_key_id=a\n" } },
    "a profile of single sign-on": { files: { "/home/e2d/.aws/config": "[default]\nsso_session = corp\n" } },
    "a profile that wants a code": {
      files: { "/home/e2d/.aws/config": "[default]\nrole_arn=arn:x\nsource_profile=b\nmfa_serial=1\n" },
    },
    "a profile that leads back to itself": {
      files: {
        "/home/e2d/.aws/config":
          "[default]\nrole_arn=arn:x\nsource_profile=b\n[profile b]\nrole_arn=arn:y\nsource_profile=default\n",
      },
    },
    "a container's service on a foreign host": {
      environment: { AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://example.com/creds" },
    },
    "a session name STS would not take": { config: { roleSessionName: "a b" } },
  })
) {
  Deno.test(`awsCredentials() refuses ${what} and does not go on to the next place`, async () => {
    const error = await assertE2dError("aws_credentials", async () => await world({ ...given, role: true }).get());
    assert(error.message.startsWith("Cannot "), error.message);
  });
}

Deno.test("awsCredentials() reads both files, comments, quotes and nested settings of a profile", async () => {
  const { get } = world({
    environment: { AWS_PROFILE: "prod site", AWS_SHARED_CREDENTIALS_FILE: "/c", AWS_CONFIG_FILE: "/f" },
    files: {
      "/c": "# first\n[prod site]\r\naws_access_key_id=AKIDC\n[other]\naws_access_key_id=no\n",
      "/f":
        `[profile "prod site"] ; the one\naws_access_key_id = AKIDF\nAWS_SECRET_ACCESS_KEY = s=/+ # why\ns3 =\n  aws_secret_access_key = nested\n`,
    },
  });
  assertEquals(await get(), { accessKeyId: "AKIDC", secretAccessKey: "s=/+" });
});

Deno.test("awsCredentials() assumes the role of a profile with the keys of its source profile", async () => {
  const { get, cloud } = world({
    files: {
      "/home/e2d/.aws/config":
        "[default]\nrole_arn = arn:aws:iam::1:role/backup\nsource_profile = base\nexternal_id = x7\nduration_seconds=900\n" +
        "[profile base]\naws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=canary-3f1c9d2e7b8a4056\n",
    },
  });
  const { expiresAtMs, ...keys } = await get();
  assertEquals(keys, {
    accessKeyId: "ASIAROLE",
    secretAccessKey: `${cloud.token}-role`,
    sessionToken: "session+of/role=",
  });
  assert(expiresAtMs! >= startMs + hourMs);
  const { Action, RoleArn, RoleSessionName, ExternalId, DurationSeconds } = Object.fromEntries(cloud.forms[0]!);
  assertEquals(
    [Action, RoleArn, RoleSessionName, ExternalId, DurationSeconds],
    ["AssumeRole", "arn:aws:iam::1:role/backup", "e2d", "x7", "900"],
  );
});

Deno.test("awsCredentials() assumes the role of a profile with what credential_source names", async () => {
  const config = "[default]\nrole_arn=arn:aws:iam::1:role/r\ncredential_source=Ec2InstanceMetadata\n";
  const { get } = world({ role: true, files: { "/home/e2d/.aws/config": config } });
  assertEquals((await get()).accessKeyId, "ASIAROLE");
});

Deno.test("awsCredentials() uses the instance's role without a session name when IAM does not allow one, and warns", async () => {
  const { get, cloud, log } = world({ role: true, config: { roleSessionName: "node-1" } });
  cloud.refusals.push({ status: 403, code: "AccessDenied" });
  assertEquals((await get()).accessKeyId, "ASIAINSTANCE");
  assertEquals(Object.fromEntries(cloud.forms[0]!).InstanceProfileName, "nodes");
  assert(log.text.includes("iam:GetInstanceProfile"), log.text);
  assert(!log.text.includes(cloud.token));
});

Deno.test("awsCredentials() fetches once for concurrent callers, caches, and fetches again five minutes before the expiry", async () => {
  const { get, source, clock, cloud } = world({ role: true });
  const asked = () => cloud.requests.filter((line) => line.endsWith("/node-role")).length;
  await clock.settle(Promise.all([source(), source(), source()]));
  assertEquals(asked(), 1);
  await clock.advance(hourMs - 300_000 - 2_000, 10_000);
  await get();
  assertEquals(asked(), 1);
  cloud.served.set("meta-data/iam/security-credentials/node-role", roleText(cloud, 2 * hourMs, "ASIANEXT"));
  await clock.advance(3_000);
  assertEquals((await get()).accessKeyId, "ASIANEXT");
  assertEquals(asked(), 2);
});

Deno.test("awsCredentials() uses the old ones to their end while new ones cannot be had, and no longer", async () => {
  const { get, clock, cloud, log } = world({ role: true });
  await get();
  await clock.advance(hourMs - 200_000, 10_000);
  cloud.fault = "metadata-silent";
  assertEquals((await get()).accessKeyId, "ASIAINSTANCE");
  assertEquals(log.lines.filter(({ level }) => level === "warn").length, 1);
  await clock.advance(201_000, 10_000);
  await assertE2dError("aws_no_credentials", get);
});

Deno.test("awsCredentials() does not give again what AWS refused", async () => {
  const { get, cloud } = world({ role: true });
  const first = await get();
  cloud.served.set("meta-data/iam/security-credentials/node-role", roleText(cloud, 2 * hourMs, "ASIANEXT"));
  assertEquals((await get()).accessKeyId, "ASIAINSTANCE");
  assertEquals((await get(undefined, first)).accessKeyId, "ASIANEXT");
  // A second one that was refused the same has its answer from the cache.
  assertEquals((await get(undefined, first)).accessKeyId, "ASIANEXT");
  assertEquals(cloud.requests.filter((line) => line.endsWith("/node-role")).length, 2);
});

Deno.test("awsCredentials() lets one give up without taking the answer from the others", async () => {
  const { source, clock } = world({ role: true });
  const giveUp = new AbortController();
  const [first, second] = [source(giveUp.signal), source()];
  giveUp.abort(new Error("enough"));
  const outcome = await clock.settle(first);
  assert(outcome.status === "rejected" && outcome.reason.message === "enough");
  assertEquals((await clock.settle(second)).status, "fulfilled");
});

Deno.test("awsCredentials() does not fetch all the time with a wrong clock", async () => {
  const { get, clock, cloud } = world({ role: true });
  clock.skewMs = 5 * 86_400_000;
  await get();
  await get();
  assertEquals(cloud.requests.filter((line) => line.endsWith("/node-role")).length, 1);
});

Deno.test("awsCredentials() reads the container's token from its file again for each fetch", async () => {
  const tokens: (string | null)[] = [];
  const made = world({
    environment: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://169.254.170.23/v1/credentials",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/token",
    },
    files: { "/token": "one\n" },
  });
  made.http.ask = (url, init) => {
    const request = new Request(url, init ?? {});
    tokens.push(request.headers.get("authorization"));
    return Promise.resolve(
      tokens.length === 1 ? new Response("", { status: 500 }) : new Response(roleText(made.cloud, 2 * hourMs)),
    );
  };
  assertEquals((await made.get()).accessKeyId, "ASIAINSTANCE");
  made.files["/token"] = "two";
  await made.clock.advance(2 * hourMs - 200_000, 10_000);
  await made.get();
  assertEquals(tokens, ["one", "one", "two"]);
});

Deno.test("no error of awsCredentials() has a credential, be the answer garbled, cut or refused with it inside", async () => {
  const secret = "canary-3f1c9d2e7b8a4056";
  const broken = world({ role: true });
  broken.cloud.served.set("meta-data/iam/security-credentials/node-role", `{"SecretAccessKey":"${secret}",`);
  const refused = world({
    files: {
      "/home/e2d/.aws/config":
        `[default]\nrole_arn=arn:x\nsource_profile=b\n[profile b]\naws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=${secret}\naws_session_token=st-${secret}\n`,
    },
  });
  refused.cloud.refusals.push(
    ...Array(4).fill({
      status: 403,
      code: "SignatureDoesNotMatch",
      message: `host:sts\nx-amz-security-token:st-${secret}\n${secret}`,
    }),
  );
  for (const [{ get, log }, code] of [[broken, "cloud_answer"], [refused, "cloud_unauthorized"]] as const) {
    const error = await assertE2dError(code, get);
    const all = `${describeError(error)} ${error.stack} ${Deno.inspect(error)} ${JSON.stringify(error)} ${log.text}`;
    assert(!all.includes(secret), all);
  }
});
