import fc from "fast-check";
import * as v from "valibot";
import type { AwsCredentials, AwsPorts } from "../../lib/cloud/aws/credentials.ts";
import { AwsQuery } from "../../lib/cloud/aws/query.ts";
import { parseAwsProfiles } from "../../lib/cloud/aws/profile.ts";
import { awsErrorOf, parseAwsXml, xmlList } from "../../lib/cloud/aws/xml.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { FakeAws } from "../support/clouds/fake_aws.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

const never = new AbortController().signal;

function world(environment: Record<string, string> = {}) {
  const clock = new TestClock();
  const log = new TestLog();
  const cloud = new FakeAws(() => Date.UTC(2026, 0, 1) + clock.monotonicMs());
  const asked: string[] = [];
  const ports: AwsPorts = {
    clock,
    log,
    http: (url, init) => {
      asked.push(new URL(url).href);
      return cloud.http(url, init);
    },
    random: { float: () => 0.5, bytes: () => new Uint8Array() },
    files: {} as AwsPorts["files"],
    environment: (name) => environment[name],
  };
  return { clock, log, cloud, asked, ports };
}

const call = { action: "DescribeInstances", parameters: { MaxResults: "5" }, schema: v.unknown() };

for (const code of ["ExpiredToken", "ExpiredTokenException", "RequestExpired"]) {
  Deno.test(`call() asks again with fresh credentials when AWS says ${code}, once`, async () => {
    const { cloud, ports } = world();
    const refusedBefore: (string | undefined)[] = [];
    const credentials = (_: AbortSignal | undefined, refused?: AwsCredentials) => {
      refusedBefore.push(refused?.sessionToken);
      const sessionToken = refused === undefined ? "old" : "new";
      return Promise.resolve({ accessKeyId: cloud.accessKeyId, secretAccessKey: cloud.token, sessionToken });
    };
    const query = new AwsQuery({ service: "ec2", region: cloud.region, credentials }, ports);
    cloud.sessionToken = "new";
    cloud.refusals.push({ status: 400, code });
    await query.call(call, never);
    assertEquals(refusedBefore, [undefined, "old"]);
    cloud.refusals.push({ status: 400, code }, { status: 400, code });
    await assertE2dError("cloud_unauthorized", () => query.call(call, never));
  });
}

Deno.test("call() stops using AWS's time when the machine's clock is right again", async () => {
  const { cloud, clock, ports, log } = world();
  const credentials = () => Promise.resolve({ accessKeyId: cloud.accessKeyId, secretAccessKey: cloud.token });
  const query = new AwsQuery({ service: "ec2", region: cloud.region, credentials }, ports);
  clock.skewMs = 86_400_000;
  await query.call(call, never);
  clock.skewMs = 0;
  await query.call(call, never);
  assertEquals(log.lines.map(({ fields }) => Math.round(fields["secondsBehind"] as number / 60)), [-1440, 0]);
});

const hosts: Record<string, [service: "ec2" | "sts" | "iam" | "autoscaling", region: string]> = {
  "https://ec2.eu-central-1.amazonaws.com/": ["ec2", "eu-central-1"],
  "https://autoscaling.cn-northwest-1.amazonaws.com.cn/": ["autoscaling", "cn-northwest-1"],
  "https://sts.us-gov-east-1.amazonaws.com/": ["sts", "us-gov-east-1"],
  "https://iam.amazonaws.com/": ["iam", "eu-central-1"],
  "https://iam.us-gov.amazonaws.com/": ["iam", "us-gov-east-1"],
  "https://iam.cn-north-1.amazonaws.com.cn/": ["iam", "cn-northwest-1"],
};
for (const [url, [service, region]] of Object.entries(hosts)) {
  Deno.test(`call() asks ${service} of ${region} at ${url}`, async () => {
    const { asked, ports, cloud } = world();
    cloud.refusals.push({ status: 403, code: "AccessDenied" });
    const query = new AwsQuery({ service, region, credentials: undefined }, ports);
    await assertE2dError("cloud_forbidden", () => query.call(call, never));
    assertEquals(asked, [url]);
  });
}

Deno.test("new AwsQuery() refuses a region that is no name of a host", async () => {
  for (const region of ["", "a.b", "x/", "EU", "a@b", "é"]) {
    const make = () => new AwsQuery({ service: "ec2", region, credentials: undefined }, world().ports);
    await assertE2dError("aws_endpoint", make);
  }
});

Deno.test("xmlList() reads lists of none, one and many, and texts that look like numbers", () => {
  const schema = v.object({ set: xmlList("item", v.string()) });
  const read = (text: string) => v.parse(schema, parseAwsXml(`<r>${text}</r>`)).set;
  assertEquals(read("<set/><other/>"), []);
  assertEquals(read("<other/>"), []);
  assertEquals(read("<set><item>007</item></set>"), ["007"]);
  assertEquals(read("<set><item>a&amp;&lt;b</item><item>1e5</item></set>"), ["a&<b", "1e5"]);
});

Deno.test("parseAwsXml() throws for every cut of an answer", () => {
  const whole = `<?xml version="1.0"?><R><set><item><id>i-1</id></item></set><t>x</t></R>`;
  parseAwsXml(whole);
  for (let length = 0; length < whole.length; length++) {
    let cut = false;
    try {
      parseAwsXml(whole.slice(0, length));
    } catch {
      cut = true;
    }
    assert(cut, whole.slice(0, length));
  }
});

Deno.test("awsErrorOf() and parseAwsProfiles() accept any text in bounded time and throw nothing", () => {
  const markup = fc.array(
    fc.constantFrom("<", ">", "/", "a", "Error", "Code", "&", "!DOCTYPE", '"', "[", "]", "=", "\n"),
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), markup.map((parts) => parts.join(""))), (text) => {
      awsErrorOf(text);
      parseAwsProfiles({ credentials: text, config: text }).get("default");
    }),
    { seed: 8, numRuns: 3000 },
  );
});

Deno.test("parseAwsXml() does not follow entities that grow", () => {
  const bomb = `<!DOCTYPE r [<!ENTITY a "${"x".repeat(1000)}">${
    Array.from({ length: 20 }, (_, at) => `<!ENTITY b${at} "${`&${at === 0 ? "a" : `b${at - 1}`};`.repeat(10)}">`).join(
      "",
    )
  }]><r><a>&b19;</a></r>`;
  let text = "";
  try {
    text = JSON.stringify(parseAwsXml(bomb));
  } catch { /* To refuse it is as good. */ }
  assert(text.length < 1_000_000);
});
