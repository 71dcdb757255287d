/** Text on its ground has a contrast of 4.5 : 1 at least in both schemes; tests/e2e/page_test.ts computes it. */
export const css = `:root {
  color-scheme: light dark;
  --ground: #f4f6f8; --surface: #ffffff; --text: #15191f; --quiet: #4a5563; --line: #d3d9e0; --link: #0b57b0;
  --good: #0b6b3a; --look: #7a4a00; --bad: #a3121f; --wait: #24518f;
  --good-band: #0b6b3a; --good-on: #ffffff; --look-band: #ffcf5c; --look-on: #2b1d00;
  --bad-band: #a3121f; --bad-on: #ffffff; --wait-band: #24518f; --wait-on: #ffffff;
  --s0: #0b57b0; --s1: #b04a00; --s2: #0b7a4b; --s3: #8a1f8a; --s4: #5b5f00; --s5: #a3121f; --s6: #4a5563;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1216; --surface: #171c23; --text: #e8ecf1; --quiet: #a9b4c1; --line: #303946; --link: #8ab8ff;
    --good: #6fd89c; --look: #f2c35b; --bad: #ff9a9a; --wait: #9cc3ff;
    --good-band: #14532d; --good-on: #eafff2; --look-band: #6b4a00; --look-on: #fff4d6;
    --bad-band: #9b1422; --bad-on: #ffffff; --wait-band: #1f4375; --wait-on: #eaf2ff;
    --s0: #8ab8ff; --s1: #ffab70; --s2: #6fd89c; --s3: #e39be3; --s4: #d6d36b; --s5: #ff9a9a; --s6: #a9b4c1;
  }
}
* { box-sizing: border-box; }
html { background: var(--ground); color: var(--text); font: 16px/1.45 system-ui, sans-serif; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 76rem; padding: 0 1rem 2rem; overflow-wrap: anywhere; }
h1, h2, p, dl, dd, figure, ul { margin: 0; padding: 0; }
h2 { font-size: 1.05rem; margin-bottom: .6rem; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
main:focus { outline: none; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: 1rem; top: -6rem; z-index: 2; padding: .6rem 1rem; background: var(--surface); }
.skip:focus { top: .5rem; }
.bar { display: flex; flex-wrap: wrap; align-items: center; gap: .3rem 1rem; padding-top: .8rem; }
.brand { font-size: 1.15rem; flex: 1 1 auto; }
.ids { padding: 0 0 .8rem; color: var(--quiet); font-size: .85rem; }
.fresh { color: var(--quiet); font-variant-numeric: tabular-nums; }
.dot { display: inline-block; width: .65rem; height: .65rem; margin-right: .45rem; border-radius: 50%; background: var(--good); }
.stale .dot { background: var(--bad); }
.stale #fresh { color: var(--bad); font-weight: 600; }
button { min-height: 2.4rem; padding: 0 .9rem; font: inherit; color: var(--text); background: var(--surface); border: 1px solid var(--quiet); border-radius: 6px; cursor: pointer; }
.gone { margin-bottom: 1rem; padding: 1rem 1.2rem; background: var(--bad-band); color: var(--bad-on); border-radius: 10px; font-size: 1.1rem; }
.gone a { color: inherit; }
.starting #told > :not(.verdict) { display: none; }
.stale #told { filter: grayscale(1); }
.stale .verdict { background: var(--surface); color: var(--text); border: 2px dashed var(--quiet); }
.verdict { display: flex; align-items: center; gap: 1.1rem; padding: 1.1rem 1.3rem; border-radius: 10px; }
.verdict h1 { font-size: 1.7rem; line-height: 1.2; }
.sign { flex: none; width: 3rem; height: 3rem; display: grid; place-items: center; border: 3px solid currentColor; border-radius: 50%; font-size: 1.6rem; font-weight: 700; line-height: 1; }
.verdict.good { background: var(--good-band); color: var(--good-on); }
.verdict.look { background: var(--look-band); color: var(--look-on); }
.verdict.bad { background: var(--bad-band); color: var(--bad-on); }
.verdict.wait { background: var(--wait-band); color: var(--wait-on); }
.concerns { list-style: none; display: grid; gap: .5rem; }
.concerns:not(:empty) { margin-top: .8rem; }
.concerns li { padding: .6rem 1rem; background: var(--surface); border: 1px solid var(--line); border-left: 6px solid var(--quiet); border-radius: 6px; }
.concerns li.bad { border-left-color: var(--bad); } .concerns li.look { border-left-color: var(--look); } .concerns li.wait { border-left-color: var(--wait); }
.concerns b { display: block; font-weight: 600; }
.concerns b::first-letter { text-transform: uppercase; }
.concerns span { color: var(--quiet); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: .8rem; margin: 1rem 0 0; }
.facts div, section:not(.verdict) { background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1.1rem; }
.facts dt { color: var(--quiet); font-size: .85rem; }
.facts dd { font-size: 1.25rem; font-weight: 600; }
.facts dd + dd { color: var(--quiet); font-size: .85rem; font-weight: 400; }
section:not(.verdict) { margin-top: 1rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 0 1rem; align-items: start; }
.topology svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0 auto .6rem; }
.topology text { fill: var(--text); font-size: 13px; text-anchor: middle; }
.topology .what { fill: var(--quiet); font-size: 11.5px; }
.topology line { stroke: var(--quiet); stroke-width: 1.5; }
.topology line.bad { stroke: var(--bad); stroke-dasharray: 3 5; }
.topology line.wait { stroke-dasharray: 6 4; }
.topology circle { fill: var(--surface); stroke-width: 3; }
.topology g.good circle { stroke: var(--good); } .topology g.look circle { stroke: var(--look); }
.topology g.bad circle { stroke: var(--bad); stroke-dasharray: 4 4; } .topology g.wait circle { stroke: var(--wait); }
.topology g.leads circle { fill: var(--good-band); } .topology g.leads .mark { fill: var(--good-on); }
.topology g.leads.bad circle { fill: var(--bad-band); } .topology g.leads.bad .mark { fill: var(--bad-on); }
.topology text.mark { font-size: 15px; font-weight: 700; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--quiet); font-weight: 600; font-size: .82rem; }
th, td { padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word; }
td:last-child { overflow-wrap: anywhere; }
tbody tr:last-child td, tbody tr:last-child th { border-bottom: 0; }
tbody th { color: var(--text); font-size: inherit; }
td.good { color: var(--good); } td.look { color: var(--look); font-weight: 600; } td.bad { color: var(--bad); font-weight: 600; } td.wait { color: var(--wait); }
.empty, .note { color: var(--quiet); font-size: .92rem; }
.note:empty { display: none; }
#members th:first-child { max-width: 14rem; overflow-wrap: anywhere; }
#members td:last-child { min-width: 13rem; }
#members td:nth-child(10) { font-family: ui-monospace, monospace; font-size: .82rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.2rem; }
figcaption { font-size: .92rem; font-weight: 600; margin-bottom: .3rem; }
.plots svg { display: block; width: 100%; height: auto; }
.plots text { fill: var(--quiet); font-size: 12px; }
.plots .grid { stroke: var(--line); }
.plots path { fill: none; stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round; }
.s0 { stroke: var(--s0); } .s1 { stroke: var(--s1); stroke-dasharray: 8 4; } .s2 { stroke: var(--s2); stroke-dasharray: 2 5; } .s3 { stroke: var(--s3); stroke-dasharray: 10 4 2 4; }
.s4 { stroke: var(--s4); stroke-dasharray: 14 5; } .s5 { stroke: var(--s5); stroke-dasharray: 4 3; } .s6 { stroke: var(--s6); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; font-size: .88rem; }
.legend li { display: flex; align-items: center; gap: .4rem; }
.legend svg { flex: none; width: 28px; height: 8px; }
footer { margin-top: 1.2rem; color: var(--quiet); font-size: .92rem; }
footer a { display: inline-block; padding: .3rem .4rem; }
@media (min-width: 60.01rem) {
  #members td:nth-child(5), #members td:nth-child(6), #members td:nth-child(10), #decisions tbody th { white-space: nowrap; }
}
@media (max-width: 60rem) {
  :is(#members, #decisions), :is(#members, #decisions) tbody, :is(#members, #decisions) tr { display: block; }
  :is(#members, #decisions) thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  :is(#members, #decisions) tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
  :is(#members, #decisions) tr:last-child { border-bottom: 0; }
  :is(#members, #decisions) th, :is(#members, #decisions) td { display: grid; grid-template-columns: 7rem minmax(0, 1fr); padding: .1rem 0; border: 0; overflow-wrap: anywhere; }
  #members th:first-child, #members td:last-child { min-width: 0; max-width: none; }
  :is(#members, #decisions) [data-label]::before { content: attr(data-label); color: var(--quiet); font-weight: 400; overflow-wrap: normal; }
}
@media (max-width: 30rem) {
  :is(#certificates, #others), :is(#certificates, #others) tbody, :is(#certificates, #others) tr { display: block; }
  :is(#certificates, #others) thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  :is(#certificates, #others) tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
  :is(#certificates, #others) tr:last-child { border-bottom: 0; }
  :is(#certificates, #others) th, :is(#certificates, #others) td { display: grid; grid-template-columns: 7rem minmax(0, 1fr); padding: .1rem 0; border: 0; overflow-wrap: anywhere; }
  :is(#certificates, #others) [data-label]::before { content: attr(data-label); color: var(--quiet); font-weight: 400; overflow-wrap: normal; }
  body { padding: 0 .7rem 1.5rem; }
  .verdict { padding: .9rem; gap: .8rem; } .verdict h1 { font-size: 1.35rem; } .sign { width: 2.4rem; height: 2.4rem; font-size: 1.2rem; }
  .facts { grid-template-columns: 1fr 1fr; gap: .5rem; } .facts div, section:not(.verdict) { padding: .7rem .8rem; }
  .topology text { font-size: 19px; } .topology .what { font-size: 16.5px; } .plots text { font-size: 16px; }
  .facts dd { font-size: 1.05rem; }
  .facts div:last-child { grid-column: 1 / -1; }
}
@media (prefers-reduced-motion: no-preference) { .skip { transition: top .1s; } }
`;
