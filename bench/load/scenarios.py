"""Requests as fast as they go: what each scenario asks, whom, and how the gateway is set up for it."""
from dataclasses import dataclass, field

import loads
import readings
from contenders import BODIES, SMALL
from machine import Failed

# Limits that are asked about and never reached.
WIDE = {"RATE_LIMIT_RPS": "1000000", "RATE_LIMIT_BURST": "1000000"}
REDIS = WIDE | {"RATE_LIMIT_STORE": "redis"}
# An empty bucket that fills again in a thousand seconds.
EMPTY = {"RATE_LIMIT_STORE": "redis", "RATE_LIMIT_RPS": "0.001", "RATE_LIMIT_BURST": "1"}
# Formatting and handing over lines is counted, the disk is not.
LOGGED = {"ACCESS_LOG": "/dev/null"}
PROXIES = ("nginx", "haproxy", "floor")
MIB = 1024 * 1024
# A share of the requests that passed because Redis was late: above it the figure is not that of the full gateway.
UNLIMITED_MAX = 0.01
# Contenders that let everything pass: they answer 200 where the gateway refuses.
ASK_NOBODY = ("nginx", "nginx-64k", "haproxy", "haproxy-64k", "floor")


@dataclass(frozen=True)
class Scenario:
    group: str
    name: str
    rivals: tuple
    connections: int = 64
    path: str = "/public/small"
    with_token: bool = False
    closes: bool = False
    upload: bool = False
    status: int = 200  # of whoever asks for tokens and limits
    body_bytes: int = len(SMALL)
    per: str = "request"  # what CPU time is divided by
    settings: dict = field(default_factory=dict)  # of the gateway
    is_quick: bool = False

    def request(self, contender, token):
        fields = (("Authorization", f"Bearer {token}"),) if self.with_token else ()
        fields += (("Connection", "close"),) if self.closes else ()
        status = 200 if contender.name in ASK_NOBODY else self.status
        body_bytes = self.body_bytes if status == 200 else None
        return loads.Request(self.path, fields, self.upload, status, body_bytes)


def protected(group, name, connections, *rivals, **rest):
    rest = {"with_token": True} | rest
    return Scenario(group, name, ("nginx", *rivals), connections, "/api/small", **rest)


def sized(group, name, body, **rest):
    return Scenario(group, name, PROXIES, path=f"/public/{body}", body_bytes=BODIES[body], **rest)


SCENARIOS = (
    Scenario("plain", "plain, 1 connection", PROXIES, 1),
    Scenario("plain", "plain, 8 connections", PROXIES, 8, is_quick=True),
    Scenario("plain", "plain, 64 connections", PROXIES, 64, is_quick=True),
    Scenario("plain", "plain, 512 connections", PROXIES, 512),
    # The floor is none here: it connects upstream for every client.
    Scenario("connect", "a connection per request", ("nginx", "haproxy"), 64, closes=True),
    protected("jwt", "JWT, 8 connections", 8, "haproxy-jwt"),
    protected("jwt", "JWT, 64 connections", 64, "haproxy-jwt"),
    protected("memory-limit", "JWT and limit in memory", 64, settings=WIDE | {"RATE_LIMIT_STORE": "memory"}),
    protected("full", "full, 8 connections", 8, "haproxy-jwt", settings=REDIS, is_quick=True),
    protected("full", "full, 64 connections", 64, "haproxy-jwt", settings=REDIS, is_quick=True),
    protected("full-log", "full with access log, 8 connections", 8, settings=REDIS | LOGGED),
    protected("full-log", "full with access log, 64 connections", 64, settings=REDIS | LOGGED, is_quick=True),
    protected("401", "401", 64, "haproxy-jwt", with_token=False, status=401, settings=REDIS, is_quick=True),
    protected("401", "401, without a limit", 64, "haproxy-jwt", with_token=False, status=401),
    protected("429", "429 from known-empty memory", 64, status=429, settings=EMPTY, is_quick=True),
    sized("16k", "16 KiB responses", "16k", is_quick=True),
    sized("1m", "1 MiB responses, 16 connections", "1m", connections=16, per="MiB", is_quick=True),
    Scenario("upload", "64 KiB uploads", PROXIES, path="/public/upload", upload=True, body_bytes=None),
)
# What is measured at 64 connections here is a contender's capacity for the scenarios at a fixed rate.
CAPACITY = next(one for one in SCENARIOS if one.name == "plain, 64 connections")
FULL = next(one for one in SCENARIOS if one.name == "full, 64 connections")


def run(bench, group):
    for scenario in SCENARIOS:
        if scenario.group == group and (scenario.is_quick or not bench.options.quick):
            interleave(bench, scenario, bench.options.rounds)


def interleave(bench, scenario, rounds):
    """A B C A B C: what disturbs a round disturbs all of them."""
    with bench.running(contenders_of(bench, scenario)) as contenders:
        usable = [one for one in contenders if bench.attempt(ready, bench, one, scenario, who=one.name)]
        for turn in range(rounds):
            for contender in usable:
                bench.attempt(measure, bench, contender, scenario, turn, who=contender.name)
    bench.progress(scenario.group, scenario.name, f"cpu_us_per_{scenario.per}")


def contenders_of(bench, scenario):
    rivals = scenario.rivals
    if bench.options.quick and scenario.group != "plain":
        rivals = ("nginx",)
    if scenario.group == "1m":
        rivals = (*rivals, "nginx-64k")
    return bench.chosen([*map(bench.line.rival, rivals), *bench.line.gateways(scenario.settings)])


def ready(bench, contender, scenario):
    loads.probe(contender.port, scenario.request(contender, bench.token))
    return True


def measure(bench, contender, scenario, turn):
    request = scenario.request(contender, bench.token)
    unlimited = passed_unlimited(contender, scenario)
    before = readings.cpu_us(contender.process)
    counted = loads.wrk(contender.port, request, scenario.connections, bench.options.seconds, bench.wrk_threads)
    user, kernel = (after - then for after, then in zip(readings.cpu_us(contender.process), before))
    loads.rest()
    counted.check(request.status)
    if counted.socket_errors:
        bench.note(f"{scenario.name}, {contender.name}: socket errors: {counted.socket_errors}")
    unlimited = passed_unlimited(contender, scenario) - unlimited
    if unlimited > counted.requests * UNLIMITED_MAX:
        bench.note(f"{scenario.name}, {contender.name}: {unlimited} of {counted.requests} passed without a limit")
    units = counted.requests * (scenario.body_bytes / MIB if scenario.per == "MiB" else 1)
    measures = {
        f"cpu_us_per_{scenario.per}": (user + kernel) / units,
        "user_us": user,
        "kernel_us": kernel,
        "requests": counted.requests,
        "seconds": counted.seconds,
        "per_second": units / counted.seconds,
    }
    if scenario.settings.get("RATE_LIMIT_STORE") == "redis" and contender.is_gateway:
        measures["passed_unlimited"] = unlimited
    bench.figures.put(turn, scenario.group, scenario.name, contender.name, measures)


def passed_unlimited(contender, scenario):
    """Requests that Redis was too late for. They cost less, and are no requests of the full gateway."""
    if not contender.is_gateway or scenario.settings.get("RATE_LIMIT_STORE") != "redis":
        return 0
    return readings.metric(contender.admin_port, "realchat_gateway_limit_unlimited_")


def capacity(bench, name):
    """Requests per second at 64 connections, of this run: as measured before, or else in a glance now."""
    rate = lambda: bench.figures.median(CAPACITY.group, CAPACITY.name, name, "per_second")
    if rate() is None:
        interleave(bench, CAPACITY, 1)
    if rate() is None:
        raise Failed(f"the capacity of {name} is not known")
    return rate()
