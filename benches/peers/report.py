"""Results as text, Markdown and SVG."""

import html
import math
import os

COLUMNS = [
    ("got", "got", lambda value: f"{100 * value:.1f} %"),
    ("lost", "lost", lambda value: f"{100 * value:.2f} %"),
    ("impossible", "impossible", lambda value: f"{100 * value:.3f} %"),
    ("cpu_us", "CPU a sample", lambda value: f"{value:.1f} µs"),
    ("calls", "calls", lambda value: f"{value:.2f}"),
    ("bytes", "bytes", lambda value: f"{value:.0f}"),
    ("stops", "stops", lambda value: f"{value:.2f}"),
    ("slowdown", "slowdown", lambda value: f"{100 * value:+.1f} %"),
    ("start_s", "start", lambda value: f"{1000 * value:.0f} ms"),
    ("start_cpu_s", "start CPU", lambda value: f"{1000 * value:.0f} ms"),
    ("memory_kib", "memory", lambda value: f"{value / 1024:.1f} MiB"),
]
COLOURS = ["#c0392b", "#2471a3", "#229954", "#b9770e", "#7d3c98"]
EXPLANATION = """Each table is one target, on which the tools took turns. CPU a sample is the tool's own, user and
system, without its start-up; `×` is how many times pyspy's it is, in the same run. Got is of the samples asked for;
lost is by the tool's own count; impossible are stacks that the program cannot have had; calls, bytes and stops are a
sample's (of the target's memory; of its threads), counted by `strace`; slowdown is of the target by its own count of
work; start is the wall time of the shortest run beyond its duration (py-spy's cannot be told: it ends after so many
samples). At 50 kHz pyspy leaves out what would let a thread stand still for more than a quarter of its time. austin
takes waiting threads as samples too, which makes its cost a sample smaller beside many of them.
"""


def table(title, rows):
    """A Markdown table of one cell."""
    columns = [column for column in COLUMNS if any(column[0] in row for row in rows.values())]
    heading = "| | × | " + " | ".join(name for _, name, _ in columns) + " |"
    lines = [f"### {title}", "", heading, "|---|" + "---:|" * (len(columns) + 1)]
    own = rows.get("pyspy", {}).get("cpu_us")
    for tool, row in rows.items():
        ratio = f"{row['cpu_us'] / own:.1f}" if own else ""
        values = [show(row[key]) if key in row else "" for key, _, show in columns]
        lines.append(f"| {tool} | {ratio} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def dump(rows):
    """A Markdown table of the cost of one `dump`."""
    own = rows.get("pyspy")
    lines = ["### `dump` of an idle process, start to exit (Python 3.11)", ""]
    lines += ["| | CPU | × | time | × |", "|---|---:|---:|---:|---:|"]
    for tool, row in rows.items():
        ratios = [f"{row[key] / own[key]:.1f}" if own and own[key] else "" for key in ("cpu_ms", "wall_ms")]
        lines.append(f"| {tool} | {row['cpu_ms']:.1f} ms | {ratios[0]} | {row['wall_ms']:.1f} ms | {ratios[1]} |")
    return "\n".join(lines) + "\n"


def first_stop(rows):
    """A Markdown table of the time to the first sample."""
    own = rows.get("pyspy")
    lines = ["### `record` with stops, from its start to its first stop (Python 3.11)", ""]
    lines += ["| | time | × |", "|---|---:|---:|"]
    lines += [f"| {tool} | {time:.1f} ms | {f'{time / own:.1f}' if own else ''} |" for tool, time in rows.items()]
    return "\n".join(lines) + "\n"


def slowdown(entries):
    """Slowdowns of programs in all modes of all tools, as a Markdown table."""
    columns = list(dict.fromkeys(key for _, found in entries for key in found))
    lines = ["### Slowdown of the target, and CPU a sample asked for (Python 3.11, depth 20)", ""]
    lines += ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for title, found in entries:
        cells = (f"{100 * found[key][0]:+.1f} %, {found[key][1]:.0f} µs" if key in found else "" for key in columns)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def floor(found):
    """What the system alone takes, as a Markdown table."""
    target = "Python 3.11, ordinary, depth 20, 1000 Hz"
    what = "a program that only makes the calls of a sample"
    lines = [f"### The system's part: {what} (`benches/floor.rs`; {target})", ""]
    lines += ["| | slowdown | CPU |", "|---|---:|---:|"]
    lines += [f"| {name} | {100 * share:+.1f} % | {cpu:.1f} µs |" for name, (share, cpu) in found.items()]
    return "\n".join(lines) + "\n"


def hour(found):
    """Memory against the number of samples, as a Markdown table."""
    lines = ["### Memory of pyspy in the samples of an hour at 100 Hz (Python 3.11, taken at 10 kHz)", ""]
    lines += ["| samples | memory |", "|---:|---:|"]
    lines += [f"| {samples} | {memory / 1024:.1f} MiB |" for samples, memory in found]
    return "\n".join(lines) + "\n"


def curve_text(title, unit, lines):
    """A curve as a Markdown table."""
    points = sorted({x for values in lines.values() for x, _ in values})
    text = [f"### {title}", "", "| " + " | ".join([unit, *map(str, points)]) + " |", "|---|" + "---:|" * len(points)]
    for name, values in lines.items():
        found = dict(values)
        text.append(f"| {name} | " + " | ".join(f"{found[x]:.1f}" if x in found else "" for x in points) + " |")
    return "\n".join(text) + "\n"


def curve_svg(title, unit, lines):
    """A curve as a picture, both axes logarithmic (with 0 drawn as 1 on the horizontal one)."""
    width, height, left, bottom = 640, 320, 60, 40
    xs = [max(1, x) for values in lines.values() for x, _ in values]
    ys = [max(1e-3, y) for values in lines.values() for _, y in values]
    low_x, high_x = math.log10(min(xs)), math.log10(max(xs)) + 1e-9
    low_y, high_y = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)
    place_x = lambda x: left + (math.log10(max(1, x)) - low_x) / (high_x - low_x) * (width - left - 130)
    place_y = lambda y: height - bottom - (math.log10(max(1e-3, y)) - low_y) / (high_y - low_y) * (height - bottom - 40)
    font = 'font-family="sans-serif" font-size="12"'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {font}>']
    out.append('<rect width="100%" height="100%" fill="white"/>')
    out.append(f'<text x="{left}" y="20" font-size="14">{html.escape(title)}, {html.escape(unit)}</text>')
    for power in range(low_y, high_y + 1):
        y = place_y(10.0**power)
        out.append(f'<line x1="{left}" x2="{width - 130}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for x in sorted({x for values in lines.values() for x, _ in values}):
        out.append(f'<text x="{place_x(x):.1f}" y="{height - bottom + 18}" text-anchor="middle">{x}</text>')
    for colour, (name, values) in zip(COLOURS, lines.items()):
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in values)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = values[-1]
        place = f'x="{place_x(x) + 6:.1f}" y="{place_y(y) + 4:.1f}"'
        out.append(f'<text {place} fill="{colour}">{html.escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])


def write_document(folder, results):
    """Writes benchmarks.md and its pictures."""
    os.makedirs(os.path.join(folder, "benchmarks"), exist_ok=True)
    about = results["about"]
    arguments = about["arguments"]
    more = "; without `--brief` it measures more cells" if "--brief" in arguments else ""
    text = ["# What sampling costs", "", f"Written by `benches/peers/compare.py {arguments}`{more}.", ""]
    machine = f"{about['processor']}, {about['cores']} cores, Linux {about['kernel']}"
    text += [f"{about['date']}: {machine}; Python {', '.join(about['versions'])}.", ""]
    text += [f"Not measured: {line}." for line in about["missing"]]
    text += ["", EXPLANATION]
    for index, curve in enumerate(results["curves"]):
        name = f"curve{index + 1}.svg"
        with open(os.path.join(folder, "benchmarks", name), "w", encoding="utf-8") as file:
            file.write(curve_svg(curve["title"], curve["unit"], curve["lines"]))
        text += [f"![{curve['title']}](benchmarks/{name})", ""]
        text.append(curve_text(curve["title"], curve["unit"], curve["lines"]))
    if results["dump"]:
        text.append(dump(results["dump"]))
    if results["first_stop"]:
        text.append(first_stop(results["first_stop"]))
    if results["slowdown"]:
        text.append(slowdown(results["slowdown"]))
    if results["floor"]:
        text.append(floor(results["floor"]))
    if results["hour"]:
        text.append(hour(results["hour"]))
    text += [table(entry["title"], entry["rows"]) for entry in results["tables"]]
    with open(os.path.join(folder, "benchmarks.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text))
