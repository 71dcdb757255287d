import { checkDataDirPermissions } from "../../lib/manager/data_dir/permissions.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";

async function warnings(dataDir: string): Promise<string[]> {
  const log = new TestLog();
  await checkDataDirPermissions(dataDir, { files: systemFiles, log });
  return log.lines.map(({ level, fields }) => `${level} ${fields.path} ${fields.mode}`);
}

Deno.test("checkDataDirPermissions() warns about files that others can write to, and not about correct permissions", async () => {
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

Deno.test("checkDataDirPermissions() warns about another owner of the parent folder or of e2d's own files", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  const record = `${dataDir}.e2d.json`;
  await Deno.writeTextFile(record, "", { mode: 0o600 });
  const seen = async (others: readonly string[], owner: "other" | "root") => {
    const log = new TestLog();
    const files = {
      ...systemFiles,
      info: async (path: string, options?: { followLinks?: boolean }) => {
        const info = await systemFiles.info(path, options);
        return info && others.includes(path) ? { ...info, owner } : info;
      },
    };
    await checkDataDirPermissions(dataDir, { files, log });
    return log.lines.map(({ level, fields }) => `${level} ${fields.path}`);
  };
  assertEquals(await seen([dir.path, record], "other"), [`warn ${record}`, `warn ${dir.path}`]);
  assertEquals(await seen([dir.path, record], "root"), []);
});

Deno.test("checkDataDirPermissions() follows a data-dir that is a symbolic link, and checks its target", async () => {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/disk`);
  await Deno.chmod(`${dir.path}/disk`, 0o700);
  await Deno.symlink(`${dir.path}/disk`, `${dir.path}/data`);
  assertEquals(await warnings(`${dir.path}/data`), []);
  await Deno.chmod(`${dir.path}/disk`, 0o770);
  assertEquals(await warnings(`${dir.path}/data`), [`warn ${dir.path}/data 0770`]);
});

for (const name of ["lock", "json", "sock", "work"]) {
  Deno.test(`checkDataDirPermissions() refuses a symbolic link at <data-dir>.e2d.${name}, and does not change its target`, async () => {
    await using dir = await temporaryDirectory();
    await Deno.writeTextFile(`${dir.path}/victim`, "precious");
    await Deno.symlink(`${dir.path}/victim`, `${dir.path}/data.e2d.${name}`);
    const error = await assertE2dError("place_unsafe", () => warnings(`${dir.path}/data`));
    assertEquals(error.message, `Cannot use "${dir.path}/data.e2d.${name}": it is a symbolic link`);
    assertEquals(await Deno.readTextFile(`${dir.path}/victim`), "precious");
  });
}
