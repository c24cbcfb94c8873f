#!/usr/bin/python3
"""The benchmark suite behind scripts/bench: runs the groups of scenarios and writes the run's folder.

    scripts/bench --help
"""
import os
import re
import resource
import shlex
import signal
import sys
import tempfile
import time

import machine
import options as command_line
import report
from bench import Bench
from contenders import BENCH, ROOT, Line
from figures import Figures
from machine import Cpus, Mistake

# What scripts/bench installs and builds for a run.
NEEDS = ("nginx", "haproxy", "redis-server", "wrk", "matplotlib", "build")


def main(arguments):
    options = command_line.parse(arguments)
    if options.needs:
        print(*(() if options.instructions else NEEDS), sep="\n")  # counting looks after itself
    elif options.instructions:
        script = f"{BENCH}/micro/instructions.py"
        os.execv(sys.executable, [sys.executable, script, *["--accept"] * options.accept])
    else:
        measure(options, f"scripts/bench {shlex.join(arguments)}".strip())


def measure(options, command):
    began, load_before = time.monotonic(), machine.load_average()
    command_line.check(options)
    cpus = Cpus.of_this_process(options.cores)
    out = command_line.folder(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.sched_setaffinity(0, cpus.others)  # inherited by everything that does not say otherwise
    os.makedirs(out, exist_ok=True)
    print(f"writing to {os.path.relpath(out)}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, open(f"{out}/raw.csv", "w", encoding="utf-8", newline="") as raw:
        os.chmod(folder, 0o755)  # nginx's workers are somebody else
        line = Line(folder, options, cpus)
        bench = Bench(options, cpus, line, Figures(raw), line.token())
        with line.behind():
            for group in options.groups:
                bench.attempt(command_line.GROUPS[group], bench, group, who=group)
        told = report.facts(bench, command, load_before, drivers(folder))
    write(bench, out, told)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes: {os.path.relpath(out)}", file=sys.stderr)


def write(bench, out, told):
    import plots  # matplotlib is wanted by nobody but the end of a run

    summary = report.summary(bench, told)
    print(summary)
    texts = {"summary.md": summary, "README.md": report.readme(bench, told, plots.draw(bench.figures, out))}
    for name, text in texts.items():
        with open(f"{out}/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def drivers(folder):
    """What the gateway said about its cores when it last started."""
    try:
        with open(f"{folder}/gateway.words", encoding="utf-8", errors="replace") as words:
            found = re.search(r'cores="([^"]*)"', words.read())
    except OSError:
        return None
    return found and found[1]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Mistake as mistake:
        print(f"scripts/bench: {mistake}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("ended")
