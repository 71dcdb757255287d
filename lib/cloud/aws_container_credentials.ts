import { E2dError } from "../errors.ts";
import { metadataTimeoutMs } from "./ask_metadata.ts";
import type { AwsPorts, CredentialFind } from "./aws_credential_source.ts";
import { parseServedCredentials } from "./aws_served_credentials.ts";
import { exchange } from "./exchange.ts";
import { withRetries } from "./with_retries.ts";

const relativeOrigin = "http://169.254.170.2";
/** Hosts of ECS and EKS that may be sent the token without TLS, as in AWS's own tools. */
const plainHosts = /^(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]|169\.254\.170\.2|169\.254\.170\.23|\[fd00:ec2::23\])$/;

/**
 * The role of an ECS task or an EKS pod. Throws E2dError `aws_credentials` for an address that may not be asked or a
 * token that cannot be read, and what `exchange` throws.
 */
export async function containerCredentials(ports: AwsPorts, signal: AbortSignal): Promise<CredentialFind> {
  const relative = ports.environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const full = ports.environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!relative && !full) return { absent: "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set" };
  const url = relative ? URL.parse(`${relativeOrigin}${relative}`) : URL.parse(full!);
  const allowed = url !== null &&
    (relative ? url.origin === relativeOrigin : url.protocol === "https:" || plainHosts.test(url.hostname));
  if (!allowed) {
    throw new E2dError("aws_credentials", `Cannot ask the container's credential service "${relative || full}"`, {
      hint: "its URL must be https, or http to this host or to the address AWS keeps for it",
    });
  }
  const action = "ask the container's credential service";
  const headers = await authorization(ports);
  return await withRetries({ ...ports, signal }, async () => {
    const { status, text } = await exchange({ action, url, headers, timeoutMs: metadataTimeoutMs }, ports, signal);
    if (status === 200) return parseServedCredentials(text, "the container's credential service");
    const code = status >= 500 ? "cloud_failed" : "aws_credentials";
    throw new E2dError(code, `Cannot ${action} at "${url.origin}": the answer is ${status}`);
  });
}

async function authorization({ environment, files }: AwsPorts): Promise<Record<string, string>> {
  const path = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  const token = path ? (await files.readText(path))?.trim() : environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (path && !token) throw new E2dError("aws_credentials", `Cannot read the token "${path}": there is none in it`);
  if (!token) return {};
  if (!/^[\x20-\x7e]+$/.test(token)) {
    throw new E2dError("aws_credentials", "Cannot use the token for the container's credential service: not a token");
  }
  return { authorization: token };
}
