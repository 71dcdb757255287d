// The entry point: `e2d version` without loading anything else, every other command by lib/cli/dispatch.ts.

// Also trust the certificate authorities of the system, so that downloads work behind a company's proxy. Deno reads the
// variable at its first TLS connection.
if (!Deno.env.has("DENO_TLS_CA_STORE")) Deno.env.set("DENO_TLS_CA_STORE", "system,mozilla");

async function main(args: string[]): Promise<number> {
  if (args.length === 1 && (args[0] === "version" || args[0] === "--version")) {
    // Scripts and probes run this often: load nothing else.
    const [{ versionText }, { defaultVersion }] = await Promise.all([
      import("./lib/cli/version.ts"),
      import("./lib/etcd/version.ts"),
    ]);
    console.log(versionText(defaultVersion, Deno.version));
    return 0;
  }
  const [{ dispatch }, { systemFiles }, { systemTerminal }] = await Promise.all([
    import("./lib/cli/dispatch.ts"),
    import("./lib/sys/files.ts"),
    import("./lib/cli/terminal.ts"),
  ]);
  return await dispatch(args, {
    environment: Deno.env.toObject(),
    readText: systemFiles.readText,
    out: systemTerminal.out,
    err: systemTerminal.err,
  });
}

if (import.meta.main) Deno.exit(await main(Deno.args));
