"""The run's figures as Markdown: medians over the rounds, and ratios within a round."""
import statistics

import targets

# The measures of a table, the first of which is the one whose ratios are told: (measure, heading).
REQUESTS = (("cpu_us_per_request", "CPU µs/request"), ("user", "user"), ("kernel", "kernel"),
            ("per_second", "requests/s"))  # fmt: skip
MIBS = (("cpu_us_per_MiB", "CPU µs/MiB"), ("user", "user"), ("kernel", "kernel"), ("per_second", "MiB/s"))
LATENCY = (("p99_us", "p99 µs"), ("p50_us", "p50 µs"), ("p999_us", "p99.9 µs"), ("max_us", "max µs"),
           ("per_second", "requests/s"), ("cpu_us_per_request", "CPU µs/request"))  # fmt: skip
EACH = (("user_kib_each", "user space, KiB each"), ("kernel_kib_each", "kernel, KiB each"))
RESIDENT = (("rss_mib", "resident MiB"), ("anonymous_mib", "of it anonymous"))
MESSAGES = (("cpu_us_per_message", "CPU µs/message"), ("user", "user"), ("kernel", "kernel"),
            ("per_second", "messages/s"))  # fmt: skip
THREADS = (("threads", "threads"), ("iou_wrk_threads", "of them iou-wrk"))
TABLES = ( MIBS, MESSAGES, RESIDENT, EACH, THREADS, LATENCY, REQUESTS)


def targets_table(figures, groups, is_quick):
    lines = headed(["figure", "measured", "at most", ""])
    for target in targets.of_groups(groups, is_quick):
        measured = target.measured(figures)
        told = "–" if measured is None else f"{measured:.3f}"
        lines.append(cells([target.figure, told, f"{target.at_most:g}", targets.verdict(measured, target.at_most)]))
    return [*lines, cells(["allocations for a proxied GET", "–", "0", f"proved by `{targets.ALLOCATIONS}`"])]


def group_tables(figures, group):
    """One table, or one for each kind of figure that the group has (memory has two)."""
    kinds = {}
    for scenario in figures.scenarios(group):
        kinds.setdefault(columns_of(figures, group, scenario), []).append(scenario)
    return [line for columns, scenarios in kinds.items() for line in ["", *table(figures, group, scenarios, columns)]]


def columns_of(figures, group, scenario):
    if group == "cores":  # it has latencies as well, but is not about them
        return REQUESTS
    has = {key.measure for key in figures.values if (key.group, key.scenario) == (group, scenario)}
    return next(columns for columns in TABLES if columns[0][0] in has)


def table(figures, group, scenarios, columns):
    base = baseline(figures, group, scenarios)
    lines = headed(["scenario", "contender", *(heading for _, heading in columns), f"÷ {base}"])
    for scenario in scenarios:
        for name in figures.contenders(group, scenario):
            medians = [median(figures, (group, scenario, name), measure, columns[0][0]) for measure, _ in columns]
            ratios = figures.ratios(group, scenario, name, base, columns[0][0]) if name != base else []
            lines.append(cells([scenario, name, *map(figure, medians), quotient(ratios)]))
    return lines


def baseline(figures, group, scenarios):
    """nginx wherever it takes part."""
    names = [name for scenario in scenarios for name in figures.contenders(group, scenario)]
    return "nginx" if "nginx" in names else names[0]


def median(figures, of, measure, primary):
    """User and kernel are kept as they were read; here they are per unit, as the primary measure is."""
    if measure not in ("user", "kernel"):
        return figures.median(*of, measure)
    share = shares(figures.rounds(*of, "user_us"), figures.rounds(*of, "kernel_us"), measure)
    costs = figures.rounds(*of, primary)
    return statistics.median(costs[turn] * share[turn] for turn in costs) if costs else None


def shares(user, kernel, of):
    """Round → the part of the CPU time that was spent there."""
    part = user if of == "user" else kernel
    return {turn: part[turn] / ((user[turn] + kernel[turn]) or 1) for turn in part}


def figure(value):
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 1000 else f"{value:,.0f}"


def quotient(ratios):
    if not ratios:
        return "–"
    return f"{statistics.median(ratios):.2f} ({' '.join(f'{ratio:.2f}' for ratio in ratios)})"


def headed(words):
    return [cells(words), "|---" * len(words) + "|"]


def cells(words):
    return "| " + " | ".join(words) + " |"
