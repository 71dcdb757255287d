/** Without a metadata service a method reports it within two seconds of real time, over the platform's fetch. */
import { discoveryMethod } from "../../lib/discovery/methods.ts";
import { parseDiscovery } from "../../lib/discovery/spec.ts";
import { describeError } from "../../lib/errors.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { systemHttp } from "../../lib/sys/http/http.ts";
import { systemProcesses } from "../../lib/sys/process.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { systemResolver } from "../../lib/sys/dns.ts";
import { assert, assertE2dError } from "../support/assert.ts";
import { freePorts } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";

async function within2s(metadataUrl: string, name: string): Promise<void> {
  const config = {
    digitalOceanToken: "token",
    environment: (variable: string) => variable === "HCLOUD_TOKEN" ? "token" : undefined,
    endpoints: { metadataUrl, apiUrl: metadataUrl },
  };
  const ports = {
    clock: systemClock,
    random: systemRandom,
    http: systemHttp,
    files: systemFiles,
    processes: systemProcesses,
    resolver: systemResolver(),
    log: new TestLog(),
  };
  const method = await discoveryMethod(parseDiscovery(name), config, ports);
  // The limit is documented behaviour, not a measure of speed.
  const error = await assertE2dError("no_metadata_service", () => method.peers(AbortSignal.timeout(2_000)));
  assert(describeError(error).includes(new URL(metadataUrl).host), describeError(error));
}

for (const name of ["do-tags", "gce-labels", "azure-tags", "hetzner-labels"]) {
  Deno.test(`${name} reports within two seconds that the metadata service refuses connections`, async () => {
    await within2s(`http://127.0.0.1:${freePorts(1)[0]}`, name);
  });

  Deno.test(`${name} reports within two seconds that the metadata service does not answer`, async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    try {
      await within2s(`http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`, name);
    } finally {
      listener.close();
    }
  });
}
