"""summary.md and README.md of a run."""
import machine
import tables

TITLES = {
    "plain": "Plain proxying",
    "connect": "A connection per request",
    "jwt": "JWT",
    "memory-limit": "JWT and a limit in memory",
    "full": "The full gateway: JWT and a limit in Redis",
    "full-log": "The full gateway with its access log",
    "401": "401",
    "429": "429",
    "16k": "16 KiB responses",
    "1m": "1 MiB responses",
    "upload": "64 KiB uploads",
    "rate": "Latency at a fixed rate",
    "memory": "Memory",
    "cores": "One core and two",
    "ws-idle": "Idle WebSockets",
    "ws-busy": "Busy WebSockets: messages of 100 bytes (an echo is two)",
    "ws-bulk": "Busy WebSockets: large frames, 4 tunnels",
    "ws-threads": "Most threads seen",
}
PLOTS = {
    "overview.svg": "CPU time relative to nginx in the same round, a few scenarios",
    "cpu.svg": "CPU time relative to nginx in the same round",
    "latency.svg": "Latency at a fixed rate",
    "memory.svg": "Memory",
}


def facts(bench, command, load_before, drivers):
    """What has to be known to read the figures, a line each."""
    cpus, options = bench.cpus, bench.options
    binary = f"`{options.gateway}`" if options.is_foreign else f"commit {machine.commit(options.root)}"
    where = f"the proxies on CPU {words(cpus.proxies)}, everything else on CPU {words(cpus.others)}"
    return [
        f"Machine: {machine.cpu_model()}, {machine.count_of_cpus()} CPUs, {machine.memory_gib():.0f} GiB",
        f"Kernel: {machine.kernel()}",
        f"Versions: {'; '.join(machine.versions())}",
        f"Gateway: {binary}; drivers {drivers or 'not told'}",
        f"CPUs: {where}{' – **shared**, none was left' if cpus.shared else ''}",
        f"Rounds: {options.rounds} of {options.seconds:g} s for every contender, interleaved",
        f"Load average: {load_before} at the start, {machine.load_average()} at the end (this run is in it)",
        f"Command: `{command}`",
    ]


def summary(bench, told):
    figures = bench.figures
    text = [f"# {bench.options.title}", "", *(f"- {fact}" for fact in told)]
    text += ["", "## Targets", "", *tables.targets_table(figures, bench.options.groups, bench.options.quick)]
    for group in figures.groups():
        text += ["", f"## {TITLES[group]}", *tables.group_tables(figures, group)]
    text += ["", "Medians over the rounds; in brackets the ratio of every round."]
    if bench.notes:
        text += ["", "## Notes of the run", "", *(f"- {note}" for note in bench.notes)]
    return "\n".join(text) + "\n"


def readme(bench, told, drawn):
    """What somebody sees who opens the folder."""
    text = [f"# {bench.options.title}", ""]
    text += ["The gateway beside nginx, HAProxy and a floor on one machine, measured by `scripts/bench`."]
    text += ["`summary.md` has the targets and every table, `raw.csv` every figure of every round. What the figures"]
    text += ["mean, and what they do not tell, is in the README of `bench`.", ""]
    text += [*(f"- {fact}" for fact in told), ""]
    text += [*tables.targets_table(bench.figures, bench.options.groups, bench.options.quick)]
    for name in drawn:
        text += ["", f"![{PLOTS[name]}]({name})"]
    return "\n".join(text) + "\n"


def words(cpus):
    return ", ".join(map(str, cpus))
