/** A command with an S3 URL, with the permissions of the executable: its environment, own authorities, region, parameters. */
import { fileURLToPath } from "node:url";
import { systemClock } from "../../lib/sys/clock.ts";
import { trustingHttp } from "../../lib/sys/http/http.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { S3Store } from "../../lib/storage/s3_store.ts";
import { bytesOf, streamOf } from "../storage/contract.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { s3Keys, S3Server } from "../support/s3_server.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Without HOME, as in a unit of systemd. */
async function e2d(args: string[], environment: Record<string, string> = {}) {
  const { DENO_DIR, HOME } = Deno.env.toObject();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-check",
      "--no-prompt",
      "-P=e2d",
      `--config=${root}deno.json`,
      `${root}main.ts`,
      ...args,
    ],
    clearEnv: true,
    env: { DENO_DIR: DENO_DIR ?? `${HOME}/.cache/deno`, ...environment },
  }).output();
  return { code, text: new TextDecoder().decode(stdout), errors: new TextDecoder().decode(stderr) };
}

Deno.test("e2d snapshot list reads a store with an own authority, another region and parameters in the URL", async () => {
  await using dir = await temporaryDirectory();
  const ca = [`--ca-cert=${dir.path}/ca.crt`, `--ca-key=${dir.path}/ca.key`];
  for (const args of [["init", ...ca], ["gencerts", ...ca, "--hosts=127.0.0.1", `--output-dir=${dir.path}`]]) {
    const { code, errors } = await e2d(["pki", ...args]);
    assertEquals(code, 0, errors);
  }
  await using server = await S3Server.start({
    region: "eu-west-3",
    tls: { cert: `${dir.path}/server.crt`, key: `${dir.path}/server.key` },
  });
  const { http, close } = trustingHttp([await Deno.readTextFile(`${dir.path}/ca.crt`)]);
  try {
    const store = new S3Store({
      name: "s3://bucket",
      bucket: "bucket",
      region: "eu-west-3",
      endpoint: server.endpoint,
      credentials: () => Promise.resolve(s3Keys),
    }, { http, clock: systemClock, random: systemRandom });
    await store.write("db.history/loose", streamOf(bytesOf(20)));
  } finally {
    close();
  }
  const keys = { AWS_ACCESS_KEY_ID: s3Keys.accessKeyId, AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey };
  const list = (url: string, environment: Record<string, string>) =>
    e2d(["snapshot", "list", url, `--s3-endpoint=${server.endpoint}`], { ...keys, ...environment });
  for (const url of ["s3://bucket/db", "s3://bucket/db?region=eu-west-3&storage-class=STANDARD&tag.team=a+b"]) {
    const { text, errors } = await list(url, { AWS_CA_BUNDLE: `${dir.path}/ca.crt` });
    assert(text.includes("loose: 20 bytes"), `${text}${errors}`);
  }
  const untrusted = await list("s3://bucket/db", {});
  assert(untrusted.code === 1 && /certificate/i.test(untrusted.errors), untrusted.errors);
  for (const bundle of [`${dir.path}/none.crt`, `${dir.path}/server.key`]) {
    const { code, errors } = await list("s3://bucket/db", { AWS_CA_BUNDLE: bundle });
    assert(code === 1 && errors.includes("Cannot use AWS_CA_BUNDLE"), errors);
  }
  await Deno.writeFile(`${dir.path}/short`, new Uint8Array(5), { mode: 0o600 });
  const short = await list(`s3://bucket/db?sse-c-key=${dir.path}/short`, { AWS_CA_BUNDLE: `${dir.path}/ca.crt` });
  assert(short.code === 1 && short.errors.includes("the file has 5 bytes"), short.errors);
});
