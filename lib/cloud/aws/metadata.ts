/** The metadata service of an EC2 instance, with sessions only (IMDSv2): IMDSv1 answers forged requests. */
import * as v from "valibot";
import { E2dError, isE2dError } from "../../errors.ts";
import { metadataTimeoutMs, metadataUrlDefault } from "../request_metadata.ts";
import type { AwsPorts } from "./credential_source.ts";
import { errorDetail, exchange, type HttpAnswer, type HttpRequest } from "../exchange.ts";
import { withRetries } from "../with_retries.ts";

export interface AwsInstance {
  instanceId: string;
  region: string;
  /** The address in its subnet; undefined in an IPv6-only subnet. */
  privateAddress: string | undefined;
}

const action = "read from the metadata service of EC2";
const sessionLifeS = 21_600;
/** A session is replaced this long before it expires. */
const sessionMarginMs = 60_000;

const documentSchema = v.object({
  instanceId: v.pipe(v.string(), v.regex(/^[A-Za-z0-9-]{1,64}$/)),
  // The region becomes part of host names.
  region: v.pipe(v.string(), v.regex(/^[a-z0-9-]{1,63}$/)),
  privateIp: v.nullish(v.string()),
});

export class AwsMetadata {
  readonly #ports: Pick<AwsPorts, "http" | "clock" | "random">;
  readonly #origin: string;
  readonly #disabled: boolean;
  #session: { token: string; untilMs: number } | undefined;

  /** `url`, else AWS_EC2_METADATA_SERVICE_ENDPOINT, else the link-local address. Throws E2dError `aws_endpoint`. */
  constructor(url: string | undefined, ports: Pick<AwsPorts, "http" | "clock" | "random" | "environment">) {
    this.#ports = ports;
    const given = url ?? ports.environment("AWS_EC2_METADATA_SERVICE_ENDPOINT") ?? "";
    if (given !== "" && !/^https?:$/.test(URL.parse(given)?.protocol ?? "")) {
      throw new E2dError(
        "aws_endpoint",
        `Cannot use AWS_EC2_METADATA_SERVICE_ENDPOINT "${given}": it is not an http or https URL`,
      );
    }
    this.#origin = given === "" ? metadataUrlDefault : given;
    this.#disabled = ports.environment("AWS_EC2_METADATA_DISABLED")?.toLowerCase() === "true";
  }

  /** Throws what `get` throws. */
  async instance(signal: AbortSignal): Promise<AwsInstance> {
    const text = await this.get("dynamic/instance-identity/document", signal);
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), documentSchema), text);
    if (!parsed.success) throw this.#invalidAnswer("the instance identity document differs from its documentation");
    const { instanceId, region, privateIp } = parsed.output;
    return { instanceId, region, privateAddress: privateIp ?? undefined };
  }

  /**
   * One value under /latest/; undefined: it does not exist. Throws E2dError `no_metadata_service` within two seconds
   * without an answer, `metadata_refused` when the service is disabled for this instance, and `cloud_failed` or
   * `cloud_answer` when it still fails after several tries.
   */
  async get(path: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#disabled) {
      throw new E2dError("no_metadata_service", `Cannot ${action}: AWS_EC2_METADATA_DISABLED is true`);
    }
    return await withRetries({ ...this.#ports, signal }, async () => {
      const first = await this.#read(path, signal);
      if (first.status !== 401) return this.#valueOf(path, first);
      // The session ended early: the instance was stopped and started, or its clock jumped.
      this.#session = undefined;
      return this.#valueOf(path, await this.#read(path, signal));
    });
  }

  async #read(path: string, signal: AbortSignal): Promise<HttpAnswer> {
    const token = await this.#token(signal);
    return await this.#send(`/latest/${path}`, { headers: { "x-aws-ec2-metadata-token": token } }, signal);
  }

  #valueOf(path: string, { status, text }: HttpAnswer): string | undefined {
    if (status === 200) return text;
    if (status === 404) return undefined;
    throw this.#errorOf(status, `for "${errorDetail(path)}"`);
  }

  async #token(signal: AbortSignal): Promise<string> {
    const { clock } = this.#ports;
    const beganMs = clock.monotonicMs();
    if (this.#session !== undefined && beganMs < this.#session.untilMs) return this.#session.token;
    const headers = { "x-aws-ec2-metadata-token-ttl-seconds": `${sessionLifeS}` };
    const { status, text } = await this.#send("/latest/api/token", { method: "PUT", headers }, signal);
    if (status !== 200) throw this.#errorOf(status, "for a session (IMDSv2)");
    if (!/^[\x21-\x7e]{1,4096}$/.test(text)) throw this.#invalidAnswer("the session token is malformed");
    this.#session = { token: text, untilMs: beganMs + sessionLifeS * 1000 - sessionMarginMs };
    return text;
  }

  async #send(path: string, question: Partial<HttpRequest>, signal: AbortSignal): Promise<HttpAnswer> {
    const url = new URL(path, this.#origin);
    try {
      return await exchange({ action, url, timeoutMs: metadataTimeoutMs, ...question }, this.#ports, signal);
    } catch (cause) {
      if (!isE2dError(cause, "cloud_timeout") && !isE2dError(cause, "cloud_unreachable")) throw cause;
      throw new E2dError(
        "no_metadata_service",
        `Cannot find the metadata service of EC2 at "${url.origin}": it does not answer`,
        {
          cause,
          hint: "run e2d on an EC2 instance; in a container there, set HttpPutResponseHopLimit of the instance's " +
            "metadata options to 2, and exempt 169.254.169.254 from proxies and firewalls",
        },
      );
    }
  }

  #errorOf(status: number, what: string): E2dError {
    if (status >= 500) {
      return new E2dError(
        "cloud_failed",
        `Cannot ${action} ${what}: the service reports an internal error (${status})`,
      );
    }
    const state = status === 403
      ? "the service is disabled for this instance (403)"
      : status === 404
      ? "the server at this address is not a metadata service (404)"
      : `the service refuses the request (${status})`;
    return new E2dError("metadata_refused", `Cannot ${action} ${what} at "${this.#origin}": ${state}`, {
      hint: status === 403
        ? "set HttpEndpoint of the instance's metadata options to enabled"
        : "check AWS_EC2_METADATA_SERVICE_ENDPOINT, and proxies between e2d and the service",
    });
  }

  #invalidAnswer(state: string): E2dError {
    return new E2dError("cloud_answer", `Cannot ${action} at "${this.#origin}": ${state}`);
  }
}
