"""The command line of scripts/bench, and what is wrong with it."""
import argparse
import datetime
import importlib.util
import os
import shutil

import idle
import machine
import scenarios
import steady
import tunnels
from contenders import FLOOR, PORTS, ROOT, TUNNEL_ENDS, taken_port
from loads import HTTP_ENDS
from machine import Mistake

KIB, MIB = 1024, 1024 * 1024
# Name → what measures it. Those that a run without --only has come first.
GROUPS = {name: scenarios.run for name in dict.fromkeys(one.group for one in scenarios.SCENARIOS)}
GROUPS |= {"rate": steady.rate, "cores": steady.cores, "memory": idle.memory}
GROUPS |= {"ws-idle": idle.tunnels, "ws-busy": tunnels.busy}
USUAL = tuple(GROUPS)
GROUPS |= {"ws-bulk": tunnels.bulk, "ws-threads": tunnels.threads}
QUICK = ("plain", "full", "full-log", "401", "429", "16k", "1m", "rate", "cores", "memory", "ws-idle", "ws-busy")
CONTENDERS = ("nginx", "nginx-64k", "haproxy", "haproxy-jwt", "haproxy-64k", "haproxy-splice", "floor", "gateway")
GATEWAY = f"{ROOT}/target/release/realchat-gateway"
PROGRAMS = ("nginx", "haproxy", "redis-server", "wrk", "taskset")
ENDS = (HTTP_ENDS, TUNNEL_ENDS, FLOOR)
GROUPS_HELP = f"""\
groups of a usual run:  {' '.join(USUAL[:11])}
                        {' '.join(USUAL[11:])}
of --quick:             {' '.join(QUICK)}
only with --only:       ws-bulk ws-threads

A usual run takes about half an hour, --quick less than three minutes. bench/README.md tells what each figure means."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Mistake(message)


def parser():
    about = "Measures the gateway beside nginx, HAProxy and a floor on this machine."
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser("scripts/bench", None, about, GROUPS_HELP, formatter_class=layout, allow_abbrev=False)
    add = parser.add_argument
    add("--quick", action="store_true", help="a glance: fewer rounds and scenarios, a row for every target")
    add("--only", type=words, metavar="GROUP,…", help="these groups of scenarios")
    add("--rounds", type=number(int, 1, 1000), metavar="N", help="of every scenario (5; with --quick 3)")
    add("--seconds", type=number(float, 1, 3600), metavar="S", help="of every measurement (3; with --quick 1)")
    add("--cores", type=number(int, 1, 1024), default=1, metavar="N",
        help="of every proxy: the first N CPUs are theirs, the others the load's (1)")
    add("--out", metavar="FOLDER", help="where the run is written (bench/runs/DATE-MACHINE)")
    add("--gateway", default=GATEWAY, metavar="PATH", help="the binary to measure (the one of this folder, built anew)")
    add("--variant", type=variant, action="append", default=[], metavar="NAME:KEY=VALUE[,KEY=VALUE]",
        help="one more gateway in every round, with these settings; may be given several times")
    add("--contenders", type=words, metavar="NAME,…", help=f"only these: {', '.join(CONTENDERS)}, gateway-VARIANT")
    add("--frames", type=numbers, default=[4 * KIB, 64 * KIB, MIB], metavar="BYTES,…", help="frames of ws-bulk")
    add("--first-port", type=number(int, 1024, 65535 - PORTS), default=19000, metavar="PORT",
        help=f"of the {PORTS} that are used on the loopback (19000)")
    add("--instructions", action="store_true",
        help="nothing of this: counts instructions of the pure parts (bench/micro)")
    add("--accept", action="store_true", help="with --instructions: what was counted is the new measure")
    # For scripts/bench: what has to be there, a word a line.
    add("--needs", action="store_true", help=argparse.SUPPRESS)
    return parser


def parse(arguments):
    options = parser().parse_args(arguments)
    if options.accept and not options.instructions:
        raise Mistake("--accept goes with --instructions")
    options.groups = known("group", options.only, GROUPS) or list(QUICK if options.quick else USUAL)
    options.variant = dict(options.variant)
    gateways = [f"gateway-{name.removeprefix('gateway-')}" for name in options.variant]
    known("contender", options.contenders, [*CONTENDERS, *gateways])
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.rounds_of_memory = 1 if options.quick else min(options.rounds, 3)
    options.seconds = options.seconds or (1 if options.quick else 3)
    options.root, options.is_foreign = ROOT, options.gateway != GATEWAY
    options.date = datetime.date.today().isoformat()
    glance = ", a glance" if options.quick else ""
    options.title = f"{machine.cpu_model()}, {machine.count_of_cpus()} CPUs, {options.date}{glance}"
    return options


def check(options):
    """What has to be there before anything starts."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    missing += [path for path in (*ENDS, options.gateway) if not os.access(path, os.X_OK)]
    missing += [] if importlib.util.find_spec("matplotlib") else ["python3-matplotlib"]
    if missing:
        raise Mistake(f"missing: {', '.join(missing)} (without SKIP_INSTALL scripts/bench installs what it can)")
    if port := taken_port(options.first_port):
        raise Mistake(f"port {port} is taken: another run, or name a free range with --first-port")


def folder(options):
    """Of the run. Nothing is written over: a second run of a day gets a number."""
    if options.out:
        if os.path.exists(options.out) and os.listdir(options.out):
            raise Mistake(f"--out {options.out}: is not empty")
        return options.out
    name = f"{ROOT}/bench/runs/{options.date}-{machine.slug()}{'-quick' * options.quick}"
    numbered = (f"{name}-{number}" for number in range(2, 1000))
    return next(path for path in (name, *numbered) if not os.path.exists(path))


def known(what, names, there):
    for name in names or ():
        if name not in there:
            raise Mistake(f"{name!r} is no {what}; there are: {', '.join(there)}")
    return names


def words(text):
    return text.split(",")


def numbers(text):
    return [int(number) for number in text.split(",")]


def number(kind, least, most):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return value

    return parse


def variant(text):
    name, colon, settings = text.partition(":")
    pairs = [setting.partition("=") for setting in settings.split(",")]
    if not (name and colon and all(key and equals for key, equals, _ in pairs)):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:KEY=VALUE[,KEY=VALUE]")
    return f"gateway-{name}", {key: value for key, _, value in pairs}
