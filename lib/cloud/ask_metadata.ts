import type * as v from "valibot";
import { E2dError, isE2dError } from "../errors.ts";
import { askJson, type CloudPorts } from "./ask_json.ts";

/** Link-local in every cloud asked here, so that no name server has a say in who answers. */
export const metadataUrlDefault = "http://169.254.169.254";
/** It stands in the same host: one that has not answered by then is not there. */
export const metadataTimeoutMs = 1500;

/**
 * Asks the metadata service of the machine. Throws E2dError `no_metadata_service` within two seconds where there is
 * none, and what `askJson` throws for one that answers badly.
 */
export async function askMetadata<Schema extends v.GenericSchema>(
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
  const { cloud, ...rest } = question;
  try {
    return await askJson(
      {
        action: `ask the metadata service of ${cloud}`,
        permission: "the metadata service",
        credential: `the identity of this machine in ${cloud}`,
        timeoutMs: metadataTimeoutMs,
        ...rest,
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
        hint: `run e2d on a machine of ${cloud}, and keep 169.254.169.254 out of proxies and firewalls`,
      },
    );
  }
}
