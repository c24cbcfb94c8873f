"""The run's pictures, as SVG that reads on light and on dark pages.

    /usr/bin/python3 bench/load/plots.py bench/runs/RUN    # draws a finished run again, from its raw.csv

Text and axes have the colour of the page's text: matplotlib draws them in one colour that nothing else has, which is
replaced by `currentColor`, and a style in the file says what that is in either scheme.
"""
import re
import statistics
import sys

import matplotlib

import idle
import steady
from figures import Figures

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # noqa: E402 – after the choice of how to draw

# Stands for the page's text.
TEXT = "#010203"
STYLE = """<style>svg { color: #1f2328 } @media (prefers-color-scheme: dark) { svg { color: #e6edf3 } }</style>"""
# 3 : 1 or more against white and against GitHub's dark page; a test computes it.
COLOURS = {
    "nginx": "#2b9348",
    "haproxy": "#c2701c",
    "haproxy-jwt": "#d1495b",
    "floor": "#7d8590",
    "gateway": "#2f7de1",
}
VARIANTS = ("#8e63ce", "#b5518f", "#5c7f8a")
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "realchat-gateway",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    **{name: TEXT for name in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")},
}
# What the first picture shows, in its order.
RELATIVE = ("plain", "connect", "jwt", "memory-limit", "full", "full-log", "401", "429", "16k", "1m", "upload",
            "ws-busy")  # fmt: skip
# What the small picture shows: the first page of the repository has one. (group, scenario, its name there)
OVERVIEW = (
    ("plain", "plain, 64 connections", "plain proxying, 64 connections"),
    ("jwt", "JWT, 64 connections", "JWT, 64 connections"),
    ("full", "full, 64 connections", "JWT + Redis limit, 64 connections"),
    ("full", "full, 8 connections", "JWT + Redis limit, 8 connections"),
    ("401", "401", "401 (nginx: 200)"),
    ("429", "429 from known-empty memory", "429 (nginx: 200)"),
    ("1m", "1 MiB responses, 16 connections", "1 MiB responses"),
    ("ws-busy", "64 busy", "64 busy WebSockets"),
)
OVERVIEW_CONTENDERS = ("haproxy", "haproxy-jwt", "gateway")
COSTS = ("cpu_us_per_request", "cpu_us_per_MiB", "cpu_us_per_message")
LATENCIES = (("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"))


def draw(figures, out):
    """Those that there are figures for; their names."""
    pictures = {"overview.svg": overview, "cpu.svg": relative_cpu, "latency.svg": latency, "memory.svg": memory}
    drawn = []
    with pyplot.rc_context(SETTINGS):  # some count when a picture is made, some when it is written
        for name, picture in pictures.items():
            if figure := picture(figures):
                save(figure, f"{out}/{name}")
                drawn.append(name)
    return drawn


def overview(figures):
    """A few scenarios of the picture with all of them."""
    rows = []
    for group, scenario, title in OVERVIEW:
        ratios = relative(figures, group, scenario)
        rows.append((title, {name: those for name, those in ratios.items() if name in OVERVIEW_CONTENDERS}))
    return groups_of_bars(rows)


def relative_cpu(figures):
    """All scenarios."""
    rows = []
    for group in RELATIVE:
        for scenario in figures.scenarios(group):
            title = f"{scenario} tunnels" if group == "ws-busy" else scenario
            rows.append((title, relative(figures, group, scenario)))
    return groups_of_bars(rows)


def relative(figures, group, scenario):
    """Contender → its CPU time ÷ that of nginx, of every round."""
    measure = next(m for m in COSTS if figures.rounds(group, scenario, "nginx", m) or m == COSTS[-1])
    names = [name for name in figures.contenders(group, scenario) if name != "nginx"]
    ratios = {name: figures.ratios(group, scenario, name, "nginx", measure) for name in names}
    return {name: those for name, those in ratios.items() if those}


def groups_of_bars(rows):
    """A group of bars for every scenario: the median over the rounds, and a line from the least to the most.
    `rows`: the scenario's name, and contender → ratios."""
    rows = [(scenario, ratios) for scenario, ratios in rows if ratios]
    if not rows:
        return None
    bars = sum(len(ratios) for _, ratios in rows)
    figure, axes = pyplot.subplots(figsize=(8.5, 1.3 + 0.22 * bars + 0.16 * len(rows)))
    place, ticks, labelled = 0, [], {}
    for scenario, ratios in rows:
        first = place
        for name, values in ratios.items():
            middle = statistics.median(values)
            labelled[name] = axes.barh(place, middle, height=0.86, color=colour(name))
            axes.plot([min(values), max(values)], [place, place], color=TEXT, linewidth=1.2)
            axes.text(beside_the_line(max(values)), place, f"{middle:.2f}", va="center", fontsize=8)
            place += 1
        ticks.append(((first + place - 1) / 2, scenario))
        place += 0.7
    axes.set_yticks([at for at, _ in ticks], [scenario for _, scenario in ticks])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(place - 0.5, -0.8)
    axes.axvline(1, color=colour("nginx"), linewidth=1.4)
    axes.set_xlabel("CPU time ÷ that of nginx, plain proxying, in the same round; less is better")
    legend(figure, labelled)
    return figure


def beside_the_line(end):
    """Where a number stands: behind its bar, but not on the line at 1."""
    return 1.015 if 0.91 < end < 1 else end + 0.015


def latency(figures):
    names = [name for name in figures.contenders("rate", steady.RATE)]
    if not names:
        return None
    figure, axes = pyplot.subplots(figsize=(8.5, 3.6))
    labelled, width = {}, 0.8 / len(names)
    for at, (measure, _) in enumerate(LATENCIES):
        for index, name in enumerate(names):
            values = list(figures.rounds("rate", steady.RATE, name, measure).values())
            place = at + (index - (len(names) - 1) / 2) * width
            labelled[name] = axes.bar(place, statistics.median(values), width=width * 0.92, color=colour(name))
            axes.plot([place, place], [min(values), max(values)], color=TEXT, linewidth=1.2)
            axes.text(place, max(values) * 1.1, f"{statistics.median(values):,.0f}", ha="center", fontsize=8)
    axes.set_xticks(range(len(LATENCIES)), [label for _, label in LATENCIES])
    axes.tick_params(axis="x", length=0)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("µs (logarithmic)")
    asked = figures.median("rate", steady.RATE, names[0], "asked_per_second")
    axes.set_xlabel(f"{asked:,.0f} requests/s, {steady.CONNECTIONS} connections; less is better")
    legend(figure, labelled)
    return figure


def memory(figures):
    """Three panels, since a process and a connection are not on one scale."""
    panels = [panel for panel in memory_panels(figures) if panel[2]]
    if not panels:
        return None
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(8.5, 3.0), squeeze=False)
    labelled = {}
    for axes, (title, unit, values) in zip(all_axes[0], panels):
        for place, (name, value) in enumerate(values.items()):
            labelled[name] = axes.bar(place, value, width=0.8, color=colour(name))
            axes.text(place, value, f"{value:.1f}", ha="center", va="bottom", fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel(unit)
        axes.set_xticks([])
    legend(figure, labelled)
    return figure


def memory_panels(figures):
    whats = (("memory", idle.PROCESS, "rss_mib", "resident MiB"),
             ("memory", idle.CONNECTION, "user_kib_each", "KiB of user space each"),
             ("ws-idle", idle.TUNNEL, "user_kib_each", "KiB of user space each"))  # fmt: skip
    for group, what, measure, unit in whats:
        scenarios = [scenario for scenario in figures.scenarios(group) if scenario.startswith(what)]
        # Of the connections: the first thousand.
        scenario = scenarios[0] if scenarios else None
        names = figures.contenders(group, scenario) if scenario else []
        yield scenario and scenario.replace(": ", ":\n"), unit, {
            name: figures.median(group, scenario, name, measure) for name in names}  # fmt: skip


def legend(figure, labelled):
    figure.legend(labelled.values(), labelled.keys(), loc="upper center", ncol=len(labelled), frameon=False, fontsize=9)


def colour(name):
    if name in COLOURS:
        return COLOURS[name]
    plain = name.removesuffix("-64k").removesuffix("-splice")
    if plain in COLOURS and not name.startswith("gateway"):
        return VARIANTS[2]
    return VARIANTS[sum(name.encode()) % 2]


def save(figure, path):
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / figure.get_figheight()))
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    with open(path, encoding="utf-8") as file:
        text = adapt(file.read())
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def adapt(svg):
    """Text without a colour of its own is black in SVG: all of it is told to be that of the page."""
    svg = svg.replace(TEXT, "currentColor")
    svg = re.sub(r'(<text style=")(?![^"]*fill:)', r"\1fill: currentColor; ", svg)
    return re.sub(r"(<svg [^>]*>)", rf"\1\n {STYLE}", svg, count=1)


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        with open(f"{folder}/raw.csv", encoding="utf-8", newline="") as raw:
            print(*draw(Figures.of_raw(raw), folder))
