/** The metadata service of an EC2 instance, asked in sessions alone (IMDSv2): the older way answers to forged requests. */
import * as v from "valibot";
import { E2dError, isE2dError } from "../errors.ts";
import { metadataTimeoutMs, metadataUrlDefault } from "./ask_metadata.ts";
import type { AwsPorts } from "./aws_credential_source.ts";
import { type Answer, exchange, type Question, shownDetail } from "./exchange.ts";
import { withRetries } from "./with_retries.ts";

export interface AwsInstance {
  instanceId: string;
  region: string;
  /** The address in its subnet; undefined in a subnet of IPv6 alone. */
  privateAddress: string | undefined;
}

const action = "ask the metadata service of EC2";
const sessionLifeS = 21_600;
/** A session is begun anew so long before its end. */
const sessionMarginMs = 60_000;

const documentSchema = v.object({
  instanceId: v.pipe(v.string(), v.regex(/^[A-Za-z0-9-]{1,64}$/)),
  // It becomes part of host names.
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
      throw new E2dError("aws_endpoint", `Cannot use AWS_EC2_METADATA_SERVICE_ENDPOINT "${given}": it is no URL`);
    }
    this.#origin = given === "" ? metadataUrlDefault : given;
    this.#disabled = ports.environment("AWS_EC2_METADATA_DISABLED")?.toLowerCase() === "true";
  }

  /** Throws what `get` throws. */
  async instance(signal: AbortSignal): Promise<AwsInstance> {
    const text = await this.get("dynamic/instance-identity/document", signal);
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), documentSchema), text);
    if (!parsed.success) throw this.#broken("the identity document of the instance is not what is documented");
    const { instanceId, region, privateIp } = parsed.output;
    return { instanceId, region, privateAddress: privateIp ?? undefined };
  }

  /**
   * One value under /latest/; undefined: there is no such thing. Throws E2dError `no_metadata_service` within two seconds
   * where none answers, `metadata_refused` where it is switched off for this instance, `cloud_failed` and `cloud_answer`
   * where it still fails after some tries.
   */
  async get(path: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#disabled) {
      throw new E2dError("no_metadata_service", `Cannot ${action}: AWS_EC2_METADATA_DISABLED says not to`);
    }
    return await withRetries({ ...this.#ports, signal }, async () => {
      const first = await this.#read(path, signal);
      if (first.status !== 401) return this.#valueOf(path, first);
      // The session ended early: the instance was stopped and started, or its clock leapt.
      this.#session = undefined;
      return this.#valueOf(path, await this.#read(path, signal));
    });
  }

  async #read(path: string, signal: AbortSignal): Promise<Answer> {
    const token = await this.#token(signal);
    return await this.#ask(`/latest/${path}`, { headers: { "x-aws-ec2-metadata-token": token } }, signal);
  }

  #valueOf(path: string, { status, text }: Answer): string | undefined {
    if (status === 200) return text;
    if (status === 404) return undefined;
    throw this.#refused(status, `for "${shownDetail(path)}"`);
  }

  async #token(signal: AbortSignal): Promise<string> {
    const { clock } = this.#ports;
    const beganMs = clock.monotonicMs();
    if (this.#session !== undefined && beganMs < this.#session.untilMs) return this.#session.token;
    const headers = { "x-aws-ec2-metadata-token-ttl-seconds": `${sessionLifeS}` };
    const { status, text } = await this.#ask("/latest/api/token", { method: "PUT", headers }, signal);
    if (status !== 200) throw this.#refused(status, "for a session (IMDSv2)");
    if (!/^[\x21-\x7e]{1,4096}$/.test(text)) throw this.#broken("what it gives for a session is no token");
    this.#session = { token: text, untilMs: beganMs + sessionLifeS * 1000 - sessionMarginMs };
    return text;
  }

  async #ask(path: string, question: Partial<Question>, signal: AbortSignal): Promise<Answer> {
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
            "metadata options to 2, and keep 169.254.169.254 out of proxies and firewalls",
        },
      );
    }
  }

  #refused(status: number, what: string): E2dError {
    if (status >= 500) return new E2dError("cloud_failed", `Cannot ${action} ${what}: it fails (${status})`);
    const state = status === 403
      ? "it is switched off for this instance (403)"
      : status === 404
      ? "who answers there is none (404)"
      : `it refuses (${status})`;
    return new E2dError("metadata_refused", `Cannot ${action} ${what} at "${this.#origin}": ${state}`, {
      hint: status === 403
        ? "set HttpEndpoint of the instance's metadata options to enabled"
        : "check AWS_EC2_METADATA_SERVICE_ENDPOINT, and what stands between e2d and the service",
    });
  }

  #broken(state: string): E2dError {
    return new E2dError("cloud_answer", `Cannot ${action} at "${this.#origin}": ${state}`);
  }
}
