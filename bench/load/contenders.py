"""The proxies under comparison, and what stands behind them: the origin, the far end of the tunnels, Redis.

nginx           bare proxying, default buffers
nginx-64k       the same with buffers of 64 KiB in place of 4 and 8: what large bodies want
haproxy         bare proxying
haproxy-jwt     verifies the token as well
haproxy-64k     buffers of 64 KiB in place of 16
haproxy-splice  all through splice(2) and pipes of 1 MiB; `option splice-auto` alone copies tunnels. It costs a fifth
                more per small message, so nobody would run a chat on it
floor           a relay with the same socket operations as a proxy and no parsing: nothing real can be below it
gateway         ours; gateway-NAME is one more with other settings (--variant)

Their configurations are the templates in bench/rivals.
"""
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

from machine import Failed, Mistake, cpu_mask, pinned

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(BENCH)
RIVALS = f"{BENCH}/rivals"
FLOOR = f"{BENCH}/floor/target/release/floor"
TUNNEL_ENDS = f"{BENCH}/ws/target/release/ws"
NGINX_64K = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"
HAPROXY_SPLICE = "option splice-request\n  option splice-response"
SECRET = "x" * 32
# Exactly 200 bytes: an object of a chat's size.
SMALL = '{"id":"12345","name":"alice","bio":"%s"}' % ("hello world " * 20)[:162]
BODIES = {"16k": 16 * 1024, "1m": 1024 * 1024}
# From the first port on: what stands behind, then the proxies, then the gateways' admin listeners.
ORIGIN, TUNNELS, REDIS, FIRST_PROXY, FIRST_ADMIN, PORTS = 0, 1, 2, 10, 40, 70
# The gateway in every scenario, before what the scenario says.
GATEWAY = {
    # Every client has one address here.
    "MAX_CONNECTIONS_PER_ADDRESS": "0", "MAX_REQUESTS_PER_ADDRESS": "0",
    "JWT_SECRET": SECRET,
    "BIND": "127.0.0.1",
    "RATE_LIMIT_STORE": "off",
    "ACCESS_LOG": "off",
    # One user has every socket, and some of them say as much as they can.
    "WS_MAX_PER_USER": "0",
    "WS_FRAMES_PER_SECOND": "0",
}


@dataclass
class Contender:
    """A proxy that can be started, and its process once it runs."""

    name: str
    port: int
    words: str = ""  # the file of what it prints
    command: tuple = ()  # none: the origin itself, with no proxy before it
    environment: dict = None
    admin_port: int = None
    process: object = None

    @property
    def is_gateway(self):
        return self.name.startswith("gateway")

    def start(self):
        if not self.command:
            return
        with open(self.words, "wb") as words:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=words, stderr=words)
        if not listens(self.port, self.process):
            raise Failed(f"it does not listen. {last_line(self.words)}")

    def stop(self):
        if self.process:
            end(self.process)
        self.process = None


class Line:
    """All of them, each on its port, with their files in one folder."""

    def __init__(self, folder, options, cpus):
        self.folder, self.options, self.cpus = folder, options, cpus
        self.first_port, self.names = options.first_port, []
        self.redis = f"127.0.0.1:{self.first_port + REDIS}"
        self.origin = Contender("direct", self.first_port + ORIGIN)
        self.tunnels = Contender("direct", self.first_port + TUNNELS)

    def rival(self, name, cores=None):
        cpus = self.cpus.proxies if cores is None else cores
        match name:
            case "nginx":
                return self.nginx(name, cpus, "")
            case "nginx-64k":
                return self.nginx(name, cpus, NGINX_64K)
            case "haproxy":
                return self.haproxy(name, cpus, "", "")
            case "haproxy-64k":
                return self.haproxy(name, cpus, "tune.bufsize 65536", "")
            case "haproxy-splice":
                return self.haproxy(name, cpus, "tune.pipesize 1048576", HAPROXY_SPLICE)
            case "haproxy-jwt":
                return self.haproxy(name, cpus, "", "", template="haproxy-jwt.cfg")
            case "floor":
                return self.floor(name, cpus)
        raise AssertionError(name)

    def gateways(self, settings, cores=None):
        """Ours, and every variant that the operator asked for."""
        return [self.gateway(name, settings | more, cores)
                for name, more in {"gateway": {}, **self.options.variant}.items()]  # fmt: skip

    def gateway(self, name, settings, cores=None):
        cpus = self.cpus.proxies if cores is None else cores
        port = self.port(name)
        admin_port = port - FIRST_PROXY + FIRST_ADMIN
        own = {"PORT": str(port), "ADMIN_ADDR": f"127.0.0.1:{admin_port}", "CORES": cpu_list(cpus)}
        routes = self.filled("gateway.toml", name)
        environment = {"PATH": os.environ["PATH"], "CONFIG_FILE": routes} | GATEWAY | own | settings
        if environment["RATE_LIMIT_STORE"] == "redis":
            environment.setdefault("REDIS_ADDR", self.redis)
        contender = self.contender(name, port, pinned(cpus, [self.options.gateway, "run"]), environment)
        contender.admin_port = admin_port
        return contender

    def nginx(self, name, cpus, tuning):
        path = self.filled("nginx.conf", name, cpus, TUNING=tuning)
        return self.contender(name, self.port(name), pinned(cpus, ["nginx", "-c", path, "-p", self.folder]))

    def haproxy(self, name, cpus, tuning, options, template="haproxy.cfg"):
        path = self.filled(template, name, cpus, TUNING=tuning, OPTIONS=options, SECRET=SECRET)
        return self.contender(name, self.port(name), pinned(cpus, ["haproxy", "-db", "-f", path]))

    def floor(self, name, cpus):
        ends = ["--listen", f"127.0.0.1:{self.port(name)}", "--origin", f"127.0.0.1:{self.origin.port}"]
        command = [FLOOR, *ends, "--cores", ",".join(map(str, cpus))]
        return self.contender(name, self.port(name), pinned(cpus, command))

    def contender(self, name, port, command, environment=None):
        return Contender(name, port, f"{self.folder}/{name}.words", tuple(command), environment or dict(os.environ))

    def port(self, name):
        """The same for a name throughout the run."""
        if name not in self.names:
            self.names.append(name)
        return self.first_port + FIRST_PROXY + self.names.index(name)

    def filled(self, template, name, cpus=(0,), **values):
        values |= {"NAME": name, "FOLDER": self.folder, "PORT": self.port(name), "TEMPORARY": self.temporary(name)}
        values |= {"ORIGIN": self.origin.port, "TUNNELS": self.tunnels.port}
        values |= {"CORES": len(cpus), "CPU_MASK": cpu_mask(cpus)}
        return self.write(template, f"{self.folder}/{name}-{template}", values)

    def write(self, template, path, values):
        with open(f"{RIVALS}/{template}", encoding="utf-8") as file:
            text = fill(file.read(), values)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def temporary(self, name):
        """nginx looks after these folders at its start, used or not."""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return " ".join(f"{kind}_temp_path {self.folder}/{name}-{kind};" for kind in kinds)

    def token(self):
        """All get the same bytes, nginx and HAProxy too."""
        command = [self.options.gateway, "token", "--user", "alice", "--ttl", "24h"]
        made = subprocess.run(command, env={"JWT_SECRET": SECRET}, text=True, capture_output=True)
        if made.returncode:
            raise Mistake(f"{self.options.gateway} makes no token: {made.stderr.strip().splitlines()[-1:]}")
        return made.stdout.strip()

    @contextlib.contextmanager
    def behind(self):
        """The origin, the far end of the tunnels and Redis, for the whole run. They are not pinned by themselves: they
        inherit where this process runs."""
        self.write_bodies()
        values = {"PORT": self.origin.port, "FOLDER": self.folder, "SMALL": SMALL, "CPUS": len(self.cpus.others)}
        values["TEMPORARY"] = self.temporary("origin")
        path = self.write("origin.conf", f"{self.folder}/origin.conf", values)
        commands = {
            self.origin.port: ["nginx", "-c", path, "-p", self.folder],
            self.tunnels.port: [TUNNEL_ENDS, "origin", "--listen", f"127.0.0.1:{self.tunnels.port}"],
            self.first_port + REDIS: ["redis-server", "--port", str(self.first_port + REDIS), "--bind", "127.0.0.1",
                                      "--save", "", "--dir", self.folder],
        }  # fmt: skip
        running = []
        try:
            for port, command in commands.items():
                with open(f"{self.folder}/{port}.words", "wb") as words:
                    running.append(subprocess.Popen(command, stdout=words, stderr=words))
                if not listens(port, running[-1]):
                    raise Mistake(f"{command[0]} does not listen on {port}. {last_line(words.name)}")
            yield
        finally:
            for process in reversed(running):
                end(process)

    def write_bodies(self):
        os.makedirs(f"{self.folder}/bodies/public")
        for name, size in BODIES.items():
            with open(f"{self.folder}/bodies/public/{name}", "wb") as file:
                file.write(b"x" * size)


@contextlib.contextmanager
def started(contenders):
    try:
        for contender in contenders:
            contender.start()
        yield
    finally:
        for contender in contenders:
            contender.stop()


def fill(template, values):
    """Every @NAME@ by its value; one without a value is a mistake of ours."""
    return re.sub(r"@([A-Z_]+)@", lambda found: str(values[found[1]]), template)


def cpu_list(cpus):
    """As the gateway reads it: a number alone would be a count."""
    return ",".join(map(str, cpus)) + ("," if len(cpus) == 1 else "")


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def listens(port, process):
    """Waits until it does, or has ended."""
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process.poll() is None
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    return False


def taken_port(first):
    """One of the run's ports that somebody listens on, or None."""
    for port in range(first, first + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return port
    return None


def last_line(path):
    with contextlib.suppress(OSError, IndexError), open(path, encoding="utf-8", errors="replace") as words:
        return words.read().strip().splitlines()[-1]
    return ""
