#!/usr/bin/env python3
"""How many instructions the steps of a request take, counted by callgrind and compared with `instructions.csv`.

    bench/micro/instructions.py             # builds, counts, compares; exit code 1: a step takes 5 % more, or is gone
    bench/micro/instructions.py --accept    # writes what was counted as what is expected from now on
    bench/micro/instructions.py --check     # tries the comparison itself on a few made-up numbers

A count does not depend on the machine's mood, but on the compiler, and on what the CPU offers to memchr, memcpy and
SHA-256: the header of the CSV says where it was made. valgrind is installed where it is missing (Debian and Ubuntu,
as root or with sudo); SKIP_INSTALL=1 installs nothing.
"""

import argparse
import csv
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "instructions.csv"
PROGRAM = HERE / "target" / "release" / "instructions"
# The program's function in which instructions count.
COUNTED = "instructions::counted"
# How often a case runs each time, as `main.rs` has it.
TURNS = 1_000
# A rise over this is reported, in percent.
RISE_PERCENT_MAX = 5.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="write the baseline instead of comparing with it")
    parser.add_argument("--check", action="store_true", help="try the comparison itself")
    arguments = parser.parse_args()
    if arguments.check:
        return check()
    install()
    subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "instructions"], cwd=HERE, check=True)
    counts = count()
    if arguments.accept:
        write(counts)
        print(f"{BASELINE.relative_to(HERE.parent.parent)}: {len(counts)} cases")
        return 0
    expected, made_with = read()
    lines, wrong = compare(expected, counts)
    print("\n".join(lines))
    for name in (name for name, version in versions().items() if made_with.get(name) != version):
        print(f"{name} is another one here than where the baseline was made: {made_with.get(name)}")
    for what in wrong:
        print(what, file=sys.stderr)
    return 1 if wrong else 0


def install():
    """Gets valgrind where it is missing."""
    if shutil.which("valgrind"):
        return
    may = shutil.which("apt-get") and (os.geteuid() == 0 or shutil.which("sudo"))
    if os.environ.get("SKIP_INSTALL") or not may:
        sys.exit("valgrind is needed: install it with your package manager")
    print("installing valgrind (apt-get)")
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*as_root, "apt-get", "update", "-qq"], check=True)
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    subprocess.run([*as_root, *quiet, "valgrind"], check=True)


def count():
    """Instructions of one turn of each pure case. Each has a process of its own: what another has left on the heap
    would show in it."""
    names = subprocess.run([PROGRAM], check=True, capture_output=True, text=True).stdout.split()
    return {name: count_one(name) for name in names}


def count_one(name):
    """Every time that the program leaves its function, callgrind writes what it has seen since: once for each time that
    the case was prepared. The median is without the chance that two keys of a map meet."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no"]
        # In this order: the other way round valgrind 3.19 forgets the first for a name with a wildcard.
        command += [f"--dump-after={COUNTED}", f"--toggle-collect={COUNTED}", str(PROGRAM), name]
        told = subprocess.run(command, capture_output=True, text=True)
        totals = [total(dump.read_text()) for dump in Path(folder).glob("out.*")]
    if told.returncode or not totals or min(totals) < TURNS:
        sys.exit(f"{name}: callgrind has counted nothing:\n{told.stderr}")
    return statistics.median(totals) / TURNS


def total(dump):
    return int(re.search(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE).group(1))


def compare(expected, counts):
    """The table, and what is wrong."""
    width = max(map(len, expected | counts))
    lines, wrong = [f"{'case':{width}}  {'baseline':>9}  {'now':>9}  {'change':>8}"], []
    for name in [*counts, *(name for name in expected if name not in counts)]:
        before, now = expected.get(name), counts.get(name)
        change = None if before is None or now is None else (now / before - 1) * 100
        cells = [f"{number:9.1f}" if number is not None else f"{'-':>9}" for number in (before, now)]
        lines.append(f"{name:{width}}  {'  '.join(cells)}  {'-' if change is None else f'{change:+.1f} %':>8}")
        if now is None:
            wrong.append(f"{name}: it is not counted any more; --accept forgets it")
        elif change is not None and change > RISE_PERCENT_MAX:
            wrong.append(f"{name}: {change:.1f} % more instructions than expected")
    return lines, wrong


def versions():
    first = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    return {"rustc": first("rustc", "--version"), "valgrind": first("valgrind", "--version"), "cpu": cpu()}


def cpu():
    """The CPU's name, where the machine tells it."""
    known = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return known.group(1).strip() if known else os.uname().machine


def write(counts):
    with BASELINE.open("w", newline="") as file:
        file.writelines(f"# {name}: {version}\n" for name, version in versions().items())
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["case", "instructions"])
        rows.writerows([name, f"{number:.1f}"] for name, number in counts.items())


def read():
    """What is expected, and with what it was made."""
    if not BASELINE.exists():
        sys.exit(f"there is no {BASELINE}: make it with --accept")
    lines = BASELINE.read_text().splitlines()
    made_with = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["case"]: float(row["instructions"]) for row in rows}, made_with


def check():
    """A rise is told by name, a fall and a new case are not, and neither is a rise that is small."""
    expected = {"same": 100.0, "risen": 100.0, "a little": 100.0, "fallen": 100.0, "gone": 100.0}
    lines, wrong = compare(expected, {"same": 100.0, "risen": 105.1, "a little": 104.9, "fallen": 50.0, "new": 9.0})
    assert len(lines) == 7, lines
    assert [what.split(":")[0] for what in wrong] == ["risen", "gone"], wrong
    assert total("events: Ir\nfn=(1)\n1 5\n\ntotals: 5012\n") == 5012
    print("the comparison tells what it should")
    return 0


if __name__ == "__main__":
    sys.exit(main())
