"""The machine of a run: which CPUs belong to whom, what it is called, and which versions are on it."""
import os
import platform
import re
import subprocess
from dataclasses import dataclass


class Mistake(Exception):
    """An operator's: told in one line, exit code 2."""


class Failed(Exception):
    """A measurement that did not come off: it is told and left out."""


@dataclass(frozen=True)
class Cpus:
    """The proxy under test has the first CPUs of the process, everything else has the others."""

    proxies: tuple
    others: tuple
    shared: bool = False

    @property
    def everything(self):
        return tuple(sorted({*self.proxies, *self.others}))

    @classmethod
    def split(cls, usable, cores):
        usable = tuple(sorted(usable))
        if cores > len(usable):
            raise Mistake(f"--cores {cores}: this process may use {len(usable)} CPUs")
        others = usable[cores:]
        return cls(usable[:cores], others or usable, shared=not others)

    @classmethod
    def of_this_process(cls, cores):
        return cls.split(os.sched_getaffinity(0), cores)


def pinned(cpus, command):
    return ["taskset", "-c", ",".join(map(str, cpus)), *command]


def cpu_mask(cpus):
    """As nginx writes it: the lowest CPU stands last."""
    return "".join("1" if cpu in cpus else "0" for cpu in range(max(cpus), -1, -1))


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return models[0] if models else platform.machine()


def slug():
    """`2-cpus-amd-epyc`: what a run's folder is called after its date."""
    return slug_of(count_of_cpus(), cpu_model())


def slug_of(cpus, model):
    plain = re.sub(r"\((r|tm)\)|\bcpu\b|@.*", " ", model.lower())
    return f"{cpus}-cpus-{re.sub(r'[^a-z0-9]+', '-', plain).strip('-')}"


def count_of_cpus():
    return os.cpu_count()


def kernel():
    return f"{platform.system()} {platform.release()}"


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def load_average():
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


def versions():
    told = {
        "nginx": first_line("nginx", "-v").removeprefix("nginx version: "),
        "haproxy": first_line("haproxy", "-v").removesuffix(" - https://haproxy.org/"),
        "redis-server": re.sub(r" (sha|malloc)=.*", "", first_line("redis-server", "--version")),
        "wrk": re.sub(r" Copyright.*", "", first_line("wrk", "-v")),
        "rustc": first_line("rustc", "--version"),
    }
    return [line for line in told.values() if line]


def first_line(*command):
    try:
        out = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    lines = (out.stdout + out.stderr).strip().splitlines()
    return lines[0] if lines else ""


def commit(folder):
    """Of the gateway's sources, and whether they differ from it."""
    commit = first_line("git", "-C", folder, "rev-parse", "--short=12", "HEAD")
    changed = first_line("git", "-C", folder, "status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock")
    return f"{commit or 'unknown'}{', with changes' if changed else ''}"
