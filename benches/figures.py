"""Medians and spread of the runs that benches/figures.sh wrote, as a Markdown table."""
import collections
import glob
import json
import os
import statistics
import sys

folder = sys.argv[1]
rows = collections.defaultdict(list)
extra = collections.defaultdict(list)
for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
    name = os.path.basename(path).split(".")[0]
    try:
        document = json.load(open(path))
    except ValueError:
        print(f"{path}: no JSON", file=sys.stderr)
        continue
    floors = [document["floor"][when] for when in ("before", "after") if document["floor"][when]]
    echo = statistics.mean(f["echo"]["per_second"] for f in floors) if floors else None
    sync = statistics.mean(f["sync_8k"]["p50_us"] for f in floors) if floors else None
    for figure in document["figures"]:
        rows[name, figure["name"]].append((figure, echo, sync))
    if document["disk"]:
        extra[name, "bytes on disk a transfer"].append(document["disk"]["bytes_per_transfer"])
    resident = document["server_resident_bytes"]
    if resident["end"]:
        extra[name, "server memory at the end, MiB"].append(resident["end"] / 2**20)
    if document["recovery"]:
        extra[name, "ready after kill -9, s"].append(document["recovery"]["ready_s"])
        extra[name, "verified a second"].append(document["recovery"]["verified_per_second"])
        extra[name, "acknowledged and lost"].append(document["recovery"]["acknowledged_lost"])


def spread(values, digits=0):
    values = [v for v in values if v is not None]
    if not values:
        return "–"
    middle = statistics.median(values)
    return f"{middle:,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


print("| bench | what | runs | a second | p50 µs | p99 µs | p99.9 µs | last/first 10 s | echo floor a second | share of echo | 8 KiB sync µs | server CPU µs |")
print("|---|---|---|---|---|---|---|---|---|---|---|---|")
for (name, what), runs in rows.items():
    figures = [f for f, _, _ in runs]
    latency = lambda q: spread([f["latency_us"][q] for f in figures])
    cells = [
        name, what, str(len(runs)), spread([f["per_second"] for f in figures]), latency("p50"), latency("p99"), latency("p99_9"),
        spread([f["last_over_first"] for f in figures], 2), spread([e for _, e, _ in runs]),
        spread([f.get("share_of_echo") for f in figures], 2), spread([s for _, _, s in runs]),
        spread([f["cpu_us_per_answer"]["server"] for f in figures], 1),
    ]
    print("| " + " | ".join(cells) + " |")
    errors = [f["errors"] for f in figures if f["errors"]]
    if errors:
        print(f"| {name} | ERRORS {errors} |")
print()
for (name, what), values in extra.items():
    print(f"- {name}: {what}: {spread(values, 1)}")
