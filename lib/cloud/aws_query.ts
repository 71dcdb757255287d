/**
 * Questions to those services of AWS that take a form and answer XML: EC2, Auto Scaling, STS and IAM. Signs them, asks
 * again what passes, and tells a missing permission from a refused key, a throttled account and a clock that is wrong.
 */
import { AwsV4Signer } from "aws4fetch";
import * as v from "valibot";
import { E2dError } from "../errors.ts";
import { AwsClock } from "./aws_clock.ts";
import type { AwsCredentials, AwsCredentialSource, AwsPorts } from "./aws_credential_source.ts";
import { awsErrorOf, parseAwsXml } from "./aws_xml.ts";
import { type Answer, exchange, shownDetail } from "./exchange.ts";
import { ThrottledError } from "./throttled_error.ts";
import { withRetries } from "./with_retries.ts";

export type AwsService = "ec2" | "autoscaling" | "sts" | "iam";

const services: Readonly<Record<AwsService, { version: string; variable: string }>> = {
  ec2: { version: "2016-11-15", variable: "AWS_ENDPOINT_URL_EC2" },
  autoscaling: { version: "2011-01-01", variable: "AWS_ENDPOINT_URL_AUTO_SCALING" },
  sts: { version: "2011-06-15", variable: "AWS_ENDPOINT_URL_STS" },
  iam: { version: "2010-05-08", variable: "AWS_ENDPOINT_URL_IAM" },
};

const timeoutMs = 10_000;
/** AWS takes requests that are up to five minutes old. Less apart than this, the clock is not why one is refused. */
const skewMinMs = 60_000;
const skewMaxMs = 10 * 365 * 86_400_000;

const throttledCodes = new Set([
  "RequestLimitExceeded",
  "Throttling",
  "ThrottlingException",
  "ThrottledException",
  "RequestThrottled",
  "RequestThrottledException",
  "TooManyRequestsException",
  "EC2ThrottledException",
  "SlowDown",
]);
const forbiddenCodes = new Set(["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"]);
const endedCodes = new Set(["ExpiredToken", "ExpiredTokenException", "RequestExpired"]);
/** What AWS says of a signature, and also of a good one that bears a wrong time. */
const signatureCodes = new Set([
  "AuthFailure",
  "SignatureDoesNotMatch",
  "InvalidSignatureException",
  "InvalidClientTokenId",
  "IncompleteSignature",
  "RequestTimeTooSkewed",
  "RequestInTheFuture",
  "RequestExpired",
]);
const unauthorizedCodes = new Set([
  ...signatureCodes,
  ...endedCodes,
  "MissingAuthenticationToken",
  "UnrecognizedClientException",
  "OptInRequired",
  "InvalidIdentityToken",
]);

export interface AwsCall<Schema extends v.GenericSchema> {
  /** `DescribeInstances` */
  action: string;
  parameters: Readonly<Record<string, string>>;
  schema: Schema;
}

export class AwsQuery {
  readonly #service: AwsService;
  readonly #region: string;
  readonly #credentials: AwsCredentialSource | undefined;
  readonly #ports: AwsPorts;
  readonly #url: URL;
  readonly #time: AwsClock;

  /** No `credentials`: unsigned, for what is proven by a token in its parameters. Throws E2dError `aws_endpoint`. */
  constructor(
    { service, region, credentials }: {
      service: AwsService;
      region: string;
      credentials: AwsCredentialSource | undefined;
    },
    ports: AwsPorts,
  ) {
    this.#service = service;
    this.#region = service === "iam" ? iamRegion(region) : region;
    this.#credentials = credentials;
    this.#ports = ports;
    this.#time = new AwsClock(ports.clock, { minMs: skewMinMs, maxMs: skewMaxMs });
    this.#url = endpointOf(service, this.#region, ports.environment);
  }

  /**
   * Throws E2dError `cloud_forbidden` (names the action to allow), `cloud_unauthorized`, `cloud_throttled` (a
   * ThrottledError), `cloud_failed`, `cloud_refused`, what `exchange` throws, and what the credential source throws.
   */
  async call<Schema extends v.GenericSchema>(
    call: AwsCall<Schema>,
    signal: AbortSignal,
  ): Promise<v.InferOutput<Schema>> {
    const body = formOf({ Action: call.action, Version: services[this.#service].version, ...call.parameters });
    return await withRetries({ ...this.#ports, signal }, async () => {
      const { text } = await this.#accepted(call.action, body, signal);
      let value: unknown;
      try {
        value = parseAwsXml(text);
      } catch {
        throw new E2dError("cloud_answer", `${this.#cannot(call.action)}: the answer is cut or garbled`);
      }
      const parsed = v.safeParse(call.schema, value);
      if (parsed.success) return parsed.output;
      const where = v.getDotPath(parsed.issues[0]) ?? "its top";
      throw new E2dError(
        "cloud_answer",
        `${this.#cannot(call.action)}: the answer is not what is documented, at ${where}`,
      );
    });
  }

  /** Asks a second time when the clock was wrong or the credentials had ended, since both are mended by the first. */
  async #accepted(action: string, body: string, signal: AbortSignal): Promise<Answer> {
    let credentials = await this.#credentials?.(signal);
    const first = await this.#ask(action, body, credentials, signal);
    if (first.status === 200) return first;
    const code = awsErrorOf(first.text)?.code ?? "";
    const mended = signatureCodes.has(code) && this.#setClock(first);
    if (!mended && !(endedCodes.has(code) && this.#credentials !== undefined)) {
      throw this.#refused(action, first, credentials);
    }
    if (!mended) credentials = await this.#credentials?.(signal, credentials);
    const second = await this.#ask(action, body, credentials, signal);
    if (second.status === 200) return second;
    throw this.#refused(action, second, credentials);
  }

  async #ask(
    action: string,
    body: string,
    credentials: AwsCredentials | undefined,
    signal: AbortSignal,
  ): Promise<Answer> {
    const headers: Record<string, string> = { "content-type": "application/x-www-form-urlencoded; charset=utf-8" };
    if (credentials !== undefined) {
      const signed = await new AwsV4Signer({
        method: "POST",
        url: this.#url.href,
        headers,
        body,
        service: this.#service,
        region: this.#region,
        datetime: this.#time.signingTime(),
        accessKeyId: credentials.accessKeyId,
        secretAccessKey: credentials.secretAccessKey,
        ...credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken },
      }).sign();
      for (const [name, value] of signed.headers) headers[name] = value;
    }
    const question = {
      action: this.#action(action),
      url: this.#url,
      method: "POST",
      headers,
      body,
      timeoutMs,
    } as const;
    return await exchange(question, this.#ports, signal);
  }

  /** Takes over AWS's time from its answer. False when the own clock is right, so that it changes nothing. */
  #setClock({ headers }: Answer): boolean {
    const behindMs = this.#time.takeOver(headers.get("date"));
    if (behindMs === undefined) return false;
    this.#ports.log.warn("The clock of this machine is not AWS's: requests bear AWS's time", {
      service: this.#service,
      secondsBehind: Math.round(behindMs / 1000),
    });
    return true;
  }

  #refused(action: string, { status, headers, text }: Answer, credentials: AwsCredentials | undefined): E2dError {
    const { code, message } = awsErrorOf(text) ?? { code: "", message: "" };
    const permission = `${this.#service}:${action}`;
    // AWS may repeat a whole signed request; the long ciphertext of a refusal is for those who can decode it.
    const plain = message.replace(/\s*Encoded authorization failure message:.*$/s, "");
    const detail = shownDetail(plain, [
      credentials?.secretAccessKey,
      credentials?.sessionToken,
      credentials?.accessKeyId,
    ]);
    const said = `${status}${code === "" ? "" : ` ${shownDetail(code)}`}`;
    const cannot = this.#cannot(action);
    const suffix = detail === "" ? "" : `: ${detail}`;
    if (throttledCodes.has(code) || status === 429) {
      const seconds = Number(headers.get("retry-after") ?? NaN);
      return new ThrottledError(
        `${cannot}: there were too many questions (${said})${suffix}`,
        seconds >= 0 ? seconds * 1000 : undefined,
      );
    }
    if (status >= 500) return new E2dError("cloud_failed", `${cannot}: AWS fails (${said})${suffix}`);
    if (unauthorizedCodes.has(code) || status === 401) {
      return new E2dError("cloud_unauthorized", `${cannot}: the credentials are refused (${said})${suffix}`, {
        hint: code === "OptInRequired"
          ? `enable the region "${this.#region}" for the account`
          : `check that the credentials are still valid, belong to the account and may be used in "${this.#region}"`,
      });
    }
    if (forbiddenCodes.has(code) || status === 403) {
      return new E2dError("cloud_forbidden", `${cannot}: "${permission}" is not permitted (${said})${suffix}`, {
        hint: `allow "${permission}" in a policy of the role or user`,
      });
    }
    return new E2dError("cloud_refused", `${cannot}: the answer is ${said}${suffix}`);
  }

  #action(action: string): string {
    return `ask AWS for ${this.#service}:${action} in "${this.#region}"`;
  }

  #cannot(action: string): string {
    return `Cannot ${this.#action(action)}`;
  }
}

/** As AWS's own tools write a form: with what RFC 3986 reserves in percents, which URLSearchParams sees otherwise. */
function formOf(parameters: Readonly<Record<string, string>>): string {
  return `${new URLSearchParams(parameters)}`.replaceAll("*", "%2A").replaceAll("%7E", "~");
}

/** AWS_ENDPOINT_URL_<SERVICE>, else AWS_ENDPOINT_URL, else where AWS documents it. Throws E2dError `aws_endpoint`. */
function endpointOf(service: AwsService, region: string, environment: AwsPorts["environment"]): URL {
  for (const variable of [services[service].variable, "AWS_ENDPOINT_URL"]) {
    const text = environment(variable);
    if (text === undefined || text === "") continue;
    const url = URL.parse(text);
    if (url !== null && /^https?:$/.test(url.protocol)) return url;
    throw new E2dError("aws_endpoint", `Cannot use ${variable} "${text}": it is no URL`);
  }
  if (!/^[a-z0-9-]{1,63}$/.test(region)) {
    throw new E2dError("aws_endpoint", `Cannot ask AWS in the region "${region}": there is no such name`);
  }
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  if (service !== "iam") return new URL(`https://${service}.${region}.${domain}/`);
  const host = { "us-east-1": "iam", "us-gov-west-1": "iam.us-gov" }[region] ?? `iam.${region}`;
  return new URL(`https://${host}.${domain}/`);
}

/** IAM is one service for a whole partition and answers to the name of one region of it. */
function iamRegion(region: string): string {
  if (region.startsWith("cn-")) return "cn-north-1";
  return region.startsWith("us-gov-") ? "us-gov-west-1" : "us-east-1";
}
