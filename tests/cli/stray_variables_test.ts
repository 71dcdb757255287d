import { commands } from "../../lib/cli/commands.ts";
import { environmentName } from "../../lib/cli/flag.ts";
import { strayVariables } from "../../lib/cli/stray_variables.ts";
import { assertEquals } from "../support/assert.ts";

const settings = commands.flatMap(({ flags }) => Object.keys(flags).map(environmentName));
const stray = (...names: string[]) => strayVariables(Object.fromEntries(names.map((name) => [name, "x"])), settings);

Deno.test("strayVariables() names the setting that was meant by a misspelt variable", () => {
  assertEquals(stray("E2D_SNAPSHOT_ENCRYPTON"), [
    "E2D_SNAPSHOT_ENCRYPTON is no setting of e2d: did you mean E2D_SNAPSHOT_ENCRYPTION?",
  ]);
  for (
    const [name, meant] of [
      ["E2D_DATADIR", "E2D_DATA_DIR"],
      ["E2D_CA_CRET", "E2D_CA_CERT"],
      ["E2D_REQUIRED_CLUSTERSIZE", "E2D_REQUIRED_CLUSTER_SIZE"],
      ["E2D_ETCD_MIROR", "E2D_ETCD_MIRROR"],
    ] as const
  ) assertEquals(stray(name), [`${name} is no setting of e2d: did you mean ${meant}?`]);
});

Deno.test("strayVariables() is silent about settings, empty variables, and all that is near none", () => {
  assertEquals(stray(...settings, "E2D_ETCD_MIRROR", "E2D_LIB_DIR", "E2D_RELEASES"), []);
  assertEquals(stray("E2D_FLAVOUR", "E2D_X", "E2D_", "DATA_DIRR", "XE2D_DATA_DIRR"), []);
  // Of the tests of this repository.
  assertEquals(stray("E2D_EXECUTABLE", "E2D_ARTEFACTS", "E2D_PARTS_DIR", "E2D_WRITE_GOLDEN"), []);
  assertEquals(strayVariables({ E2D_DATADIR: "", E2D_CA_CRET: undefined }, settings), []);
});

Deno.test("strayVariables() is silent about what Kubernetes sets beside services of e2d", () => {
  for (const service of ["E2D", "E2D_CLIENT", "E2D_PEER", "E2D_STATUS", "E2D_GOSSIP", "E2D_0"]) {
    const set = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_CLIENT", "SERVICE_PORT_HTTP_STATUS", "PORT"];
    for (const port of ["PORT_2379_TCP", "PORT_7980_UDP"]) {
      set.push(port, `${port}_PROTO`, `${port}_PORT`, `${port}_ADDR`);
    }
    assertEquals(stray(...set.map((name) => `${service}_${name}`)), []);
  }
});
