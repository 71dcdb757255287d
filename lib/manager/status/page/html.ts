/** The static markup of the page. script.ts fills the elements that have an id. */
const table = (id: string, caption: string, heads: readonly string[], empty: string) =>
  `<table id="${id}" role="table"><caption class="hidden">${caption}</caption><thead role="rowgroup"><tr role="row">${
    heads.map((head) => `<th role="columnheader" scope="col">${head}</th>`).join("")
  }</tr></thead><tbody role="rowgroup"></tbody></table><p class="empty" id="${id}-empty">${empty}</p>`;

const memberHeads = [
  "Name",
  "Role",
  "State",
  "Version",
  "Database",
  "In use",
  "Raft lag",
  "Data age",
  "Gossip",
  "Alarms",
  "ID",
  "Peer address",
];

export const html = `<!doctype html>
<html lang="en" class="starting">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>e2d</title>
<link rel="icon" href="/page.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the state of the cluster</a>
<header>
<div class="bar">
<p class="brand"><strong>e2d</strong> <span id="node"></span></p>
<p id="fresh" class="fresh"><span class="dot" aria-hidden="true"></span><span id="heard">asking …</span></p>
<button id="again" type="button">Ask now</button>
</div>
<p class="bar ids" id="cluster"></p>
</header>
<main id="main" tabindex="-1">
<div id="gone" class="gone" role="alert" hidden><strong>This node does not answer.</strong> <span id="gone-text"></span></div>
<noscript><p class="gone">This page needs JavaScript. The same status: <code>e2d status</code> or <a href="/status">/status</a>.</p></noscript>
<div id="told">
<section id="verdict" class="verdict wait" aria-labelledby="headline">
<span id="sign" class="sign" aria-hidden="true">…</span>
<div role="status"><h1 id="headline">Asking the node</h1><p id="summary"></p></div>
</section>
<ul id="concerns" class="concerns" aria-label="Problems"></ul>
<dl id="facts" class="facts"></dl>
<section aria-labelledby="h-members">
<h2 id="h-members">Members</h2>
<div id="topology" class="topology"></div>
${table("members", "Members of the cluster", memberHeads, "No members are known yet.")}
<p class="note" id="members-note"></p>
</section>
<section aria-labelledby="h-history">
<h2 id="h-history">Last hour</h2>
<div class="plots">
<figure><figcaption id="c-lag">Raft lag, entries not applied</figcaption><div id="plot-lag"></div></figure>
<figure><figcaption id="c-size">Database, size of the file</figcaption><div id="plot-size"></div></figure>
<figure><figcaption id="c-use">Database, in use</figcaption><div id="plot-use"></div></figure>
<figure><figcaption id="c-age">Age of the last snapshot</figcaption><div id="plot-age"></div></figure>
</div>
</section>
<div class="columns">
<section aria-labelledby="h-snapshots">
<h2 id="h-snapshots">Snapshots</h2>
<p id="snapshots-text"></p>
${
  table(
    "snapshots",
    "Snapshots of the last hour",
    ["Taken at", "Time since the previous one"],
    "None in the last hour, by this node.",
  )
}
</section>
<section aria-labelledby="h-certificates">
<h2 id="h-certificates">Certificates</h2>
${table("certificates", "Certificates", ["Role", "Left", "Until (UTC)", "File"], "This node runs without TLS.")}
</section>
<section aria-labelledby="h-others">
<h2 id="h-others">Gossip nodes that are not members</h2>
${
  table(
    "others",
    "Gossip nodes that are not members",
    ["Name", "State", "Status", "Kind", "Address"],
    "None: all nodes are members.",
  )
}
</section>
</div>
<section aria-labelledby="h-decisions">
<h2 id="h-decisions">Last decisions</h2>
${
  table(
    "decisions",
    "Last decisions of this node, newest first",
    ["Time (UTC)", "What", "Outcome", "Reason", "Facts"],
    "None yet.",
  )
}
</section>
</div>
</main>
<footer><nav aria-label="As data">As data: <a href="/status">status</a> <a href="/why">why</a> <a href="/history">history</a> <a href="/metrics">metrics</a> <a href="/readyz">readiness</a></nav></footer>
</body>
</html>
`;

export const icon =
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#0b57b0"/><circle cx="8" cy="4.5" r="1.8" fill="#fff"/><circle cx="4.8" cy="10" r="1.8" fill="#fff"/><circle cx="11.2" cy="10" r="1.8" fill="#fff"/></svg>\n`;
