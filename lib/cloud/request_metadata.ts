import type * as v from "valibot";
import { E2dError, isE2dError } from "../errors.ts";
import { type CloudPorts, requestJson } from "./request_json.ts";

/** The link-local address of the metadata service in every supported cloud; needs no name server. */
export const metadataUrlDefault = "http://169.254.169.254";
/** The metadata service runs on the same host: without an answer in this time it does not exist. */
export const metadataTimeoutMs = 1500;

/**
 * Sends a request to the machine's metadata service. Throws E2dError `no_metadata_service` within two seconds when there
 * is none, and what `requestJson` throws for an invalid response.
 */
export async function requestMetadata<Schema extends v.GenericSchema>(
  question: {
    cloud: string;
    url: URL;
    schema: Schema;
    headers?: Readonly<Record<string, string>>;
    secrets?: readonly string[];
    permission?: string;
    parse?: (text: string) => unknown;
  },
  ports: CloudPorts,
  signal: AbortSignal,
): Promise<v.InferOutput<Schema>> {
  const { cloud, ...request } = question;
  try {
    return await requestJson(
      {
        action: `ask the metadata service of ${cloud}`,
        permission: "the metadata service",
        credential: `the identity of this machine in ${cloud}`,
        timeoutMs: metadataTimeoutMs,
        ...request,
      },
      ports,
      signal,
    );
  } catch (error) {
    if (!isE2dError(error, "cloud_timeout") && !isE2dError(error, "cloud_unreachable")) throw error;
    throw new E2dError(
      "no_metadata_service",
      `Cannot find the metadata service of ${cloud} at "${question.url.origin}": it does not answer`,
      {
        cause: error,
        hint: `run e2d on a machine of ${cloud}, and exempt 169.254.169.254 from proxies and firewalls`,
      },
    );
  }
}
