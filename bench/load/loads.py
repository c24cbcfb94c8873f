"""The load generators: wrk as fast as it goes, bench/http at a fixed rate and for idle connections, bench/ws.

Each is run on the CPUs that the proxy does not have: this process is pinned to them, and children inherit it.
"""
import contextlib
import http.client
import json
import re
import subprocess
import time
from dataclasses import dataclass

from contenders import BENCH, TUNNEL_ENDS
from machine import Failed

HTTP_ENDS = f"{BENCH}/http/target/release/http"
UPLOAD_BYTES = 64 * 1024
UPLOAD_SCRIPT = f"{BENCH}/load/upload.lua"
# After a load: the proxy says goodbye to its connections on the CPU that the next contender is measured on.
GOODBYE_SECONDS = 0.15
TUNNELS_GOODBYE_SECONDS = 0.3


@dataclass(frozen=True)
class Request:
    """What is asked, and what the answer has to be."""

    path: str = "/public/small"
    fields: tuple = ()  # (name, value)
    upload: bool = False
    status: int = 200
    body_bytes: int = None  # of a 200; None: any

    def flags(self, flag):
        return [word for name, value in self.fields for word in (flag, f"{name}: {value}")]


@dataclass(frozen=True)
class Counted:
    """What wrk has seen."""

    requests: int
    seconds: float
    not_2xx: int
    socket_errors: str

    @classmethod
    def parse(cls, text):
        total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h),", text)
        if not total:
            raise Failed(f"wrk counted nothing: {text.strip()[-200:]!r}")
        unit = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[total[3]]
        other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        errors = re.search(r"Socket errors: (.*)", text)
        return cls(int(total[1]), float(total[2]) * unit, int(other[1]) if other else 0, errors[1] if errors else "")

    def check(self, status):
        """wrk does not tell which status it was: `probe` has seen that it is the right one."""
        if not self.requests:
            raise Failed(f"no request came through; socket errors: {self.socket_errors or 'none'}")
        wrong = self.not_2xx if status == 200 else self.requests - self.not_2xx
        if wrong:
            raise Failed(f"{wrong} of {self.requests} answers were not {status}")


def wrk(port, request, connections, seconds, threads=1):
    command = ["wrk", f"-t{min(threads, connections)}", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += request.flags("-H")
    command += ["-s", UPLOAD_SCRIPT] if request.upload else []
    out = subprocess.run([*command, f"http://127.0.0.1:{port}{request.path}"], capture_output=True, text=True)
    if out.returncode:
        raise Failed(f"wrk: {(out.stdout + out.stderr).strip().splitlines()[-1:]}")
    return Counted.parse(out.stdout)


def probe(port, request):
    """Some requests by hand, until one is answered as it should be: the first may find a bucket that is not empty yet,
    or a Redis that is being connected to."""
    for _ in range(20):
        seen = ask(port, request)
        if seen == (request.status, request.body_bytes or seen[1]):
            return
        time.sleep(0.05)
    raise Failed(f"{request.path} is answered with {seen[0]} and {seen[1]} bytes, "
                 f"not {request.status} and {request.body_bytes or 'any'}")  # fmt: skip


def ask(port, request):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        body = b"x" * UPLOAD_BYTES if request.upload else None
        connection.request("POST" if request.upload else "GET", request.path, body, dict(request.fields))
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    except (OSError, http.client.HTTPException) as why:
        raise Failed(f"{request.path}: {why or type(why).__name__}") from why
    finally:
        connection.close()


@contextlib.contextmanager
def at_rate(port, request, rate, connections, seconds, warm_up):
    """A load that has begun: `result` gives what it has seen."""
    flags = {"rate": rate, "connections": connections, "seconds": seconds, "warm-up": warm_up}
    with running([HTTP_ENDS, "load", *asked(port, request), *spelt(flags)]) as load:
        yield load
    rest()


@contextlib.contextmanager
def idle_connections(contender, request, connections):
    """Keep-alive connections that are open and have nothing to say."""
    flags = {"connections": connections, "stepped": "true"}
    with running([HTTP_ENDS, "idle", *asked(contender.port, request), *spelt(flags)]) as load:
        result(load)
        yield load
    rest()


@contextlib.contextmanager
def tunnels(port, token, **flags):
    """WebSockets that are open; they wait for a word."""
    ends = ["--to", f"127.0.0.1:{port}", "--token", token, "--stepped", "true"]
    with running([TUNNEL_ENDS, "load", *ends, *spelt(flags)]) as load:
        result(load)
        yield load
    rest(TUNNELS_GOODBYE_SECONDS)


def rest(seconds=GOODBYE_SECONDS):
    time.sleep(seconds)


def asked(port, request):
    return ["--to", f"127.0.0.1:{port}", "--path", request.path, *request.flags("--header")]


def spelt(flags):
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


@contextlib.contextmanager
def running(command):
    pipe = subprocess.PIPE
    load = subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield load
    finally:
        with contextlib.suppress(BrokenPipeError):
            load.stdin.close()
        load.terminate()
        load.wait(timeout=20)
        load.stdout.close()
        load.stderr.close()


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
        raise Failed(load.stderr.read().strip() or "the load has ended by itself")
