"""Draws what `munim bench overload --json` measured, second by second, as an SVG: answered, refused, offered.

Usage: benches/overload_graph.py run.json graph.svg
"""
import json
import sys
from html import escape

source, target = sys.argv[1:3]
document = json.load(open(source))
capacity, overload, after = document["figures"]
config = document["config"]

# One column a second: (answered, refused, phase).
seconds = []
for phase, figure in enumerate((capacity, overload, after)):
    refused = figure["refused_each_second"] + [0] * len(figure["each_second"])
    # `each_second` counts all answers that were as they should be, refusals beside it.
    seconds += [(answered, refused[place], phase) for place, answered in enumerate(figure["each_second"])]
top = max(answered + refused for answered, refused, _ in seconds) * 1.1
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 900, 340, 70, 40, 50
step = (WIDTH - LEFT - 10) / len(seconds)


def y(value):
    return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)


parts = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
    f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
]
line = 10 ** (len(str(int(top))) - 1)
value = 0
while value <= top:
    parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
    parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,}</text>')
    value += line
for place, (answered, refused, _) in enumerate(seconds):
    x = LEFT + place * step
    bar = f'x="{x + 1:.1f}" width="{step - 2:.1f}"'
    parts.append(f'<rect {bar} y="{y(answered):.1f}" height="{y(0) - y(answered):.1f}" fill="#2b6cb0"/>')
    parts.append(f'<rect {bar} y="{y(answered + refused):.1f}" height="{y(answered) - y(answered + refused):.1f}" fill="#e2a03f"/>')
start = 0
for phase, figure in enumerate((capacity, overload, after)):
    count = sum(1 for second in seconds if second[2] == phase)
    x = LEFT + start * step
    parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#333" stroke-dasharray="4 3"/>')
    text = f'{figure["name"]}: p99 {figure["latency_us"]["p99"] / 1000:,.1f} ms'
    if figure["refused"]:
        text += f', refused p99 {figure["refused_latency_us"]["p99"] / 1000:,.1f} ms'
    parts.append(f'<text x="{x + 4:.1f}" y="{TOP - 6}">{escape(text)}</text>')
    start += count
title = f'requests a second; blue answered, yellow refused; {config["connections"]} connections, {" ".join(config["server_args"])}'
parts.append(f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>')
parts.append(f'<text x="{LEFT}" y="{HEIGHT - 12}">seconds</text></svg>')
open(target, "w").write("\n".join(parts) + "\n")
