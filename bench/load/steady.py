"""Requests at a fixed rate: latency that a slow answer cannot hide from, and what a second core costs."""
import contextlib
import os

import loads
import readings
from machine import Failed
from scenarios import CAPACITY, FULL, PROXIES, capacity

CONNECTIONS = 64
# Connections are made and caches filled by then.
WARM_UP_SECONDS, QUICK_WARM_UP_SECONDS = 1.0, 0.3
LATENCIES = ("p50", "p90", "p99", "p999", "max")
RATE, CORES = "fixed rate", "one core and two"
ONE_CORE, TWO_CORES = "gateway-1-core", "gateway-2-cores"
# Beside the rest at the fixed rate: a token is verified, and Redis is asked.
FULL_GATEWAY = "gateway-full"


def rate(bench, group):
    """All of them at half of what the slowest can do: it is the same work for each, and none is near its limit."""
    contenders = bench.chosen([*map(bench.line.rival, PROXIES), *bench.line.gateways({})])
    asked = half_of_the_slowest(bench, contenders)
    bench.note(f"{RATE}: {asked} requests/s, half of the slowest contender's capacity at 64 connections in this run")
    full = bench.chosen([bench.line.gateway(FULL_GATEWAY, FULL.settings)])
    with bench.running([*contenders, *full]) as contenders:
        for turn in range(bench.options.rounds):
            for contender in contenders:
                bench.attempt(measure, bench, contender, asked, turn, group, RATE, who=contender.name)
    bench.progress(group, RATE, "p99_us")


def cores(bench, group):
    """The same requests per second on one core and on two, so that as many of them come together."""
    two = bench.cpus.everything[:2]
    if len(two) < 2:
        raise Failed("a second core needs a second CPU")
    names = {ONE_CORE: two[:1], TWO_CORES: two}
    contenders = [bench.line.gateway(name, {}, cpus) for name, cpus in names.items()]
    asked = half_of_the_slowest(bench, bench.chosen([*map(bench.line.rival, PROXIES), *bench.line.gateways({})]))
    # Apart from both if there is room, else beside the second core: for both the same.
    with on_cpus(bench.cpus.everything[2:] or two[1:]), bench.running(contenders) as contenders:
        for turn in range(bench.options.rounds):
            for contender in contenders:
                bench.attempt(measure, bench, contender, asked, turn, group, CORES, who=contender.name)
    bench.progress(group, CORES, "cpu_us_per_request")


def half_of_the_slowest(bench, contenders):
    return int(min(capacity(bench, contender.name) for contender in contenders) / 2)


def measure(bench, contender, asked, turn, group, scenario):
    asks = FULL if contender.name == FULL_GATEWAY else CAPACITY
    request = asks.request(contender, bench.token)
    loads.probe(contender.port, request)
    seconds, warm_up = bench.options.seconds, QUICK_WARM_UP_SECONDS if bench.options.quick else WARM_UP_SECONDS
    with loads.at_rate(contender.port, request, asked, CONNECTIONS, seconds, warm_up) as load:
        loads.rest(warm_up)
        before = readings.cpu_us(contender.process)
        report = loads.result(load)
        user, kernel = (after - then for after, then in zip(readings.cpu_us(contender.process), before))
    check(report)
    measures = {f"{name}_us": report["latency_us"][name] for name in LATENCIES}
    measures |= {f"generator_{name}_us": report["generator_us"][name] for name in LATENCIES}
    measures |= {f"uncorrected_{name}_us": report["uncorrected_us"][name] for name in LATENCIES}
    measures |= {
        "cpu_us_per_request": (user + kernel) / report["requests"],
        "user_us": user,
        "kernel_us": kernel,
        "requests": report["requests"],
        "seconds": report["seconds"],
        "per_second": report["rate"],
        "asked_per_second": asked,
    }
    bench.figures.put(turn, group, scenario, contender.name, measures)


def check(report):
    if report["errors"] or report["unexpected_status"]:
        raise Failed(f"{report['errors']} errors, {report['unexpected_status']} answers that were not 200")
    if not report["requests"]:
        raise Failed("no request came through")


@contextlib.contextmanager
def on_cpus(cpus):
    """Where this process, and what it starts, runs meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
