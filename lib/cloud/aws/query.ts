/**
 * Requests to the AWS services with the query protocol (form in, XML out): EC2, Auto Scaling, STS and IAM. Signs them,
 * repeats transient failures, and distinguishes a missing permission, a refused key, throttling and a wrong clock.
 */
import { AwsV4Signer } from "aws4fetch";
import * as v from "valibot";
import { E2dError } from "../../errors.ts";
import { AwsClock } from "./clock.ts";
import type { AwsCredentials, AwsCredentialSource, AwsPorts } from "./credential_source.ts";
import { awsErrorOf, parseAwsXml } from "./xml.ts";
import { errorDetail, exchange, type HttpAnswer } from "../exchange.ts";
import { ThrottledError } from "../throttled_error.ts";
import { withRetries } from "../with_retries.ts";

export type AwsService = "ec2" | "autoscaling" | "sts" | "iam";

const services: Readonly<Record<AwsService, { version: string; variable: string }>> = {
  ec2: { version: "2016-11-15", variable: "AWS_ENDPOINT_URL_EC2" },
  autoscaling: { version: "2011-01-01", variable: "AWS_ENDPOINT_URL_AUTO_SCALING" },
  sts: { version: "2011-06-15", variable: "AWS_ENDPOINT_URL_STS" },
  iam: { version: "2010-05-08", variable: "AWS_ENDPOINT_URL_IAM" },
};

const timeoutMs = 10_000;
/** AWS accepts requests up to five minutes old: a clock difference below `skewMinMs` is not the cause of a refusal. */
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
const expiredCodes = new Set(["ExpiredToken", "ExpiredTokenException", "RequestExpired"]);
/** Error codes for an invalid signature, and for a valid signature with a wrong time. */
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
  ...expiredCodes,
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

  /** Without `credentials` requests are unsigned: a token in the parameters authenticates them. Throws E2dError `aws_endpoint`. */
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
      const { text } = await this.#sendWithCorrection(call.action, body, signal);
      let value: unknown;
      try {
        value = parseAwsXml(text);
      } catch {
        throw new E2dError("cloud_answer", `${this.#cannot(call.action)}: the response is truncated or malformed`);
      }
      const parsed = v.safeParse(call.schema, value);
      if (parsed.success) return parsed.output;
      const field = v.getDotPath(parsed.issues[0]) ?? "the top level";
      throw new E2dError(
        "cloud_answer",
        `${this.#cannot(call.action)}: the response differs from its documentation at ${field}`,
      );
    });
  }

  /** Repeats the request once after a wrong clock or expired credentials, which the first response corrects. */
  async #sendWithCorrection(action: string, body: string, signal: AbortSignal): Promise<HttpAnswer> {
    let credentials = await this.#credentials?.(signal);
    const first = await this.#send(action, body, credentials, signal);
    if (first.status === 200) return first;
    const code = awsErrorOf(first.text)?.code ?? "";
    const clockAdopted = signatureCodes.has(code) && this.#adoptClock(first);
    if (!clockAdopted && !(expiredCodes.has(code) && this.#credentials !== undefined)) {
      throw this.#errorOf(action, first, credentials);
    }
    if (!clockAdopted) credentials = await this.#credentials?.(signal, credentials);
    const second = await this.#send(action, body, credentials, signal);
    if (second.status === 200) return second;
    throw this.#errorOf(action, second, credentials);
  }

  async #send(
    action: string,
    body: string,
    credentials: AwsCredentials | undefined,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
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

  /** Adopts AWS's time from its response; false when this machine's clock is right and nothing changes. */
  #adoptClock({ headers }: HttpAnswer): boolean {
    const behindMs = this.#time.adopt(headers.get("date"));
    if (behindMs === undefined) return false;
    this.#ports.log.warn("The clock of this machine is wrong: requests to AWS use AWS's time", {
      service: this.#service,
      secondsBehind: Math.round(behindMs / 1000),
    });
    return true;
  }

  #errorOf(action: string, { status, headers, text }: HttpAnswer, credentials: AwsCredentials | undefined): E2dError {
    const { code, message } = awsErrorOf(text) ?? { code: "", message: "" };
    const permission = `${this.#service}:${action}`;
    // AWS may repeat the whole signed request; the encoded authorization message is useless in a log line.
    const plain = message.replace(/\s*Encoded authorization failure message:.*$/s, "");
    const detail = errorDetail(plain, [
      credentials?.secretAccessKey,
      credentials?.sessionToken,
      credentials?.accessKeyId,
    ]);
    const statusText = `${status}${code === "" ? "" : ` ${errorDetail(code)}`}`;
    const cannot = this.#cannot(action);
    const suffix = detail === "" ? "" : `: ${detail}`;
    if (throttledCodes.has(code) || status === 429) {
      const seconds = Number(headers.get("retry-after") ?? NaN);
      return new ThrottledError(
        `${cannot}: AWS throttles requests (${statusText})${suffix}`,
        seconds >= 0 ? seconds * 1000 : undefined,
      );
    }
    if (status >= 500) {
      return new E2dError("cloud_failed", `${cannot}: AWS reports an internal error (${statusText})${suffix}`);
    }
    if (unauthorizedCodes.has(code) || status === 401) {
      return new E2dError("cloud_unauthorized", `${cannot}: the credentials are refused (${statusText})${suffix}`, {
        hint: code === "OptInRequired"
          ? `enable the region "${this.#region}" for the account`
          : `check that the credentials are still valid, belong to the account and may be used in "${this.#region}"`,
      });
    }
    if (forbiddenCodes.has(code) || status === 403) {
      return new E2dError("cloud_forbidden", `${cannot}: "${permission}" is not permitted (${statusText})${suffix}`, {
        hint: `allow "${permission}" in a policy of the role or user`,
      });
    }
    return new E2dError("cloud_refused", `${cannot}: the response status is ${statusText}${suffix}`);
  }

  #action(action: string): string {
    return `call ${this.#service}:${action} of AWS in "${this.#region}"`;
  }

  #cannot(action: string): string {
    return `Cannot ${this.#action(action)}`;
  }
}

/** The form encoding of AWS's own tools: percent-encoding by RFC 3986, from which URLSearchParams differs. */
function formOf(parameters: Readonly<Record<string, string>>): string {
  return `${new URLSearchParams(parameters)}`.replaceAll("*", "%2A").replaceAll("%7E", "~");
}

/** AWS_ENDPOINT_URL_<SERVICE>, else AWS_ENDPOINT_URL, else AWS's documented endpoint. Throws E2dError `aws_endpoint`. */
function endpointOf(service: AwsService, region: string, environment: AwsPorts["environment"]): URL {
  for (const variable of [services[service].variable, "AWS_ENDPOINT_URL"]) {
    const text = environment(variable);
    if (text === undefined || text === "") continue;
    const url = URL.parse(text);
    if (url !== null && /^https?:$/.test(url.protocol)) return url;
    throw new E2dError("aws_endpoint", `Cannot use ${variable} "${text}": it is not an http or https URL`);
  }
  if (!/^[a-z0-9-]{1,63}$/.test(region)) {
    throw new E2dError("aws_endpoint", `Cannot use the AWS region "${region}": it is not a valid region name`);
  }
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  if (service !== "iam") return new URL(`https://${service}.${region}.${domain}/`);
  const host = { "us-east-1": "iam", "us-gov-west-1": "iam.us-gov" }[region] ?? `iam.${region}`;
  return new URL(`https://${host}.${domain}/`);
}

/** IAM is one service per AWS partition; requests are signed for one fixed region of it. */
function iamRegion(region: string): string {
  if (region.startsWith("cn-")) return "cn-north-1";
  return region.startsWith("us-gov-") ? "us-gov-west-1" : "us-east-1";
}
