#!/usr/bin/env python3
"""One of three members dies, freezes or becomes slow under load: nginx, HAProxy and the gateway, one after the other.

    bench/failover/run.py [PROXY …]     (nginx, haproxy, gateway, passive: the gateway without health checks)

50 clients send GETs, each 5 ms after the last answer. Every proxy has the same timeouts: 1 s to connect, 2 s to answer.
It needs a release build, nginx and haproxy, and the addresses 127.0.0.11 to .13.
"""

import asyncio
import collections
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "../../target/release/realchat-gateway")
ADDRESSES = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
PORT, LISTEN = 23000, 23100
CLIENTS, THINK_S = 50, 0.005
BEFORE_S, DURING_S, AFTER_S = 3, 8, 6


def origin(address):
    command = [sys.executable, os.path.join(HERE, "origin.py"), address, str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def written(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def nginx(folder):
    servers = " ".join(f"server {address}:{PORT};" for address in ADDRESSES)
    path = written(folder, "nginx.conf", f"""
        worker_processes 1; daemon off; pid {folder}/pid; error_log /dev/null crit;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            upstream members {{ {servers} keepalive 64; }}
            server {{
                listen 127.0.0.1:{LISTEN};
                location / {{
                    proxy_pass http://members;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_connect_timeout 1s;
                    proxy_read_timeout 2s;
                }}
            }}
        }}""")
    return ["/usr/sbin/nginx", "-p", folder, "-c", path], {}


def haproxy(folder):
    servers = "".join(f" server s{n} {address}:{PORT} check inter 1s\n" for n, address in enumerate(ADDRESSES))
    path = written(folder, "haproxy.cfg", f"""defaults
 mode http
 timeout connect 1s
 timeout server 2s
 timeout client 60s
 option redispatch
 retries 3
frontend in
 bind 127.0.0.1:{LISTEN}
 default_backend members
backend members
 balance leastconn
 http-reuse always
{servers}""")
    return ["/usr/sbin/haproxy", "-f", path, "-db"], {}


def gateway(folder, health="health = { path = '/', interval = '1s' }"):
    urls = ", ".join(f"'http://{address}:{PORT}'" for address in ADDRESSES)
    path = written(folder, "gateway.toml", f"""rate_limit_store = 'off'
max_requests_per_address = 0
[upstreams.members]
urls = [{urls}]
connect_timeout = '1s'
head_timeout = '2s'
{health}
[[route]]
name = 'all'
paths = ['/*']
upstream = 'members'
access = 'public'
""")
    settings = {"CONFIG_FILE": path, "PORT": str(LISTEN), "BIND": "127.0.0.1", "ADMIN_ADDR": "off", "CORES": "1"}
    return [PROGRAM, "run"], settings | {"JWT_SECRET": "x" * 40, "ACCESS_LOG": "off"}


PROXIES = {"nginx": nginx, "haproxy": haproxy, "gateway": gateway, "passive": lambda folder: gateway(folder, "")}


class Load:
    """What became of every request: begin, end, status or error, and who answered."""

    def __init__(self):
        self.log, self.is_over = [], False

    async def client(self):
        reader = writer = None
        while not self.is_over:
            begun = time.monotonic()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", LISTEN)
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r")[0]) if b"content-length" in head else 0
                body = await reader.readexactly(length)
                status = head.split()[1].decode()
                if b"connection: close" in head:
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                status, body = type(error).__name__, b""
                if writer:
                    writer.close()
                writer = None
            self.log.append((begun, time.monotonic(), status, body.decode() if status == "200" else ""))
            await asyncio.sleep(THINK_S)


async def run(name, event):
    with tempfile.TemporaryDirectory() as folder:
        members = [origin(address) for address in ADDRESSES]
        command, settings = PROXIES[name](folder)
        proxy = subprocess.Popen(command, env=os.environ | settings, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        await asyncio.sleep(1.5)
        if proxy.poll() is not None:
            sys.exit(f"{name} has ended")
        load = Load()
        clients = [asyncio.create_task(load.client()) for _ in range(CLIENTS)]
        await asyncio.sleep(BEFORE_S)
        began = time.monotonic()
        if event == "killed":
            members[1].kill()
            members[1].wait()
        else:
            members[1].send_signal(signal.SIGSTOP if event == "frozen" else signal.SIGUSR1)
        await asyncio.sleep(DURING_S)
        back = time.monotonic()
        if event == "frozen":
            members[1].send_signal(signal.SIGCONT)
        elif event == "killed":
            members[1] = origin(ADDRESSES[1])
        await asyncio.sleep(AFTER_S)
        load.is_over = True
        await asyncio.gather(*clients)
        # A master that is killed would leave its workers behind, on the port of the next proxy.
        proxy.terminate()
        proxy.wait()
        for member in members:
            member.kill()
            member.wait()
    tell(name, event, load.log, began, back)


def tell(name, event, log, began, back):
    since = [entry for entry in log if entry[1] >= began]
    failed = [entry for entry in since if entry[2] != "200"]
    times = sorted(end - begin for begin, end, status, _ in since if status == "200" and begin < back)
    late = max((end - began for begin, end, *_ in since if end - begin > 0.5), default=0)
    returned = next((begin - back for begin, _, _, who in log if who == ADDRESSES[1] and begin > back), None)
    print(
        f"{name:8} {event:7} {len(since):6} requests, failed {len(failed):3} {dict(collections.Counter(e[2] for e in failed))}, "
        f"p99 {times[int(len(times) * 0.99)] * 1e3:6.1f} ms, longest {times[-1] * 1e3:6.0f} ms, "
        f"none over 0.5 s after {late:4.1f} s, back after {'-' if returned is None else f'{returned:.1f} s'}",
        flush=True,
    )


async def main():
    wanted = sys.argv[1:] or list(PROXIES)
    if any(name not in PROXIES for name in wanted):
        sys.exit(__doc__)
    for event in ["killed", "frozen", "slow"]:
        for name in wanted:
            await run(name, event)


asyncio.run(main())
