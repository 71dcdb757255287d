/**
 * EC2, Auto Scaling, STS and the metadata service (only with sessions) in memory. Signatures are checked by AWS's
 * description of Signature Version 4, synchronously: waiting for another thread is not possible in virtual time.
 */
import { createHash, createHmac } from "node:crypto";
import { FakeCloud, type FakeInstance } from "./fake_cloud.ts";

export const fakeAwsGroup = "aws:autoscaling:groupName";

export class FakeAws extends FakeCloud {
  accessKeyId = "AKIDEXAMPLE";
  sessionToken: string | undefined;
  region = "eu-central-1";
  /** The time of AWS. */
  wallMs: () => number;
  /** Other than InService. */
  readonly lifecycle = new Map<string, string>();
  /** Answers that are returned first, in order: an AWS error by status and code. */
  readonly refusals: { status: number; code: string; message?: string }[] = [];
  /** Additional paths under /latest/. */
  readonly served = new Map<string, string>();
  sessionsRefused = 0;
  readonly forms: URLSearchParams[] = [];
  #sessions = 0;
  #form = new URLSearchParams();

  constructor(wallMs: () => number) {
    super();
    this.wallMs = wallMs;
  }

  override async handle(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (this.isMetadata(url)) return await super.handle(request);
    const body = await request.clone().text();
    this.#form = new URLSearchParams(body);
    this.forms.push(this.#form);
    const refusal = this.refusals.shift();
    if (refusal !== undefined) return this.#refusal(refusal.status, refusal.code, refusal.message ?? "no");
    if (this.fault === undefined && !this.#isSigned(request, body)) {
      return this.#refusal(403, "SignatureDoesNotMatch", "wrong signature");
    }
    const sentMs = Date.parse(
      (request.headers.get("x-amz-date") ?? "").replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5"),
    );
    if (Math.abs(sentMs - this.wallMs()) > 300_000) {
      return this.#refusal(401, "AuthFailure", "AWS was not able to validate the provided access credentials");
    }
    const headers = new Headers(request.headers);
    headers.set("authorization", `Bearer ${this.token}`);
    return await super.handle(
      new Request(url, { method: "POST", headers, body, redirect: "manual", signal: request.signal }),
    );
  }

  protected isMetadata = (url: URL) => url.hostname === "metadata.test";

  protected metadata(url: URL, request: Request): Response | undefined {
    if (url.pathname === "/latest/api/token") {
      if (request.method !== "PUT") return new Response("", { status: 405 });
      const life = Number(request.headers.get("x-aws-ec2-metadata-token-ttl-seconds"));
      return life >= 1 && life <= 21_600
        ? new Response(`session-${++this.#sessions}`)
        : new Response("", { status: 400 });
    }
    const current = request.headers.get("x-aws-ec2-metadata-token") === `session-${this.#sessions}`;
    if (!current || this.sessionsRefused-- > 0) return new Response("", { status: 401 });
    const path = url.pathname.replace("/latest/", "");
    if (path === "dynamic/instance-identity/document") {
      return Response.json({
        instanceId: this.self,
        region: this.region,
        privateIp: this.own.address ?? null,
        accountId: "123456789012",
      });
    }
    const value = this.served.get(path);
    return value === undefined ? new Response("", { status: 404 }) : new Response(value);
  }

  protected api(_url: URL, _request: Request): Response | undefined {
    switch (this.#form.get("Action")) {
      case "DescribeInstances":
        return this.#xml("DescribeInstancesResponse", this.#describeInstances());
      case "DescribeAutoScalingInstances": {
        const own = this.instances.find(({ name }) => name === this.#form.get("InstanceIds.member.1"));
        const group = own?.tags[fakeAwsGroup];
        const members = group === undefined
          ? ""
          : `<member><AutoScalingGroupName>${group}</AutoScalingGroupName></member>`;
        return this.#result(`<AutoScalingInstances>${members}</AutoScalingInstances>`);
      }
      case "DescribeAutoScalingGroups": {
        const group = this.#form.get("AutoScalingGroupNames.member.1")!;
        const members = this.instances.filter(({ tags }) => tags[fakeAwsGroup] === group).map(({ name }) =>
          `<member><InstanceId>${name}</InstanceId><LifecycleState>${
            this.lifecycle.get(name) ?? "InService"
          }</LifecycleState></member>`
        );
        return this.#result(
          `<AutoScalingGroups><member><AutoScalingGroupName>${group}</AutoScalingGroupName><Instances>${
            members.join("")
          }</Instances></member></AutoScalingGroups>`,
        );
      }
      case "AssumeRole":
        return this.#result(`<Credentials>
          <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>${this.token}-role</SecretAccessKey>
          <SessionToken>session+of/role=</SessionToken>
          <Expiration>${new Date(this.wallMs() + 3_600_000).toISOString()}</Expiration></Credentials>`);
      default:
        return undefined;
    }
  }

  protected error = (status: number, message: string) => ({ status, message });

  protected override failure(status: number, message: string, headers: Record<string, string> = {}): Response {
    const codes: Record<number, string> = { 401: "AuthFailure", 403: "UnauthorizedOperation", 429: "Throttling" };
    return this.#refusal(status, codes[status] ?? "InternalError", message, headers);
  }

  #refusal(status: number, code: string, message: string, headers: Record<string, string> = {}): Response {
    const text = `<?xml version="1.0"?><Response><Errors><Error><Code>${code}</Code><Message>${
      escaped(message)
    }</Message></Error></Errors><RequestID>1</RequestID></Response>`;
    return new Response(text, { status, headers: { date: new Date(this.wallMs()).toUTCString(), ...headers } });
  }

  #describeInstances(): string {
    const filters = [...this.#form].flatMap(([key, name]) => {
      const at = /^Filter\.(\d+)\.Name$/.exec(key)?.[1];
      return at === undefined ? [] : [{
        name,
        values: [...this.#form].filter(([key]) => key.startsWith(`Filter.${at}.Value.`)).map(([, value]) => value),
      }];
    });
    const matches = (one: FakeInstance) =>
      filters.every(({ name, values }) => {
        const actual = name === "instance-state-name"
          ? one.stopped ? "stopped" : "running"
          : name === "instance-id"
          ? one.name
          : one.tags[name.replace("tag:", "")];
        return actual !== undefined && values.some((value) => wildcard(value).test(actual));
      });
    const from = Number(this.#form.get("NextToken") ?? 0);
    const size = Number(this.#form.get("MaxResults") ?? 1000);
    const found = this.instances.filter(matches);
    const next = from + size < found.length ? `<nextToken>${from + size}</nextToken>` : "";
    const items = found.slice(from, from + size).map((one) =>
      `<item><instancesSet><item>
      <instanceId>${one.name}</instanceId><instanceState><name>${
        one.stopped ? "stopped" : "running"
      }</name></instanceState>
      ${one.address === undefined ? "" : `<privateIpAddress>${one.address}</privateIpAddress>`}
      <tagSet>${
        Object.entries(one.tags).map(([key, value]) =>
          `<item><key>${escaped(key)}</key><value>${escaped(value)}</value></item>`
        ).join("")
      }</tagSet></item></instancesSet></item>`
    );
    return items.length === 0
      ? `<reservationSet/>${next}`
      : `<reservationSet>${items.join("")}</reservationSet>${next}`;
  }

  #result(inner: string): Response {
    const action = this.#form.get("Action")!;
    return this.#xml(`${action}Response`, `<${action}Result>${inner}</${action}Result>`);
  }

  #xml(root: string, inner: string): Response {
    return new Response(`<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${inner}</${root}>`);
  }

  #isSigned({ url, headers }: Request, body: string): boolean {
    const form =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/((\d{8})\/([^/]+)\/([^/]+)\/aws4_request), SignedHeaders=(\S+), Signature=(\S+)$/;
    const [, id, scope, day, region, service, names, signature] = form.exec(headers.get("authorization") ?? "") ?? [];
    if (id !== this.accessKeyId || region !== this.region) return false;
    if ((headers.get("x-amz-security-token") ?? undefined) !== this.sessionToken) return false;
    const value = (name: string) => name === "host" ? new URL(url).host : headers.get(name)!;
    const canonical = [
      "POST",
      new URL(url).pathname,
      "",
      ...names!.split(";").map((name) => `${name}:${value(name)}`),
      "",
      names,
      createHash("sha256").update(body).digest("hex"),
    ].join("\n");
    const digest = createHash("sha256").update(canonical).digest("hex");
    const toSign = ["AWS4-HMAC-SHA256", headers.get("x-amz-date"), scope, digest].join("\n");
    let key: string | Uint8Array = `AWS4${this.token}`;
    for (const part of [day!, region, service!, "aws4_request"]) key = createHmac("sha256", key).update(part).digest();
    return createHmac("sha256", key).update(toSign).digest("hex") === signature;
  }
}

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** EC2's filters: `*` and `?` are wildcards, a backslash escapes them. */
function wildcard(pattern: string): RegExp {
  const source = pattern.replace(/\\([\\*?])|([*?])|([.+^${}()|[\]\\])/g, (_, plain, wild, special) => {
    if (wild !== undefined) return wild === "*" ? ".*" : ".";
    return `\\${plain ?? special}`;
  });
  return new RegExp(`^${source}$`, "s");
}
