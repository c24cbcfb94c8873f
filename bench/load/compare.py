#!/usr/bin/env python3
"""CPU time per request of the gateway against nginx doing bare proxying, interleaved, one core each.

    cargo build --release && bench/load/compare.py [--rounds 5] [--seconds 4] [--connections 64,8]

Needs nginx, wrk and redis-server, and two CPUs: the proxy under test runs on the first, the load generator and the origin on
the second. What is printed is the median over the rounds of (utime + stime of the proxy's processes) / requests,
and the median of its ratio to nginx *in the same round*: on a shared machine only the ratio means something.
"""
import argparse
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time

NGINX = """
worker_processes 1; daemon off; pid {dir}/{name}.pid; error_log {dir}/{name}.log; worker_cpu_affinity {mask};
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; {temp}
  {servers}
}}
"""
ORIGIN = """
server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json; root {dir};
  location /api/v1/users/me {{ return 200 '{small}'; }}
  location /api/v1/users/16k {{ try_files /16k =404; }} }}
"""
PROXY = """
upstream origin {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
  proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Request-Id $request_id;
  proxy_set_header X-Internal-User-Id ""; }} }}
"""
ORIGIN_PORT, NGINX_PORT, GATEWAY_PORT, REDIS_PORT = 19001, 19002, 19010, 19003
# Limits that are asked about and never reached.
WIDE = {"RATE_LIMIT_RPS": "1000000", "RATE_LIMIT_BURST": "1000000"}
REDIS = WIDE | {"RATE_LIMIT_STORE": "redis", "REDIS_ADDR": f"127.0.0.1:{REDIS_PORT}"}
SCENARIOS = {  # name: (path, has a token, extra environment of the gateway)
    "GET, token verified": ("/api/v1/users/me", True, {}),
    "GET, token verified, access log": ("/api/v1/users/me", True, {"ACCESS_LOG": "/dev/null"}),
    "GET, token, limit in memory": ("/api/v1/users/me", True, WIDE | {"RATE_LIMIT_STORE": "memory"}),
    "GET, token, limit in Redis": ("/api/v1/users/me", True, REDIS),
    "401": ("/api/v1/users/me", False, {}),
    "429, empty bucket known": ("/api/v1/users/me", True, REDIS | {"RATE_LIMIT_RPS": "0.001", "RATE_LIMIT_BURST": "1"}),
    "GET 16 KiB, token verified": ("/api/v1/users/16k", True, {}),
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--gateway", default="target/release/realchat-gateway")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=4)
    arguments.add_argument("--connections", default="64,8")
    options = arguments.parse_args()
    running = []
    with tempfile.TemporaryDirectory() as directory:
        try:
            os.chmod(directory, 0o755)
            compare(options, directory, running)
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait(timeout=10)


def compare(options, directory, running):
    with open(f"{directory}/16k", "wb") as file:
        file.write(b"x" * 16384)
    small = '{"id":"12345","name":"alice","bio":"hello world hello world hello world hello"}'
    start_nginx(directory, running, "origin", "10", ORIGIN.format(port=ORIGIN_PORT, dir=directory, small=small))
    nginx = start_nginx(directory, running, "rival", "01", PROXY.format(port=NGINX_PORT, origin=ORIGIN_PORT))
    redis = ["taskset", "-c", "1", "redis-server", "--port", str(REDIS_PORT), "--save", "", "--bind", "127.0.0.1"]
    running.append(subprocess.Popen(redis, stdout=subprocess.DEVNULL))
    environment = gateway_environment(ORIGIN_PORT)
    token = subprocess.check_output([options.gateway, "token", "--user", "alice", "--ttl", "24h"], env=environment)
    print(f"{'scenario':36} {'connections':>11} {'nginx us':>9} {'ours us':>9} {'ratio':>6}  rounds")
    for name, (path, has_token, extra) in SCENARIOS.items():
        gateway = subprocess.Popen(
            [options.gateway, "run"], env=environment | extra | {"PORT": str(GATEWAY_PORT)}, stdout=subprocess.DEVNULL
        )
        running.append(gateway)
        time.sleep(1)
        fields = ["-H", f"Authorization: Bearer {token.decode().strip()}"] if has_token else []
        for connections in options.connections.split(","):
            costs = []
            for _ in range(options.rounds):
                pair = []
                # nginx knows no tokens: its 200 is what our 401 is compared with, too.
                for process, port in ((nginx, NGINX_PORT), (gateway, GATEWAY_PORT)):
                    url = f"http://127.0.0.1:{port}{path}"
                    pair.append(cost(process, url, fields, connections, options.seconds))
                costs.append(pair)
            ratio = statistics.median(ours / theirs for theirs, ours in costs)
            theirs, ours = (statistics.median(column) for column in zip(*costs))
            rounds = " ".join(f"{ours / theirs:.2f}" for theirs, ours in costs)
            print(f"{name:36} {connections:>11} {theirs:9.2f} {ours:9.2f} {ratio:6.2f}  {rounds}", flush=True)
        running.remove(gateway)
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(timeout=20)


def gateway_environment(origin):
    """One core on the first CPU, no limit, no logs, and the origin for every upstream."""
    environment = {"PATH": os.environ["PATH"], "JWT_SECRET": "x" * 32, "RATE_LIMIT_STORE": "off", "CORES": "0,"}
    environment |= {"BIND": "127.0.0.1", "ADMIN_ADDR": "off", "ACCESS_LOG": "off", "RUST_LOG": "error"}
    for upstream in ("AUTH", "MESSAGE", "DELIVERY", "PROFILE", "CONVERSATION"):
        environment[f"UPSTREAM_{upstream}_URL"] = f"http://127.0.0.1:{origin}"
    return environment


def start_nginx(directory, running, name, mask, servers):
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temp = " ".join(f"{kind}_temp_path {directory}/{name}-{kind};" for kind in kinds)
    path = f"{directory}/{name}.conf"
    with open(path, "w", encoding="ascii") as file:
        file.write(NGINX.format(dir=directory, name=name, mask=mask, temp=temp, servers=servers))
    process = subprocess.Popen(["nginx", "-c", path, "-p", directory], stderr=subprocess.DEVNULL)
    running.append(process)
    time.sleep(0.5)
    return process


def cost(process, url, fields, connections, seconds):
    """Microseconds of CPU per request."""
    family = [process.pid] + children(process.pid)
    before = sum(map(cpu_us, family))
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *fields, url]
    out = subprocess.check_output(command).decode()
    spent = sum(map(cpu_us, family)) - before
    return spent / int(re.search(r"(\d+) requests in", out)[1])


def children(parent):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(stat(entry)[1]) == parent:
                found.append(int(entry))
        except OSError:
            pass
    return found


def cpu_us(pid):
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) * 1_000_000 // os.sysconf("SC_CLK_TCK")


def stat(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()


if __name__ == "__main__":
    main()
