/** Expressions that tests evaluate in the status page, as texts: they run in the browser. */

/** Texts of the cells of a table, row by row. */
export const rowsOf = (id: string) =>
  `[...document.querySelectorAll("#${id} tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent))`;

/** What stands out of a window of that width; the window itself grows with its content on a phone. */
export const overflowing = (widthPx: number) =>
  `(() => {
  const out = [...document.querySelectorAll("body *")].filter((each) => {
    const { right, left, width } = each.getBoundingClientRect();
    return width > 1 && (right > ${widthPx} + 0.5 || left < -0.5);
  }).map((each) => each.tagName + "#" + each.id + "." + each.getAttribute("class"));
  return innerWidth > ${widthPx} || document.documentElement.scrollWidth > ${widthPx} ? ["the page", ...out] : out;
})()`;

/** Texts whose contrast with their ground is under 4.5 : 1, each with both colours; all texts are counted. */
export const contrast = `(() => {
  const rgba = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const opaque = (colour) => colour.length === 3 || colour[3] === 1;
  const groundOf = (element) => {
    if (element.matches(".mark")) return rgba(getComputedStyle(element.parentNode.querySelector("circle")).fill);
    for (let each = element; each !== null; each = each.parentElement) {
      const colour = rgba(getComputedStyle(each).backgroundColor);
      if (opaque(colour)) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  let count = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement;
    if (node.data.trim() === "" || element.matches("noscript, script") || element.getClientRects().length === 0) continue;
    const style = getComputedStyle(element);
    const ink = rgba(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const ground = groundOf(element);
    const [a, b] = [light(ink), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    count++;
    if (ratio < 4.5) weak.push(node.data.trim().slice(0, 30) + ": " + ink + " on " + ground + " is " + ratio.toFixed(2));
  }
  return { count, weak };
})()`;

/** What the keyboard stands on, and whether it can be seen there. */
export const focused = `(() => {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const { top, bottom, width } = element.getBoundingClientRect();
  return {
    name: element === document.body ? "" : element.id || element.getAttribute("href"),
    seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && width > 0 && bottom > 0 && top < innerHeight,
  };
})()`;

/** All that the keyboard must reach, in order. */
export const controls = `[...document.querySelectorAll("a[href], button, input, select, [tabindex='0']")]
  .map((each) => each.id || each.getAttribute("href"))`;

/** From now on every name and text of /status is this one. */
export const poison = (text: string) =>
  `(() => {
  const real = globalThis.fetch;
  globalThis.fetch = async (path, init) => {
    const response = await real(path, init);
    if (path !== "/status") return response;
    const report = await response.json();
    const evil = ${JSON.stringify(text)};
    report.name = report.clusterId = evil;
    report.reasons = [{ code: evil, text: evil, hint: evil }];
    report.plan = { id: evil, text: evil };
    report.snapshots.why = report.snapshots.catalogue = evil;
    for (const member of report.members) {
      member.name = member.role = member.version = member.gossip = member.id = evil;
      member.alarms = member.peerUrls = [evil];
    }
    report.gossip = [{ name: evil + ".", state: evil, status: evil, kind: evil, address: evil }];
    report.certificates = [{ role: evil, path: evil, until: evil, days: 3 }];
    return new Response(JSON.stringify(report), { headers: response.headers });
  };
  document.getElementById("again").click();
})()`;

/** From now on the node says that it has just started. */
export const restartedNode = `(() => {
  globalThis.fetch = () => Promise.resolve(new Response('{"error":"starting"}', { status: 503 }));
  document.getElementById("again").click();
})()`;
