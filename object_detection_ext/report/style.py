"""The look of a page: light and dark as the reader's system asks, one column on a phone, ink on white in print."""

from __future__ import annotations

# Texts of these colours have a contrast of 4.5 or more on both grounds (WCAG 2.2, 1.4.3), shapes of 3 or more (1.4.11); a test computes it.
LIGHT = {
    "ground": "#ffffff",
    "card": "#f5f7f9",
    "line": "#d3d9e0",
    "text": "#1b2026",
    "muted": "#57606a",
    "link": "#0a5cc4",
    "error": "#c01f2c",
    "warning": "#8a5b00",
    "info": "#0a5cc4",
    "good": "#1a7a36",
    "series-0": "#1f6fd6",
    "series-1": "#c2560c",
    "series-2": "#2d8649",
    "series-3": "#8f4fc4",
}
DARK = {
    "ground": "#0f1318",
    "card": "#181e25",
    "line": "#38424d",
    "text": "#e4eaf0",
    "muted": "#9ba6b2",
    "link": "#6cb0ff",
    "error": "#ff8078",
    "warning": "#e0ac3c",
    "info": "#6cb0ff",
    "good": "#55c272",
    "series-0": "#58a3f5",
    "series-1": "#f29148",
    "series-2": "#5cc27c",
    "series-3": "#bd8cf0",
}
SERIES = 4  # colours for series of a chart; a fifth series takes the first colour again


def _variables(colors: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colors.items())


_RULES = """
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:76rem;background:var(--ground);color:var(--text);
 font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere;
 -webkit-text-size-adjust:100%}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.3rem;margin:2.5rem 0 .75rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.5rem 0 .25rem}
p{margin:.4rem 0}
a{color:var(--link)}
.muted,caption,footer{color:var(--muted)}
footer{margin-top:3rem;font-size:.875rem}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;margin:1.25rem 0 0;padding:0}
nav a{display:inline-block;padding:.25rem 0}
.badge{display:inline-block;padding:0 .5em;border:1px solid currentColor;border-radius:1em;font-size:.8125rem;font-weight:600}
.error{color:var(--error)}.warning{color:var(--warning)}.info{color:var(--info)}.good{color:var(--good)}
.verdict{display:flex;gap:.75rem;align-items:center;margin:1rem 0;padding:.75rem 1rem;border:1px solid currentColor;
 border-left-width:.5rem;border-radius:.4rem; background:var(--card)}
.verdict p{margin:0;color:var(--text)}
.verdict strong{font-size:1.1rem}
.sign{flex:none;width:2rem;height:2rem;border:2px solid currentColor;border-radius:50%;
 font:700 1.1rem/1.75rem system-ui,sans-serif;text-align:center}
.facts{display:flex;flex-wrap:wrap;gap:.75rem;margin:1rem 0}
.facts div{flex:1 1 7rem;max-width:14rem;padding:.5rem .75rem;border:1px solid var(--line);border-radius:.4rem;background:var(--card)}
.facts dt{font-size:.875rem;color:var(--muted)}
.facts dd{margin:0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;min-width:min(100%,28rem);font-size:.9375rem;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
caption{text-align:left;padding:.25rem 0;font-size:.875rem}
th,td{padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th+th,th+td,td+td{padding-left:.75rem}
thead th{border-bottom:2px solid var(--line)}
tbody th{font-weight:400;overflow-wrap:anywhere;min-width:min(16rem,40vw)}
.number{text-align:right;white-space:nowrap}
.grid{display:grid;gap:1.5rem 2rem;margin:1rem 0}
.charts{grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr))}
.pictures{grid-template-columns:repeat(auto-fill,minmax(min(100%,16rem),1fr));gap:1.25rem}
@media (min-width:48rem){.wide{grid-column:span 2}}
figure{margin:0;min-width:0;break-inside:avoid}
figcaption{margin-bottom:.5rem}
figure p{font-size:.875rem}
.pictures figcaption{font-size:.875rem;margin-bottom:.25rem}
svg{display:block;width:100%;height:auto}
.charts svg{max-width:32rem}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--text)}
svg .soft{fill:var(--muted)}
svg .end{text-anchor:end}
svg .middle{text-anchor:middle}
.axis{stroke:var(--muted);fill:none}
.rule{stroke:var(--line);fill:none}
.zone{stroke:var(--muted);stroke-dasharray:3 3;fill:none}
.area{fill-opacity:.2;stroke-width:1.5}
.stroke{fill:none;stroke-width:2;stroke-linejoin:round}
.dots{fill:none;stroke-width:3;stroke-linecap:round;stroke-opacity:.45}
.region{fill:var(--muted);stroke:none}
.cross{fill:none;stroke:var(--text);stroke-width:1.5}
.heat{fill:var(--series-0);shape-rendering:crispEdges}
SERIES
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;margin:0 0 .25rem;padding:0;font-size:.875rem}
.legend span{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:.15em}
.picture{background:var(--card);border:1px solid var(--line);border-radius:.25rem}
.picture text{font-weight:600;fill:#fff;stroke:#000;stroke-width:3px;paint-order:stroke;stroke-linejoin:round}
.picture .box{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
.picture .halo{fill:none;stroke:#fff;stroke-width:4.5;stroke-opacity:.85;vector-effect:non-scaling-stroke}
.picture .fault{stroke:#e00020;stroke-width:2.5}
.findings{padding-left:1.1rem;font-size:.9375rem}
.findings li{margin:.35rem 0}
.findings .muted{display:block;font-size:.875rem}
details{margin:1rem 0}
summary{cursor:pointer;padding:.25rem 0;color:var(--link)}
pre{overflow-x:auto;padding:.75rem 1rem;border:1px solid var(--line);border-radius:.4rem;background:var(--card);
 font-size:.875rem;line-height:1.4;overflow-wrap:normal}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media print{
 body{max-width:none;padding:0;font-size:10pt}
 nav{display:none}
 .wide{grid-column:1/-1}
 .key{print-color-adjust:exact;-webkit-print-color-adjust:exact}
 h2,h3{break-after:avoid}
 pre,.scroll{overflow:visible;white-space:pre-wrap}
 details::details-content{content-visibility:visible}
}
"""

_SERIES_RULES = "\n".join(
    f".s{index}{{stroke:var(--series-{index})}}"
    f".area.s{index},.bar.s{index}{{fill:var(--series-{index})}}.key.s{index}{{background:var(--series-{index})}}"
    for index in range(SERIES)
)

STYLE = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}{_RULES.replace('SERIES', _SERIES_RULES)}"
)
