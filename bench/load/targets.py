"""What the gateway should reach, and whether it did in this run."""
import statistics
from dataclasses import dataclass

import idle
import steady


@dataclass(frozen=True)
class Target:
    """A figure of the gateway at most so high: its ratio to a rival in the same round, or by itself."""

    figure: str
    group: str
    scenario: str
    at_most: float
    measure: str = "cpu_us_per_request"
    rival: str = "nginx"  # None: the figure itself
    ours: str = "gateway"

    def measured(self, figures):
        """The median over the rounds, or None."""
        if not self.rival:
            return figures.median(self.group, self.scenario, self.ours, self.measure)
        ratios = figures.ratios(self.group, self.scenario, self.ours, self.rival, self.measure)
        return statistics.median(ratios) if ratios else None


CPU = "CPU per request ÷ nginx plain"
TARGETS = (
    Target(f"plain proxying, 64 connections: {CPU}", "plain", "plain, 64 connections", 0.80),
    Target(f"plain proxying, 8 connections: {CPU}", "plain", "plain, 8 connections", 0.95),
    Target(f"JWT + Redis limit, 64 connections: {CPU}", "full", "full, 64 connections", 1.0),
    Target(f"JWT + Redis limit, 8 connections: {CPU}", "full", "full, 8 connections", 1.4),
    Target(f"the same with access log, 64: {CPU}", "full-log", "full with access log, 64 connections", 1.1),
    Target(f"401: {CPU}", "401", "401", 0.55),
    Target(f"429 from known-empty memory: {CPU}", "429", "429 from known-empty memory", 0.55),
    Target(f"16 KiB responses: {CPU}", "16k", "16 KiB responses", 0.85),
    Target("1 MiB responses: CPU per MiB ÷ nginx", "1m", "1 MiB responses, 16 connections", 0.6, "cpu_us_per_MiB"),
    Target("fixed rate: p99 ÷ nginx", "rate", steady.RATE, 1.0, "p99_us"),
    Target("idle process with 2 cores: resident MiB", "memory", f"{idle.PROCESS}, 2 cores", 20, "rss_mib", None),
    Target(f"per idle keep-alive connection, first {idle.CONNECTIONS}: KiB of user space", "memory",
           f"{idle.CONNECTION}: of the first {idle.CONNECTIONS}", 1.0, "user_kib_each", None),
    Target(f"per idle keep-alive connection, {idle.FURTHER}: KiB of user space", "memory",
           f"{idle.CONNECTION}: {idle.FURTHER}", 1.0, "user_kib_each", None),
    Target("CPU per request on 2 cores ÷ on 1 core", "cores", steady.CORES, 1.05,
           rival=steady.ONE_CORE, ours=steady.TWO_CORES),
    Target(f"per idle tunnel, first {idle.CONNECTIONS}: KiB of user space", "ws-idle",
           f"{idle.TUNNEL}: of the first {idle.CONNECTIONS}", 2.0, "user_kib_each", None),
    Target("64 busy tunnels: CPU per message ÷ nginx", "ws-busy", "64 busy", 1.0, "cpu_us_per_message"),
    Target("origin → client, 1 MiB frames: CPU per MiB ÷ haproxy", "ws-bulk", "origin → client, 1 MiB frames", 0.6,
           "cpu_us_per_MiB", "haproxy"),
    Target("client → origin, 1 MiB frames: CPU per MiB ÷ haproxy", "ws-bulk", "client → origin, 1 MiB frames", 0.6,
           "cpu_us_per_MiB", "haproxy"),
)  # fmt: skip

# Nothing that a run could measure: a test counts them.
ALLOCATIONS = "cargo test --test allocations"


def verdict(measured, at_most):
    """Of the figure as it was measured, not as it is printed."""
    if measured is None:
        return "**not measured**"
    return "met" if measured <= at_most else "**missed**"


def of_groups(groups, is_quick):
    """A glance leaves out the long way to 4,500 connections, and its target with it."""
    left_out = idle.FURTHER if is_quick else None
    return [one for one in TARGETS if one.group in groups and not (left_out and left_out in one.scenario)]
