import { createLogger } from "../../lib/sys/log.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("createLogger() prefixes lines with their level only for the journal", () => {
  const lines: string[] = [];
  const options = { format: "text", verbose: true, colour: false, wallMs: () => 0 } as const;
  for (const priorities of [true, false]) {
    const log = createLogger({ ...options, priorities, write: (line) => lines.push(line) }, { part: "x" });
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
  }
  assertEquals(lines.map((line) => line.trimEnd().replace(/00:00:00.000 /, "")), [
    "<7>DEBUG a part=x",
    "<6>INFO  b part=x",
    "<4>WARN  c part=x",
    "<3>ERROR d part=x",
    "DEBUG a part=x",
    "INFO  b part=x",
    "WARN  c part=x",
    "ERROR d part=x",
  ]);
});
