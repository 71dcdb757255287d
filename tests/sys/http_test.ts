import { systemHttp, trustingHttp } from "../../lib/sys/http/http.ts";
import { assert, assertEquals } from "../support/assert.ts";

Deno.test("trustingHttp() trusts the given authority, systemHttp() does not", async () => {
  const { reach } = await serveTls();
  assert(await reach(true));
  assertEquals(await reach(false), false);
});

async function serveTls() {
  const folder = await Deno.makeTempDir();
  const openssl = await new Deno.Command("openssl", {
    args: [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "2",
      "-subj",
      "/CN=e2d test",
    ]
      .concat(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
      .concat(["-keyout", `${folder}/key.pem`, "-out", `${folder}/cert.pem`]),
    stderr: "piped",
  }).output();
  if (!openssl.success) throw new Error(new TextDecoder().decode(openssl.stderr));
  const [cert, key] = await Promise.all(["cert", "key"].map((name) => Deno.readTextFile(`${folder}/${name}.pem`)));
  await Deno.remove(folder, { recursive: true });
  return {
    async reach(trusted: boolean): Promise<boolean> {
      await using server = Deno.serve(
        { hostname: "127.0.0.1", port: 0, cert: cert!, key: key!, onListen() {} },
        () => new Response("ok"),
      );
      using stack = new DisposableStack();
      const own = stack.adopt(trustingHttp([cert!]), ({ close }) => close());
      try {
        const http = trusted ? own.http : systemHttp;
        return await (await http(`https://127.0.0.1:${server.addr.port}/`)).text() === "ok";
      } catch {
        return false;
      }
    },
  };
}
