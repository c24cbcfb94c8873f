#!/usr/bin/env python3
"""WebSocket tunnels through the gateway, nginx and HAProxy, interleaved, one core each: memory and CPU time.

    cargo build --release && bench/load/ws.py --out FOLDER [--rounds 5] [--seconds 4] [--only memory,echo,bulk,threads]

Needs nginx, haproxy and two CPUs: the proxy under test runs on the first, both ends (bench/ws) on the second. What is
printed, and written to FOLDER/summary.md, is the median over the rounds, and the median of the ratios *within a round*:
on a shared machine only the ratio means something. FOLDER/raw.csv has every figure of every round.
"""
import argparse
import contextlib
import csv
import json
import os
import platform
import resource
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time

import readings
from contenders import DIRECT, ORIGIN_PORT, Failed, Line, listens
from tables import Row, tables, targets_table, threads_table

PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ws")
ENDS = f"{PACKAGE}/target/release/ws"
KIB, MIB = 1024, 1024 * 1024
MESSAGE_BYTES = 100
# The mix in which no kernel worker may show up.
THREADS_IDLE, THREADS_BUSY = 500, 50
# From the last handshake to a reading of memory: what the kernel frees late is gone by then.
SETTLE_SECONDS = 1.0
# After a load: the proxy says goodbye to its tunnels on the CPU that the next contender is measured on.
GOODBYE_SECONDS = 0.3
WAYS = {"down": "origin → client", "up": "client → origin"}
# (scenario, rival or None for the figure itself, at most)
TARGETS = (
    ("1000 idle, user space", None, 2.0),
    ("4500 idle, user space", None, 2.0),
    ("64 busy", "nginx", 1.0),
    (f"{WAYS['down']}, 1 MiB frames", "haproxy", 0.6),
    (f"{WAYS['up']}, 1 MiB frames", "haproxy", 0.6),
)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.sched_setaffinity(0, {1})  # inherited by both ends; what runs elsewhere says so
    os.makedirs(options.out, exist_ok=True)
    subprocess.check_call(["cargo", "build", "--release", "--quiet", "--locked"], cwd=PACKAGE)
    with tempfile.TemporaryDirectory() as directory, open(f"{options.out}/raw.csv", "w", encoding="utf-8") as raw:
        os.chmod(directory, 0o755)
        bench = Bench(options, Line(directory, options.gateway, options.variant), raw)
        summary = describe(options, bench, bench.run())
    print(summary)
    with open(f"{options.out}/summary.md", "w", encoding="utf-8") as file:
        file.write(summary)


def arguments():
    def numbers(text):
        return [int(number) for number in text.split(",")]

    def words(text):
        return text.split(",")

    def variant(text):
        name, _, settings = text.partition(":")
        return f"gateway-{name}", dict(setting.split("=", 1) for setting in settings.split(","))

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--out", required=True, help="folder of summary.md and raw.csv")
    add("--gateway", default="target/release/realchat-gateway")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=4, help="of every measurement of CPU time")
    add("--only", type=words, default=["memory", "echo", "bulk", "threads"], help="which groups of scenarios")
    add("--contenders", type=words, help="which of them; all if not said")
    add("--idle", type=numbers, default=[1000, 4500], help="tunnels of the memory scenarios")
    add("--busy", type=numbers, default=[1, 64, 100, 1000], help="tunnels of the echo scenarios")
    add("--frames", type=numbers, default=[4 * KIB, 64 * KIB, MIB], help="bytes of a bulk frame")
    add("--directions", type=words, default=["down", "up"], help="bulk from the origin (down), from the client (up)")
    add("--bulk-tunnels", type=int, default=4)
    add("--variant", type=variant, action="append", default=[], metavar="NAME:KEY=VALUE[,KEY=VALUE]",
        help="one more gateway in every round, with this environment")  # fmt: skip
    options = parser.parse_args()
    options.variant = dict(options.variant)
    return options


class Bench:
    def __init__(self, options, line, raw):
        self.options, self.line = options, line
        self.token, self.notes = line.token(), []
        self.file, self.raw = raw, csv.writer(raw)
        self.raw.writerow(("round", "scenario", "contender", "measure", "value"))

    def run(self):
        origin = subprocess.Popen([ENDS, "origin", "--listen", f"127.0.0.1:{ORIGIN_PORT}"])
        try:
            if not listens(ORIGIN_PORT, origin):
                sys.exit("the origin does not listen")
            usable = [contender for contender in self.line.contenders if self.is_usable(contender)]
            groups = {"memory": self.memory, "echo": self.echo, "bulk": self.bulk, "threads": self.threads}
            return {group: groups[group]([one for one in usable if group in one.groups]) for group in self.options.only}
        finally:
            origin.terminate()
            origin.wait(timeout=20)

    def is_usable(self, contender):
        """Whether it lets a tunnel through. A gateway built before it had tunnels does not: no reason to stop."""
        if self.options.contenders and contender.name not in self.options.contenders:
            return False
        try:
            with started([contender]), self.tunnels(contender, busy=1, seconds=0.05) as load:
                measured(load)
            return True
        except (Failed, OSError) as why:
            self.note(f"{contender.name} is left out: {why}")
            return False

    def memory(self, contenders):
        rows = []
        for tunnels in self.options.idle:
            user = Row(f"{tunnels} idle, user space", "KiB per tunnel")
            kernel = Row(f"{tunnels} idle, kernel", "KiB per tunnel")
            for turn in range(self.options.rounds):
                # Both ends hold sockets, too: what they cost without a proxy is taken off.
                ends = self.attempt(self.growth, DIRECT, tunnels, turn)
                for contender in contenders:
                    grown = self.attempt(self.growth, contender, tunnels, turn)
                    if grown:
                        user.put(contender, turn, grown["user"] / tunnels / KIB)
                    if grown and ends and grown["kernel"] is not None:
                        kernel.put(contender, turn, (grown["kernel"] - ends["kernel"]) / tunnels / KIB)
            rows += [user, kernel]
            self.progress(rows[-2:])
        return rows + self.each_further(contenders, rows[::2])

    def each_further(self, contenders, users):
        """Without what a fresh process takes once, with its first tunnels: pools, tables."""
        few, many = self.options.idle[0], self.options.idle[-1]
        row = Row(f"each further one, {few} to {many} idle, user space", "KiB per tunnel")
        for contender in contenders if many > few else []:
            fewer, more = (user.values.get(contender.name, {}) for user in (users[0], users[-1]))
            for turn in fewer.keys() & more.keys():
                row.put(contender, turn, (more[turn] * many - fewer[turn] * few) / (many - few))
        return [row] if row.values else []

    def growth(self, contender, tunnels, turn):
        """From a fresh process with one tunnel to so many more, idle, that have spoken once."""
        with started([contender]), self.tunnels(contender, idle=1) as first:
            time.sleep(SETTLE_SECONDS)
            before = readings.memory(contender.process)
            with self.tunnels(contender, idle=tunnels) as load:
                time.sleep(SETTLE_SECONDS)
                after = readings.memory(contender.process)
                alive(load)
            alive(first)
        growth = {name: None if before[name] is None else after[name] - before[name] for name in before}
        self.record(turn, f"{tunnels} idle", contender, growth)
        return growth

    def echo(self, contenders):
        rows = []
        with started(contenders):
            for busy in self.options.busy:
                row = Row(f"{busy} busy", "µs per message")
                flags = {"busy": busy, "bytes": MESSAGE_BYTES}
                rows.append(self.interleave(row, contenders, flags, lambda report: report["messages"]))
        return rows

    def bulk(self, contenders):
        rows = []
        with started(contenders):
            for way in self.options.directions:
                for size in self.options.frames:
                    row = Row(f"{WAYS[way]}, {named(size)} frames", "µs per MiB")
                    flags = {"busy": self.options.bulk_tunnels, "traffic": way, "bytes": size}
                    rows.append(self.interleave(row, contenders, flags, lambda report: report["bytes"] / MIB))
        return rows

    def interleave(self, row, contenders, flags, units):
        """A B C A B C: what disturbs a round disturbs all of them."""
        for turn in range(self.options.rounds):
            for contender in contenders:
                cost = self.attempt(self.cost, contender, flags, units, row.scenario, turn)
                if cost is not None:
                    row.put(contender, turn, cost)
        self.progress([row])
        return row

    def cost(self, contender, flags, units, scenario, turn):
        """Microseconds of CPU per unit of what came through."""
        with self.tunnels(contender, seconds=self.options.seconds, **flags) as load:
            before = readings.cpu_us(contender.process)
            report = measured(load)
            user, kernel = (after - then for after, then in zip(readings.cpu_us(contender.process), before))
        self.record(turn, scenario, contender, {"user_us": user, "kernel_us": kernel, **report})
        return (user + kernel) / units(report)

    def threads(self, contenders):
        rows = []
        mixes = {"messages": {}} | {f"1 MiB frames {WAYS[way]}": {"traffic": way, "bytes": MIB} for way in WAYS}
        for name, flags in mixes.items():
            row = Row(f"{THREADS_IDLE} idle, {THREADS_BUSY} busy with {name}", "threads")
            for contender in contenders:
                most = self.attempt(self.most_threads, contender, flags)
                if most:
                    row.put(contender, 0, most)
                    self.record(0, row.scenario, contender, dict(zip(("threads", "iou_wrk"), most)))
            rows.append(row)
        return rows

    def most_threads(self, contender, flags):
        """While tunnels are busy; a worker lives for seconds, so looking now and then does not miss it."""
        flags = {"idle": THREADS_IDLE, "busy": THREADS_BUSY, "seconds": self.options.seconds} | flags
        with started([contender]), self.tunnels(contender, **flags) as load:
            seen = [readings.threads(contender.process)]
            go(load)
            while not select.select([load.stdout], [], [], 0.02)[0]:
                seen.append(readings.threads(contender.process))
            seen.append(readings.threads(contender.process))
            result(load)
        return tuple(map(max, zip(*seen)))

    @contextlib.contextmanager
    def tunnels(self, contender, **flags):
        """A load whose tunnels are open, and which waits for a word."""
        command = [ENDS, "load", "--to", f"127.0.0.1:{contender.port}", "--token", self.token, "--stepped", "true"]
        command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        pipe = subprocess.PIPE
        load = subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            result(load)
            yield load
        finally:
            with contextlib.suppress(BrokenPipeError):
                load.stdin.close()
            load.terminate()
            load.wait(timeout=20)
            time.sleep(GOODBYE_SECONDS)

    def attempt(self, measurement, contender, *rest):
        try:
            return measurement(contender, *rest)
        except Failed as why:
            self.note(f"{contender.name}: a measurement failed: {why}")
            return None

    def record(self, turn, scenario, contender, measures):
        self.raw.writerows((turn + 1, scenario, contender.name, name, value) for name, value in measures.items())
        self.file.flush()

    def note(self, text):
        print(text, file=sys.stderr)
        self.notes.append(text)

    def progress(self, rows):
        for row in rows:
            medians = ", ".join(f"{name} {row.median(name):.2f}" for name in row.values)
            print(f"{row.scenario}, {row.unit}: {medians}", file=sys.stderr)


@contextlib.contextmanager
def started(contenders):
    try:
        for contender in contenders:
            contender.start()
        yield
    finally:
        for contender in contenders:
            contender.stop()


def measured(load):
    go(load)
    return result(load)


def go(load):
    with contextlib.suppress(BrokenPipeError):  # it has ended, and the result will say why
        load.stdin.write("\n")
        load.stdin.flush()


def result(load):
    line = load.stdout.readline()
    if not line:
        raise Failed(load.stderr.read().strip() or "the load ended without a word")
    return json.loads(line)


def alive(load):
    if load.poll() is not None:
        raise Failed(load.stderr.read().strip())


def describe(options, bench, rows):
    titles = {
        "memory": "Memory per idle tunnel",
        "echo": f"CPU time per relayed message of {MESSAGE_BYTES} bytes (an echo is two)",
        "bulk": f"CPU time per MiB, {options.bulk_tunnels} tunnels",
        "threads": "Most threads seen",
    }
    text = [
        f"- Machine: {os.cpu_count()} CPUs, Linux {platform.release().split('-')[0]}",
        f"- Versions: {version('nginx', '-v')}; {version('haproxy', '-v')}",
        f"- Command: `bench/load/{shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]])}`",
    ]
    for group, those in rows.items():
        text += ["", f"## {titles[group]}", "", *(threads_table(those) if group == "threads" else tables(those))]
    text += ["", "## Targets", "", *targets_table([row for those in rows.values() for row in those], TARGETS)]
    if bench.notes:
        text += ["", "## Notes of the run", "", *(f"- {note}" for note in dict.fromkeys(bench.notes))]
    return "\n".join(text) + "\n"


def version(program, flag):
    out = subprocess.run([program, flag], capture_output=True, text=True)
    words = (out.stdout + out.stderr).splitlines()[0]
    return words.removeprefix("nginx version: ").removesuffix(" - https://haproxy.org/")


def named(size):
    return f"{size // MIB} MiB" if size % MIB == 0 else f"{size // KIB} KiB" if size % KIB == 0 else f"{size} bytes"


if __name__ == "__main__":
    main()
