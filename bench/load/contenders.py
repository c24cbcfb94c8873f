"""The proxies that ws.py compares: each the same job, WebSockets from one port to the origin, on the first CPU.

The first nginx and the first HAProxy are what operators run and what the targets are about. The others take part in
bulk alone and show what the best settings we know are worth there:

nginx-64k       buffers of 64 KiB in place of 4 KiB
haproxy-64k     the same in place of 16 KiB
haproxy-splice  all through splice(2) and pipes of 1 MiB; `option splice-auto` alone copies tunnels. It costs a fifth
                more per small message, so nobody would run a chat on it
"""
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

import compare

NGINX = """
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
  proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Request-Id $request_id;
  tcp_nodelay on; proxy_read_timeout 1h; proxy_send_timeout 1h; {tuning} }} }}
"""
NGINX_64K = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"
HAPROXY = """
global
  nbthread 1
  maxconn 7000
  {tuning}
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  option forwardfor
  option splice-auto
  {options}
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  default_backend origin
backend origin
  server origin 127.0.0.1:{origin}
"""
ON_FIRST_CPU = ("taskset", "-c", "0")
ORIGIN_PORT, FIRST_PORT, FIRST_ADMIN_PORT = 19101, 19111, 19141


class Failed(Exception):
    """A measurement that did not come off: it is told and left out."""


@dataclass
class Contender:
    name: str
    port: int
    groups: tuple = ()
    words: str = ""  # the file of what it prints
    begin: object = None  # (contender) → process; None: the origin itself, with no proxy before it
    process: object = None

    def start(self):
        if self.begin:
            self.process = self.begin(self)
            if not listens(self.port, self.process):
                raise Failed(f"it does not listen. {self.last_words()}")

    def last_words(self):
        try:
            with open(self.words, encoding="utf-8", errors="replace") as words:
                return words.read().strip().splitlines()[-1]
        except (OSError, IndexError):
            return ""

    def stop(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


DIRECT = Contender("direct", ORIGIN_PORT)


class Line:
    """All of them, each on its port, with their files in one folder."""

    def __init__(self, directory, gateway, variants):
        self.directory, self.gateway = directory, gateway
        self.environment = compare.gateway_environment(ORIGIN_PORT)
        everywhere = ("memory", "echo", "bulk")
        self.contenders = []
        self.add("nginx", everywhere, self.nginx(""))
        self.add("haproxy", everywhere, self.haproxy("", ""))
        self.add("nginx-64k", ("bulk",), self.nginx(NGINX_64K))
        self.add("haproxy-64k", ("bulk",), self.haproxy("tune.bufsize 65536", ""))
        splice = "option splice-request\n  option splice-response"
        self.add("haproxy-splice", ("bulk",), self.haproxy("tune.pipesize 1048576", splice))
        for name, settings in {"gateway": {}, **variants}.items():
            self.add(name, (*everywhere, "threads"), self.our_gateway(settings))

    def add(self, name, groups, begin):
        port, words = FIRST_PORT + len(self.contenders), f"{self.directory}/{name}.words"
        self.contenders.append(Contender(name, port, groups, words, begin))

    def nginx(self, tuning):
        def begin(contender):
            server = NGINX.format(port=contender.port, origin=ORIGIN_PORT, tuning=tuning)
            return compare.start_nginx(self.directory, [], contender.name, "01", server)

        return begin

    def haproxy(self, tuning, options):
        def begin(contender):
            path = f"{self.directory}/{contender.name}.cfg"
            with open(path, "w", encoding="ascii") as file:
                file.write(HAPROXY.format(port=contender.port, origin=ORIGIN_PORT, tuning=tuning, options=options))
            return self.spawn(contender, ["haproxy", "-db", "-f", path], os.environ)

        return begin

    def our_gateway(self, settings):
        def begin(contender):
            admin = f"127.0.0.1:{contender.port - FIRST_PORT + FIRST_ADMIN_PORT}"
            environment = self.environment | {"PORT": str(contender.port), "ADMIN_ADDR": admin} | settings
            return self.spawn(contender, [self.gateway, "run"], environment)

        return begin

    def spawn(self, contender, command, environment):
        with open(contender.words, "wb") as words:
            return subprocess.Popen([*ON_FIRST_CPU, *command], env=environment, stdout=words, stderr=words)

    def token(self):
        """All get the same bytes, nginx and HAProxy too. Where there is no gateway to ask, any will do."""
        command = [*ON_FIRST_CPU, self.gateway, "token", "--user", "alice", "--ttl", "24h"]
        made = subprocess.run(command, env=self.environment, text=True, capture_output=True)
        return made.stdout.strip() or "no-gateway"


def listens(port, process):
    """Waits until it does, or has ended."""
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process.poll() is None
        if process.poll() is not None:
            return False
        time.sleep(0.1)
    return False
