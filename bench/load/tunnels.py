"""WebSocket tunnels that are busy: small messages, large frames, and the threads that appear meanwhile."""
import select

import loads
import readings
from contenders import started

KIB, MIB = 1024, 1024 * 1024
MESSAGE_BYTES = 100
BUSY, QUICK_BUSY = (1, 64, 100, 1000), (64,)
BULK_TUNNELS = 4
# The mix in which no kernel worker may show up.
THREADS_IDLE, THREADS_BUSY = 500, 50
WAYS = {"down": "origin → client", "up": "client → origin"}
RIVALS = ("nginx", "haproxy")
# Rivals with the best settings that we know for large frames.
BULK_RIVALS = (*RIVALS, "nginx-64k", "haproxy-64k", "haproxy-splice")


def busy(bench, group):
    """An echo is two messages, one each way."""
    with bench.running(all_of(bench, RIVALS)) as contenders:
        for count in QUICK_BUSY if bench.options.quick else BUSY:
            flags = {"busy": count, "bytes": MESSAGE_BYTES}
            interleave(bench, group, f"{count} busy", contenders, flags, "message", lambda report: report["messages"])


def bulk(bench, group):
    with bench.running(all_of(bench, BULK_RIVALS)) as contenders:
        for way, words in WAYS.items():
            for size in bench.options.frames:
                flags = {"busy": BULK_TUNNELS, "traffic": way, "bytes": size}
                scenario = f"{words}, {named(size)} frames"
                interleave(bench, group, scenario, contenders, flags, "MiB", lambda report: report["bytes"] / MIB)


def threads(bench, group):
    mixes = {"messages": {}} | {f"1 MiB frames {words}": {"traffic": way, "bytes": MIB} for way, words in WAYS.items()}
    for name, flags in mixes.items():
        scenario = f"{THREADS_IDLE} idle, {THREADS_BUSY} busy with {name}"
        for contender in bench.chosen(bench.line.gateways({})):
            bench.attempt(most_threads, bench, group, scenario, contender, flags, who=contender.name)
        bench.progress(group, scenario, "iou_wrk_threads")


def all_of(bench, rivals):
    return bench.chosen([*map(bench.line.rival, rivals), *bench.line.gateways({})])


def interleave(bench, group, scenario, contenders, flags, per, units):
    for turn in range(bench.options.rounds):
        for contender in contenders:
            bench.attempt(measure, bench, group, scenario, contender, flags, per, units, turn, who=contender.name)
    bench.progress(group, scenario, f"cpu_us_per_{per}")


def measure(bench, group, scenario, contender, flags, per, units, turn):
    with loads.tunnels(contender.port, bench.token, seconds=bench.options.seconds, **flags) as load:
        before = readings.cpu_us(contender.process)
        report = loads.measured(load)
        user, kernel = (after - then for after, then in zip(readings.cpu_us(contender.process), before))
    measures = {f"cpu_us_per_{per}": (user + kernel) / units(report), "user_us": user, "kernel_us": kernel, **report}
    measures["per_second"] = units(report) / report["seconds"]
    bench.figures.put(turn, group, scenario, contender.name, measures)


def most_threads(bench, group, scenario, contender, flags):
    """While tunnels are busy; a worker lives for seconds, so looking now and then does not miss it."""
    flags = {"idle": THREADS_IDLE, "busy": THREADS_BUSY, "seconds": bench.options.seconds} | flags
    with started([contender]), loads.tunnels(contender.port, bench.token, **flags) as load:
        seen = [readings.threads(contender.process)]
        loads.go(load)
        while not select.select([load.stdout], [], [], 0.02)[0]:
            seen.append(readings.threads(contender.process))
        seen.append(readings.threads(contender.process))
        loads.result(load)
    most = zip(("threads", "iou_wrk_threads"), map(max, zip(*seen)))
    bench.figures.put(0, group, scenario, contender.name, dict(most))


def named(size):
    return f"{size // MIB} MiB" if size % MIB == 0 else f"{size // KIB} KiB" if size % KIB == 0 else f"{size} bytes"
