import { checkPlace } from "../../lib/manager/place.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";

async function warnings(dataDir: string): Promise<string[]> {
  const log = new TestLog();
  await checkPlace(dataDir, { files: systemFiles, log });
  return log.lines.map(({ level, fields }) => `${level} ${fields.path} ${fields.mode}`);
}

Deno.test("checkPlace() warns of what others can write, and of nothing in a place that is in order", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  assertEquals(await warnings(dataDir), []);
  await Deno.mkdir(dataDir, { mode: 0o755 });
  for (const name of ["data.e2d.lock", "data.e2d.json"]) {
    await Deno.writeTextFile(`${dir.path}/${name}`, "", { mode: 0o600 });
  }
  assertEquals(await warnings(dataDir), []);
  // chmod, because the umask has its say in what mkdir makes.
  await Deno.chmod(dataDir, 0o775);
  await Deno.chmod(`${dataDir}.e2d.json`, 0o606);
  await Deno.chmod(dir.path, 0o777);
  const bad = [`warn ${dataDir}.e2d.json 0606`, `warn ${dir.path} 0777`, `warn ${dataDir} 0775`];
  assertEquals(await warnings(dataDir), bad);
  // As /tmp is: others cannot rename what is not theirs.
  await Deno.chmod(dir.path, 0o1777);
  assertEquals(await warnings(dataDir), [bad[0], bad[2]]);
});

Deno.test("checkPlace() follows a data-dir that is a link, and looks at what it leads to", async () => {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/disk`);
  await Deno.chmod(`${dir.path}/disk`, 0o700);
  await Deno.symlink(`${dir.path}/disk`, `${dir.path}/data`);
  assertEquals(await warnings(`${dir.path}/data`), []);
  await Deno.chmod(`${dir.path}/disk`, 0o770);
  assertEquals(await warnings(`${dir.path}/data`), [`warn ${dir.path}/data 0770`]);
});

for (const name of ["lock", "json", "sock", "work"]) {
  Deno.test(`checkPlace() refuses a link in the place of <data-dir>.e2d.${name}, and leaves what it leads to`, async () => {
    await using dir = await temporaryDirectory();
    await Deno.writeTextFile(`${dir.path}/victim`, "precious");
    await Deno.symlink(`${dir.path}/victim`, `${dir.path}/data.e2d.${name}`);
    const error = await assertE2dError("place_unsafe", () => warnings(`${dir.path}/data`));
    assertEquals(error.message, `Cannot use "${dir.path}/data.e2d.${name}": it is a symbolic link`);
    assertEquals(await Deno.readTextFile(`${dir.path}/victim`), "precious");
  });
}
