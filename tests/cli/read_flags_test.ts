import { assert, assertEquals } from "../support/assert.ts";
import { environmentName, flagName, parseDuration } from "../../lib/cli/flags/flag.ts";
import { readFlags } from "../../lib/cli/flags/read_flags.ts";
import { runFlags } from "../../lib/cli/flags/run_flags.ts";

const read = (
  args: string[],
  environment: Record<string, string> = {},
  config?: Record<string, unknown>,
) =>
  readFlags(runFlags, {
    args,
    environment,
    ...(config === undefined ? {} : { config: { path: "e2d.yaml", values: config } }),
  });

Deno.test("readFlags() prefers the command line, then the environment, then the file, then the default", () => {
  const [args, environment, config] = [["--name=a"], { E2D_NAME: "b" }, { name: "c", "data-dir": "d" }] as const;
  assertEquals(read([...args], environment, config).values.name, "a");
  assertEquals(read([], environment, config).values.name, "b");
  assertEquals(read([], {}, config).values.name, "c");
  assertEquals(read([], {}, config).values.dataDir, "d");
  assertEquals(read([]).values.name, undefined);
  assertEquals(read([]).values.dataDir, "data");
  assertEquals(read([], { E2D_NAME: "" }, config).values.name, "c");
  assertEquals(
    read([], {}, { data_dir: "under", "bootstrap-addrs": ["10.0.0.1", "10.0.0.2:1"] }).values.bootstrapAddrs,
    [
      { host: "10.0.0.1", port: 7980 },
      { host: "10.0.0.2", port: 1 },
    ],
  );
});

Deno.test("readFlags() supports short flags, values after = and switches without a value", () => {
  for (
    const args of [["-n", "3"], ["-n=3"], ["-n3"], ["--required-cluster-size", "3"], ["--required-cluster-size=3"]]
  ) {
    const { values, problems } = read(args);
    assertEquals(problems, []);
    assertEquals(values.requiredClusterSize, 3);
  }
  assertEquals(read(["-v"]).values.verbose, true);
  assertEquals(read(["--verbose"]).values.verbose, true);
  assertEquals(read(["--verbose=false"], { E2D_VERBOSE: "true" }).values.verbose, false);
  assertEquals(read(["--snapshot-compression"]).values.snapshotCompression, "gzip");
  assertEquals(read(["--snapshot-compression=zstd"]).values.snapshotCompression, "zstd");
});

Deno.test("readFlags() reports all problems at once, with name, value and the allowed values", () => {
  const { problems } = read(
    ["-n", "4", "--health-check-timeout=soon", "--data-dri=/x", "--name"],
    { E2D_PEER_ADDR: "http://10.0.0.1" },
    { "snapshot-interval": "1 minute", "snapshot-kep": "1h,1d", restore: { when: "never" } },
  );
  const wanted = [
    /^-n "4": allowed: 1, 3, 5 or 7$/,
    /^--health-check-timeout "soon": allowed: a duration such as 90s/,
    /^unknown flag --data-dri: did you mean --data-dir\?$/,
    /^--name needs a value: --name=NAME$/,
    /^E2D_PEER_ADDR "http:\/\/10\.0\.0\.1": allowed: HOST:PORT/,
    /^snapshot-interval in e2d\.yaml "1 minute": allowed: a duration/,
    /^unknown setting snapshot-kep in e2d\.yaml: did you mean snapshot-keep\?$/,
    /^restore in e2d\.yaml: allowed: a string/,
  ];
  for (const each of wanted) {
    assert(problems.some((problem) => each.test(problem)), `${each} in ${problems.join("\n")}`);
  }
  assertEquals(problems.length, wanted.length);
});

Deno.test("readFlags() never shows a secret, not even one that follows a mistyped flag", () => {
  const { problems, operands } = read(
    ["--aws-secret-ky", "s3cret", "--do-access-tokn=s3cret"],
    {},
    { "do-spaces-secret": { value: "s3cret" }, "do-spaces-kye": "s3cret" },
  );
  assertEquals(problems.length, 4);
  assert(![...problems, ...operands].join("\n").includes("s3cret"), problems.join("\n"));
});

Deno.test("readFlags() returns words that do not follow an unknown flag as operands", () => {
  assertEquals(read(["a", "--name", "b", "c", "--nonsense=x", "d", "--", "--name"]).operands, [
    "a",
    "c",
    "d",
    "--name",
  ]);
});

Deno.test("parseDuration() accepts the formats of Go and refuses others", () => {
  for (
    const [text, ms] of [["1m30s", 90_000], ["500ms", 500], ["1.5h", 5_400_000], ["0", 0], [".5s", 500]] as const
  ) assertEquals(parseDuration(text), ms);
  for (const text of ["", "5", "1 m", "1d", "-1s", "s", "1m30", "1e3s", "Infinity"]) {
    let refused = false;
    try {
      parseDuration(text);
    } catch {
      refused = true;
    }
    assert(refused, `"${text}" was taken`);
  }
});

/**
 * Of the Go e2d's cmd/e2d/app/run.go; --verbose is of its root.go. It shows a default of "" for --data-dir and fills
 * in "data" later.
 */
const originalDefaults: Readonly<Record<string, string | undefined>> = {
  "verbose": "false",
  "name": undefined,
  "data-dir": "data",
  "host": undefined,
  "client-addr": "0.0.0.0:2379",
  "peer-addr": "0.0.0.0:2380",
  "gossip-addr": "0.0.0.0:7980",
  "ca-cert": undefined,
  "ca-key": undefined,
  "peer-cert": undefined,
  "peer-key": undefined,
  "server-cert": undefined,
  "server-key": undefined,
  "bootstrap-addrs": "",
  "required-cluster-size": "1",
  "health-check-interval": "1m",
  "health-check-timeout": "5m",
  "peer-discovery": undefined,
  "snapshot-interval": "1m",
  "snapshot-backup-url": undefined,
  "snapshot-compression": "none",
  "snapshot-encryption": "false",
  "aws-access-key": undefined,
  "aws-secret-key": undefined,
  "aws-role-session-name": undefined,
  "do-access-token": undefined,
  "do-spaces-key": undefined,
  "do-spaces-secret": undefined,
};

Deno.test("runFlags have every flag of the original under its name, default, short name and variable", () => {
  const flags = new Map(Object.entries(runFlags).map(([key, flag]) => [flagName(key), { key, flag }]));
  for (const [name, wanted] of Object.entries(originalDefaults)) {
    const found = flags.get(name);
    assert(found !== undefined, `--${name} is missing`);
    assertEquals((found.flag as { default?: string }).default, wanted, `default of --${name}`);
    assertEquals(environmentName(found.key), `E2D_${name.toUpperCase().replaceAll("-", "_")}`);
  }
  assertEquals(runFlags.requiredClusterSize.short, "n");
  assertEquals(runFlags.verbose.short, "v");
});
