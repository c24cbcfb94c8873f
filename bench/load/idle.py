"""Memory: of a process that does nothing, and of connections and tunnels that are open and silent."""
import contextlib

import loads
import readings
from contenders import started
from scenarios import REDIS

KIB, MIB = 1024, 1024 * 1024
CONNECTIONS, CONNECTIONS_MANY = 1000, 4500
# From the last byte to a reading: what is freed late is gone by then.
SETTLE_SECONDS = 1.0
PROCESS, CONNECTION, TUNNEL = "idle process", "idle keep-alive connection", "idle tunnel"
FURTHER = f"each further one, {CONNECTIONS} to {CONNECTIONS_MANY}"


def memory(bench, group):
    process(bench, group)
    request = loads.Request()
    opener = lambda contender, count: loads.idle_connections(contender, request, count)
    rivals = bench.chosen([bench.line.rival("nginx"), bench.line.rival("haproxy"), *bench.line.gateways({})])
    grow(bench, group, CONNECTION, rivals, opener)


def tunnels(bench, group):
    opener = lambda contender, count: loads.tunnels(contender.port, bench.token, idle=count)
    rivals = bench.chosen([bench.line.rival("nginx"), bench.line.rival("haproxy"), *bench.line.gateways({})])
    grow(bench, group, TUNNEL, rivals, opener, direct=bench.line.tunnels)


def process(bench, group):
    """With two cores (on a machine with one CPU: one); the gateway with all it has, a store in Redis too."""
    cpus = bench.cpus.everything[:2]
    scenario = f"{PROCESS}, {len(cpus)} cores"
    rivals = [bench.line.rival(name, cpus) for name in ("nginx", "haproxy")]
    for turn in range(bench.options.rounds_of_memory):
        for contender in bench.chosen([*rivals, *bench.line.gateways(REDIS, cpus)]):
            bench.attempt(resident, bench, contender, turn, group, scenario, who=contender.name)
    bench.progress(group, scenario, "rss_mib")


def resident(bench, contender, turn, group, scenario):
    with started([contender]):
        loads.rest(SETTLE_SECONDS)
        whole, own = (readings.resident_bytes(contender.process, kind) for kind in ("VmRSS", "RssAnon"))
    bench.figures.put(turn, group, scenario, contender.name, {"rss_mib": whole / MIB, "anonymous_mib": own / MIB})


def grow(bench, group, what, contenders, opener, direct=None):
    """`direct`: both ends of a tunnel hold sockets in the kernel, too. What they cost without a proxy is taken off."""
    for turn in range(bench.options.rounds_of_memory):
        ends = direct and bench.attempt(growth, bench, direct, opener, who=direct.name)
        for contender in contenders:
            grown = bench.attempt(growth, bench, contender, opener, who=contender.name)
            if grown:
                put(bench, turn, group, what, contender, grown, ends)
    for scenario in (one for one in bench.figures.scenarios(group) if one.startswith(what)):
        bench.progress(group, scenario, "user_kib_each")


def put(bench, turn, group, what, contender, grown, ends):
    previous, base = 0, {"user": 0, "kernel": 0}
    for count, bytes_now in grown.items():
        step = count - previous
        scenario = f"{what}: {f'of the first {count}' if not previous else FURTHER}"
        measures = {"user_kib_each": (bytes_now["user"] - base["user"]) / step / KIB}
        if ends and bytes_now["kernel"] is not None:
            own = bytes_now["kernel"] - base["kernel"] - (ends[count]["kernel"] - ends.get(previous, base)["kernel"])
            measures["kernel_kib_each"] = own / step / KIB
        bench.figures.put(turn, group, scenario, contender.name, measures)
        previous, base = count, {"user": bytes_now["user"], "kernel": bytes_now["kernel"] or 0}


def growth(bench, contender, opener):
    """Bytes from a fresh process with one connection to so many more, idle, that have spoken once."""
    counts = (CONNECTIONS,) if bench.options.quick else (CONNECTIONS, CONNECTIONS_MANY)
    grown, opened = {}, 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(started([contender]))
        loads_open = [stack.enter_context(opener(contender, 1))]
        loads.rest(SETTLE_SECONDS)
        before = readings.memory(contender.process)
        for count in counts:
            loads_open.append(stack.enter_context(opener(contender, count - opened)))
            opened = count
            loads.rest(SETTLE_SECONDS)
            after = readings.memory(contender.process)
            grown[count] = {name: None if before[name] is None else after[name] - before[name] for name in before}
        for load in loads_open:
            loads.alive(load)
    return grown
