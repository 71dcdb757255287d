/** A separate program for the TLS test, in which e2db runs without the rest of e2d. Arguments: URL, folder of PEM files. */
import { field, open } from "../../../lib/e2db/mod.ts";

const [hosts, pki] = Deno.args as [string, string];
const text = (name: string) => Deno.readTextFileSync(`${pki}/${name}`);
const outcome = async (tls: { rootCertificate: string; certificate?: string; privateKey?: string }) => {
  const db = await open({ hosts, tls, namespace: "tls", giveUpMs: 2_000 });
  try {
    const rows = await db.table("rows", { id: field.increment(), n: field.number().index() });
    await rows.insertMany([{ n: 1 }, { n: 2 }]);
    const stop = new AbortController();
    const { revision } = await rows.query().page();
    await rows.insert({ n: 3 });
    for await (const change of rows.watch({ after: revision, signal: stop.signal })) {
      if (change.row?.n === 3) stop.abort();
    }
    return `${(await rows.orderBy("n").reverse().all()).map((row) => row.n)}`;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  } finally {
    db.close();
  }
};
const rootCertificate = text("ca.crt");
console.log(JSON.stringify([
  await outcome({ rootCertificate, certificate: text("client.crt"), privateKey: text("client.key") }),
  await outcome({ rootCertificate }),
  await outcome({
    rootCertificate: text("stranger.crt"),
    certificate: text("client.crt"),
    privateKey: text("client.key"),
  }),
]));
Deno.exit(0);
