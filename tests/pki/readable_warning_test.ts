import { readableWarning } from "../../lib/pki/tls_files.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";

Deno.test("readableWarning() goes by the mode of the key file, also behind the links with which Kubernetes mounts it", async () => {
  await using dir = await temporaryDirectory();
  const key = `${dir.path}/..data/key`;
  await Deno.mkdir(`${dir.path}/..data`);
  await Deno.writeTextFile(key, "key");
  await Deno.symlink("..data/key", `${dir.path}/key`);
  for (
    const [mode, who] of [[0o600, undefined], [0o400, undefined], [0o640, "its group"], [0o644, "every user"]] as const
  ) {
    await Deno.chmod(key, mode);
    for (const path of [key, `${dir.path}/key`]) {
      const warning = await readableWarning(systemFiles, path);
      if (who === undefined) assertEquals(warning, undefined);
      else assert(warning?.includes(`"${path}" can be read by ${who}`), warning);
    }
  }
  assertEquals(await readableWarning(systemFiles, `${dir.path}/none`), undefined);
});
