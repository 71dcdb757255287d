import { commands } from "../../lib/cli/flags/commands.ts";
import { environmentName } from "../../lib/cli/flags/flag.ts";
import { misspeltVariables } from "../../lib/cli/flags/misspelt_variables.ts";
import { assertEquals } from "../support/assert.ts";

const settings = commands.flatMap(({ flags }) => Object.keys(flags).map(environmentName));
const warningsOf = (...names: string[]) =>
  misspeltVariables(Object.fromEntries(names.map((name) => [name, "x"])), settings);

Deno.test("misspeltVariables() names the setting that is closest to a misspelt variable", () => {
  assertEquals(warningsOf("E2D_SNAPSHOT_ENCRYPTON"), [
    "unknown variable E2D_SNAPSHOT_ENCRYPTON: did you mean E2D_SNAPSHOT_ENCRYPTION?",
  ]);
  for (
    const [name, meant] of [
      ["E2D_DATADIR", "E2D_DATA_DIR"],
      ["E2D_CA_CRET", "E2D_CA_CERT"],
      ["E2D_REQUIRED_CLUSTERSIZE", "E2D_REQUIRED_CLUSTER_SIZE"],
      ["E2D_ETCD_MIROR", "E2D_ETCD_MIRROR"],
    ] as const
  ) assertEquals(warningsOf(name), [`unknown variable ${name}: did you mean ${meant}?`]);
});

Deno.test("misspeltVariables() ignores settings, empty variables, and names that resemble no setting", () => {
  assertEquals(warningsOf(...settings, "E2D_ETCD_MIRROR", "E2D_LIB_DIR", "E2D_RELEASES"), []);
  assertEquals(warningsOf("E2D_FLAVOUR", "E2D_X", "E2D_", "DATA_DIRR", "XE2D_DATA_DIRR"), []);
  // Of the tests of this repository.
  assertEquals(warningsOf("E2D_EXECUTABLE", "E2D_ARTEFACTS", "E2D_PARTS_DIR", "E2D_WRITE_GOLDEN"), []);
  assertEquals(misspeltVariables({ E2D_DATADIR: "", E2D_CA_CRET: undefined }, settings), []);
});

Deno.test("misspeltVariables() ignores the variables that Kubernetes sets for services of e2d", () => {
  for (const service of ["E2D", "E2D_CLIENT", "E2D_PEER", "E2D_STATUS", "E2D_GOSSIP", "E2D_0"]) {
    const set = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_CLIENT", "SERVICE_PORT_HTTP_STATUS", "PORT"];
    for (const port of ["PORT_2379_TCP", "PORT_7980_UDP"]) {
      set.push(port, `${port}_PROTO`, `${port}_PORT`, `${port}_ADDR`);
    }
    assertEquals(warningsOf(...set.map((name) => `${service}_${name}`)), []);
  }
});
