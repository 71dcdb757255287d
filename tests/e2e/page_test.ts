/**
 * The status page in a real Chromium, served by real nodes. Screenshots are kept in $E2D_ARTEFACTS, or in dist/artefacts.
 */
import type { StatusReport } from "../../lib/manager/status/report.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { Browser } from "./browser.ts";
import { freshHost, NodeProcess } from "./node_process.ts";
import { contrast, controls, focused, overflowing, poison, restartedNode, rowsOf } from "./page_probes.ts";

const cancelled = { sanitizeResources: false };
const artefacts = Deno.env.get("E2D_ARTEFACTS") ?? new URL("../../dist/artefacts", import.meta.url).pathname;
const kind = Deno.env.get("E2D_EXECUTABLE") === undefined ? "sources" : "executable";

Deno.test("the status page tells of three nodes in a real browser what /status tells", cancelled, async (test) => {
  await using dir = await temporaryDirectory();
  await using nodes = new AsyncDisposableStack();
  const hosts = new Map(["a", "b", "c"].map((name) => [name, freshHost()]));
  const start = (name: string) =>
    nodes.use(
      new NodeProcess({
        host: hosts.get(name)!,
        dataDir: `${dir.path}/${name}`,
        args: [
          `--name=${name}`,
          "-n=3",
          `--bootstrap-addrs=${[...hosts.values()].join(",")}`,
          `--status-addr=${hosts.get(name)}:7981`,
          `--snapshot-backup-url=file://${dir.path}/snapshots`,
          "--snapshot-interval=5s",
          "--health-check-timeout=60s",
        ],
      }),
    );
  const running = new Map([...hosts.keys()].map((name) => [name, start(name)]));
  await Promise.all([...running.values()].map((node) => node.healthy()));
  const statusOf = async (host: string) => {
    const response = await fetch(`http://${host}:7981/status`, { signal: AbortSignal.timeout(10_000) });
    return await response.json() as StatusReport;
  };
  let leader = "";
  let origin = "";
  const origins = new Set<string>();
  await using browser = await Browser.start();
  await browser.resize(1_280, 900);
  await browser.colourScheme("light");
  // The node beside the leader knows of all members; on a busy machine another may come to lead at any time.
  const openAtLeader = async () => {
    await running.get("a")!.eventually("with a page that knows all", async () => {
      const { members } = await statusOf(hosts.get("a")!);
      const now = members.find(({ role }) => role === "leader")!.name;
      if (now !== leader) {
        leader = now;
        origin = `http://${hosts.get(leader)}:7981`;
        origins.add(origin);
        await browser.open(`${origin}/`);
      }
      await browser.until(
        `document.title === "Healthy – ${leader} – e2d" && ${rowsOf("members")}.length === 3 &&
          ${rowsOf("members")}.every((cells) => cells[2] === "answers" && cells[4] !== "–")`,
        20_000,
      );
    });
  };
  await openAtLeader();

  await test.step("health, title and the table of members", async () => {
    await browser.until(`document.getElementById("headline").textContent === "Healthy"`);
    await browser.until(
      `document.getElementById("summary").textContent ===
        "All 3 voting members in place. One may be lost without losing writes."`,
    );
    await running.get(leader)!.eventually("told alike", async () => {
      const { members } = await statusOf(hosts.get(leader)!);
      const rows = await browser.evaluate<string[][]>(rowsOf("members"));
      assertEquals(
        rows.map((cells) => [cells[0], cells[1], cells[3], cells[9], cells[10], cells[11]]),
        members.map(({ name, role, version, id, peerUrls }) => [name, role, version, "none", id, peerUrls.join(", ")]),
      );
      for (const cells of rows) {
        assert(/^[\d.]+ (KiB|MiB)$/.test(cells[4]!) && /^\d+$/.test(cells[6]!) && / s$/.test(cells[7]!), cells.join());
      }
    });
  });

  await test.step("plots, snapshots and decisions appear automatically", async () => {
    for (const id of ["lag", "size", "use"]) {
      await browser.until(`document.querySelectorAll("#plot-${id} > svg path[d^=M]").length === 3`);
    }
    await browser.until(`document.querySelectorAll("#plot-age > svg path[d^=M]").length === 1`);
    await browser.until(`document.querySelectorAll("#snapshots tbody tr").length > 0`);
    await browser.until(`document.querySelectorAll("#decisions tbody tr").length > 0`);
    assert((await browser.evaluate<string[]>(`[...document.querySelectorAll("#facts dd")].map((e) => e.textContent)`))
      .some((text) => / ago$/.test(text)));
  });

  await test.step("landmarks, heads of tables and names of drawings", async () => {
    const { nodes: tree } = await browser.call("Accessibility.getFullAXTree");
    const roles = new Map<string, number>();
    for (const { role, name, ignored } of tree) {
      if (ignored) continue;
      roles.set(role.value, (roles.get(role.value) ?? 0) + 1);
      if (["image", "button", "link", "navigation", "table"].includes(role.value)) {
        assert(name?.value, `a ${role.value} has no name`);
      }
    }
    for (
      const [role, least] of Object.entries({ main: 1, banner: 1, contentinfo: 1, navigation: 1, columnheader: 18 })
    ) {
      assert((roles.get(role) ?? 0) >= least, `${roles.get(role) ?? 0} of role ${role}`);
    }
    assertEquals(await browser.evaluate("document.querySelectorAll('h1').length"), 1);
  });

  await test.step("light and dark differ, and every text can be read in both", async () => {
    const grounds = [];
    for (const scheme of ["dark", "light"] as const) {
      await browser.colourScheme(scheme);
      grounds.push(await browser.evaluate("getComputedStyle(document.documentElement).backgroundColor"));
      const { count, weak } = await browser.evaluate(contrast);
      assert(count > 60, `${count} texts`);
      assertEquals([scheme, weak], [scheme, []]);
      await keep(browser, scheme);
    }
    assert(grounds[0] !== grounds[1]);
  });

  await test.step("the keyboard reaches every control and is seen there", async () => {
    const wanted = await browser.evaluate<string[]>(controls);
    assert(wanted.length >= 7, wanted.join());
    const reached: string[] = [];
    for (let at = 0; at < wanted.length; at++) {
      await browser.press("Tab");
      await browser.until(`(${focused}).seen`);
      reached.push((await browser.evaluate<{ name: string }>(focused)).name);
    }
    assertEquals(reached, wanted);
    await browser.evaluate(`document.querySelector(".skip").focus()`);
    await browser.press("Enter");
    await browser.until(`document.activeElement.id === "main"`);
  });

  await test.step("a phone of 320 px shows it without scrolling sideways", async () => {
    await browser.resize(320, 640, true);
    assertEquals(await browser.evaluate(overflowing(320)), []);
    await keep(browser, "phone");
    await browser.resize(1_280, 900);
  });

  await test.step("no error, no breach of the policy, no other origin", () => {
    const said = browser.events.filter(({ method }) =>
      ["Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"].includes(method)
    );
    assertEquals(said, []);
    const asked = browser.events.filter(({ method }) => method === "Network.requestWillBeSent")
      .map(({ params }) => params.request.url as string);
    assert(asked.length > 5);
    assertEquals(asked.filter((url) => url !== "about:blank" && !origins.has(new URL(url).origin)), []);
  });

  await test.step("the policy holds: neither a script nor a handler put into the page runs", async () => {
    await browser.evaluate(`(() => {
      const script = document.createElement("script");
      script.textContent = "globalThis.injected = 1";
      document.body.append(script);
      const image = document.createElement("div");
      image.innerHTML = "<img src=x onerror='globalThis.injected = 2'>";
      document.body.append(image);
    })()`);
    await browser.until("performance.now() > 0");
    assertEquals(await browser.evaluate("globalThis.injected ?? null"), null);
    const breaches = () =>
      browser.events.filter(({ method, params }) =>
        method === "Log.entryAdded" && /Content Security Policy/.test(params.entry.text)
      );
    await running.get(leader)!.eventually("refused", () => Promise.resolve(assert(breaches().length >= 2)));
    await browser.evaluate(`document.querySelectorAll("body > script, body > div").forEach((each) => each.remove())`);
  });

  await test.step("a node that does not answer is said to be so, and what it said is not shown as what is", async () => {
    await openAtLeader();
    const green = await browser.evaluate(`getComputedStyle(document.getElementById("verdict")).backgroundColor`);
    const other = [...hosts.keys()].find((name) => name !== leader)!;
    await running.get(other)!.stop();
    await browser.until(`document.getElementById("headline").textContent === "Degraded"`);
    await browser.until(`document.getElementById("concerns").textContent.includes("Member ${other} does not answer")`);
    await keep(browser, "silent-member");
    await running.get(leader)!.stop();
    await browser.until(`!document.getElementById("gone").hidden`);
    assertEquals(await browser.evaluate("document.title"), "No answer – e2d");
    assert(/^last heard \d+ s ago$/.test(await browser.evaluate(`document.getElementById("heard").textContent`)));
    assert(
      /Last heard at \d\d:\d\d:\d\d UTC/.test(await browser.evaluate(`document.getElementById("gone").innerText`)),
    );
    assertEquals(
      await browser.evaluate(`document.getElementById("headline").textContent`),
      "Was: Degraded",
    );
    assert(!/ ago/.test(await browser.evaluate(`document.getElementById("told").innerText`)));
    assert(green !== await browser.evaluate(`getComputedStyle(document.getElementById("verdict")).backgroundColor`));
    assertEquals((await browser.evaluate(contrast)).weak, []);
    await keep(browser, "no-answer");
    for (const name of [leader, other]) running.set(name, start(name));
    await browser.until(`document.getElementById("gone").hidden`);
    await browser.until(`document.getElementById("headline").textContent === "Healthy"`);
  });

  await test.step("names and texts from outside are shown as they are, and never run", async () => {
    const evil = `<img src=x onerror="globalThis.injected = 3"><script>globalThis.injected = 4</script>`;
    await browser.evaluate(poison(evil));
    await browser.until(`(${rowsOf("members")}[0] ?? [])[0] === ${JSON.stringify(evil)}`);
    for (const id of ["others", "certificates", "concerns", "facts", "cluster", "node", "topology"]) {
      await browser.until(`document.getElementById("${id}").textContent.includes("<img")`);
    }
    assertEquals(await browser.evaluate("document.querySelectorAll('img, body script').length"), 0);
    assertEquals(await browser.evaluate("globalThis.injected ?? null"), null);
    await browser.resize(320, 640, true);
    assertEquals(await browser.evaluate(overflowing(320)), []);
  });

  await test.step("a node that has just started shows nothing of before", async () => {
    await browser.evaluate(restartedNode);
    await browser.until(`document.getElementById("headline").textContent === "Starting"`);
    await browser.until(`document.getElementById("members").getClientRects().length === 0`);
  });
});

async function keep(browser: Browser, name: string): Promise<void> {
  await Deno.mkdir(artefacts, { recursive: true });
  await Deno.writeFile(`${artefacts}/page-${kind}-${name}.png`, await browser.screenshot());
}
