"""Rows of figures as Markdown: medians over the rounds, and ratios within a round."""
import statistics
from dataclasses import dataclass, field


@dataclass
class Row:
    """One scenario: a figure of every contender in every round that came off."""

    scenario: str
    unit: str
    values: dict = field(default_factory=dict)  # contender → {round → value}

    def put(self, contender, turn, value):
        self.values.setdefault(contender.name, {})[turn] = value

    def median(self, name):
        return statistics.median(self.values[name].values())

    def ratios(self, ours, theirs):
        ours, theirs = self.values.get(ours, {}), self.values.get(theirs, {})
        return [ours[turn] / theirs[turn] for turn in ours if theirs.get(turn)]


def figures_table(rows):
    names = contenders(rows)
    lines = headed(["scenario", "unit", *names])
    for row in rows:
        lines.append(cells([row.scenario, row.unit, *(figure(row, name) for name in names)]))
    return lines


def ratios_table(rows, ours):
    """One contender beside all the others. In brackets the ratio of every round."""
    rivals = [name for name in contenders(rows) if name != ours]
    lines = headed(["scenario", *(f"{ours} ÷ {theirs}" for theirs in rivals)])
    for row in rows:
        lines.append(cells([row.scenario, *(quotient(row.ratios(ours, theirs)) for theirs in rivals)]))
    return lines


def tables(rows):
    """What was measured, and each gateway (without one: HAProxy) beside the rest."""
    names = contenders(rows)
    gateways = [name for name in names if name.startswith("gateway")] or [name for name in names if name == "haproxy"]
    lines = figures_table(rows)
    for ours in gateways:
        lines += ["", *ratios_table(rows, ours)]
    return lines


def figure(row, name):
    return f"{row.median(name):.2f}" if name in row.values else "–"


def quotient(ratios):
    if not ratios:
        return "–"
    return f"{statistics.median(ratios):.2f} ({' '.join(f'{ratio:.2f}' for ratio in ratios)})"


def threads_table(rows):
    names = contenders(rows)
    if not names:
        return [NO_GATEWAY]
    lines = headed(["scenario", *(f"{name}: threads, of them iou-wrk" for name in names)])
    for row in rows:
        most = [max(row.values[name].values()) if name in row.values else ("–", "–") for name in names]
        lines.append(cells([row.scenario, *(f"{threads}, {workers}" for threads, workers in most)]))
    return lines


def targets_table(rows, targets):
    """`targets`: (scenario, rival or None for the figure itself, at most)."""
    lines = []
    for scenario, rival, most in targets:
        row = next((row for row in rows if row.scenario == scenario and "gateway" in row.values), None)
        ratios = row.ratios("gateway", rival) if row and rival else []
        if not row or (rival and not ratios):
            continue
        name = f"{scenario}: gateway ÷ {rival}" if rival else f"{scenario}: {row.unit}"
        value = statistics.median(ratios) if rival else row.median("gateway")
        lines.append(cells([name, f"{value:.2f}", f"{most:.1f}", "met" if value <= most else "**missed**"]))
    return [*headed(["figure", "measured", "at most", ""]), *lines] if lines else [NO_GATEWAY]


def contenders(rows):
    return list(dict.fromkeys(name for row in rows for name in row.values))


def headed(words):
    return [cells(words), "|---" * len(words) + "|"]


def cells(words):
    return "| " + " | ".join(words) + " |"


NO_GATEWAY = "No gateway took part."
