import { E2dError } from "../../errors.ts";
import { metadataTimeoutMs } from "../request_metadata.ts";
import type { AwsPorts, CredentialResult } from "./credential_source.ts";
import { parseServedCredentials } from "./served_credentials.ts";
import { exchange } from "../exchange.ts";
import { withRetries } from "../with_retries.ts";

const relativeOrigin = "http://169.254.170.2";
/** Hosts that may receive the token without TLS (loopback, ECS, EKS), as in AWS's own tools. */
const plainHosts = /^(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]|169\.254\.170\.2|169\.254\.170\.23|\[fd00:ec2::23\])$/;

/**
 * The role of an ECS task or an EKS pod. Throws E2dError `aws_credentials` for a forbidden address or an unreadable
 * token, and what `exchange` throws.
 */
export async function containerCredentials(ports: AwsPorts, signal: AbortSignal): Promise<CredentialResult> {
  const relative = ports.environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const full = ports.environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!relative && !full) return { absent: "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set" };
  const url = relative ? URL.parse(`${relativeOrigin}${relative}`) : URL.parse(full!);
  const allowed = url !== null &&
    (relative ? url.origin === relativeOrigin : url.protocol === "https:" || plainHosts.test(url.hostname));
  if (!allowed) {
    throw new E2dError(
      "aws_credentials",
      `Cannot use the container's credential service "${relative || full}": its URL is not allowed`,
      {
        hint: "use https, or http with a loopback address or the address that AWS reserves for the service",
      },
    );
  }
  const action = "read the container's credentials";
  const headers = await authorization(ports);
  return await withRetries({ ...ports, signal }, async () => {
    const { status, text } = await exchange({ action, url, headers, timeoutMs: metadataTimeoutMs }, ports, signal);
    if (status === 200) return parseServedCredentials(text, "the container's credential service");
    const code = status >= 500 ? "cloud_failed" : "aws_credentials";
    throw new E2dError(code, `Cannot ${action} at "${url.origin}": the response status is ${status}`);
  });
}

async function authorization({ environment, files }: AwsPorts): Promise<Record<string, string>> {
  const path = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  const token = path ? (await files.readText(path))?.trim() : environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (path && !token) {
    throw new E2dError("aws_credentials", `Cannot read the token "${path}": the file is missing or empty`);
  }
  if (!token) return {};
  if (!/^[\x20-\x7e]+$/.test(token)) {
    throw new E2dError(
      "aws_credentials",
      "Cannot use the token for the container's credential service: it is not a token",
    );
  }
  return { authorization: token };
}
