#!/usr/bin/env python3
"""Slow clients, floods and overload against a gateway with its default limits: figures, and whether they hold.

    cargo build --release && tests/soak/run.py [slow] [floods] [overload] [--connections 2000] [--seconds 15]

Needs nginx (the upstream) and h2load; every part ends by itself. What must hold stands beside each figure; the exit code is 1 if one does
not. `--connections 10000` and `--seconds 60` are the figures of a release; the defaults suit a laptop.
"""

import argparse
import asyncio
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))

NGINX = """
daemon off; worker_processes 1; error_log stderr crit; pid {dir}/nginx.pid;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {dir}/tmp; proxy_temp_path {dir}/tmp;
  fastcgi_temp_path {dir}/tmp; uwsgi_temp_path {dir}/tmp; scgi_temp_path {dir}/tmp;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "sixty-four bytes, as small as a JSON answer with one number is.\\n"; }} }}
}}
"""

CONFIG = """
version: 1
listeners:
  - address: 127.0.0.1:{port}
    protocols: [http1, http2]
admin: {{ address: 127.0.0.1:{admin} }}
server: {{ threads: {threads} }}
upstreams:
  app: {{ servers: [http://127.0.0.1:{upstream}] }}
routes:
  - {{ name: app, match: {{ path: /** }}, auth: none, upstream: app }}
rules:
  - file: rules/look.rhai
access_log: {{ output: none }}
{extra}
"""

RULE = """
fn on_request(request) {
    if request.path.starts_with("/secret") { deny(404, "no"); }
    set_header("x-looked-at", request.host);
}
"""

failures = []


def report(what, value, bound, holds):
    print(f"  {what:<52}{value:>18}   {bound:<24}{'ok' if holds else 'MISSED'}", flush=True)
    if not holds:
        failures.append(what)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class World:
    """nginx and a gateway, until `close`."""

    def __init__(self, threads, extra=""):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-soak-"))
        (self.dir / "tmp").mkdir()
        (self.dir / "rules").mkdir()
        (self.dir / "rules/look.rhai").write_text(RULE)
        self.port, self.admin, upstream = free_port(), free_port(), free_port()
        (self.dir / "nginx.conf").write_text(NGINX.format(dir=self.dir, port=upstream))
        text = CONFIG.format(port=self.port, admin=self.admin, upstream=upstream, threads=threads, extra=extra)
        (self.dir / "config.yaml").write_text(text)
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        binary = os.environ.get("TOLLGATE", TARGET / "release" / "tollgate")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": open(self.dir / "stderr.log", "w")}
        self.upstream = subprocess.Popen([nginx, "-c", self.dir / "nginx.conf", "-e", "stderr"], **quiet)
        self.gateway = subprocess.Popen([binary, "run", "-c", "config.yaml"], cwd=self.dir, **quiet)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        else:
            sys.exit(f"the gateway did not start:\n{(self.dir / 'stderr.log').read_text()}")

    def close(self):
        for process in (self.gateway, self.upstream):
            process.send_signal(signal.SIGKILL if process is self.gateway else signal.SIGTERM)
            process.wait()
        said = (self.dir / "stderr.log").read_text()
        report("panics", said.count("panicked at"), "0", "panicked at" not in said)
        shutil.rmtree(self.dir)

    def metrics(self):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics").read().decode()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}

    def sum(self, name):
        return sum(value for series, value in self.metrics().items() if series.startswith(name))

    def rss(self):
        for line in open(f"/proc/{self.gateway.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])


async def probe(world, stop, rate=50):
    """A well-behaved client with one connection; how long its requests take in ms, and how many failed."""
    took, failed, stream = [], 0, None
    while not stop.is_set():
        began = time.perf_counter()
        try:
            if stream is None:
                stream = await asyncio.open_connection("127.0.0.1", world.port)
            stream[1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await asyncio.wait_for(stream[0].readuntil(b"\r\n\r\n"), 10)
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await stream[0].readexactly(length)
            failed += not head.startswith(b"HTTP/1.1 200")
            took.append((time.perf_counter() - began) * 1e3)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, IndexError):
            failed, stream = failed + 1, None
        await asyncio.sleep(max(0, 1 / rate - (time.perf_counter() - began)))
    return sorted(took), failed


def quantile(values, q):
    return values[min(len(values) - 1, int(len(values) * q))] if values else float("nan")


SHAPES = {
    "silent": (b"", b""),
    "head drip": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n"),
    "body drip": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "half a header block": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + b"\0\0\1\1\0\0\0\0\1\x82", b""),
}


async def slow(world, connections, first, then):
    """Many connections that take their time, each from one of a few hundred addresses; how long each lived."""

    async def one(number):
        began = time.perf_counter()
        # All of 127.0.0.0/8 is this machine.
        from_ip = f"127.0.{1 + number % 200}.1"
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port, local_addr=(from_ip, 0))
        except OSError:
            return 0.0
        try:
            writer.write(first)
            while True:
                try:
                    if not await asyncio.wait_for(reader.read(4096), 2):
                        break
                except asyncio.TimeoutError:
                    writer.write(then)
        except OSError:
            pass
        writer.close()
        return time.perf_counter() - began

    tasks = []
    for number in range(connections):
        tasks.append(asyncio.create_task(one(number)))
        if number % 100 == 99:
            await asyncio.sleep(0.02)
    return tasks


async def run_slow(arguments):
    for shape, (first, then) in SHAPES.items():
        print(f"\n{arguments.connections} slow connections: {shape}")
        world = World(arguments.threads)
        stop = asyncio.Event()
        for _ in range(20):
            urllib.request.urlopen(f"http://127.0.0.1:{world.port}/").read()
        before = world.rss()
        probing = asyncio.create_task(probe(world, stop))
        tasks = await slow(world, arguments.connections, first, then)
        await asyncio.sleep(1)
        opened, most = world.metrics()["tollgate_connections"], world.rss()
        lived = await asyncio.gather(*tasks)
        stop.set()
        took, failed = await probing
        per_connection = (most - before) / max(opened, 1)
        report("open at once", f"{opened:.0f}", "all", opened >= arguments.connections)
        # A body is passed on as it comes: there is a connection to the upstream beside it, and pingora's 64 KiB for each direction.
        most_each = {"body drip": 200, "half a header block": 60}.get(shape, 35)
        report("memory of one", f"{per_connection:.1f} KiB", f"<= {most_each} KiB", per_connection <= most_each)
        report("cut after", f"{min(lived):.1f} to {max(lived):.1f} s", "<= 30 s", max(lived) <= 30)
        report("others: failed", failed, "0", failed == 0)
        report("others: p50", f"{quantile(took, 0.5):.1f} ms", "", True)
        report("others: p99", f"{quantile(took, 0.99):.1f} ms", "< 50 ms", quantile(took, 0.99) < 50)
        await asyncio.sleep(1)
        left = world.metrics()["tollgate_connections"]
        report("connections left", f"{left:.0f}", "<= 1 (the others' own)", left <= 1)
        world.close()


FLOODS = {
    "h2_priority": b"\0\0\5\2\0\0\0\0\1" + b"\0\0\0\0\1",
    "h2_settings": b"\0\0\0\4\0\0\0\0\0",
    "h2_ping": b"\0\0\x08\6\0\0\0\0\0" + b"12345678",
    "h2_window_update": b"\0\0\4\x08\0\0\0\0\0" + b"\0\0\0\1",
    "h2_other": b"\0\0\6\x10\0\0\0\0\0" + b"\0\0\0\1u1",
}


def flood(port, frame, until):
    """Two connections full of one frame, made anew as soon as they are cut. Runs in a process of its own."""
    bytes_ = frame * (64 * 1024 // len(frame))
    while time.time() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as s:
                s.settimeout(1)
                s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                while time.time() < until:
                    s.sendall(bytes_)
        except OSError:
            time.sleep(0.01)


async def run_floods(arguments):
    import multiprocessing

    for kind, frame in FLOODS.items():
        print(f"\ntwo connections full of {kind}, {arguments.seconds} s")
        world = World(arguments.threads)
        before, until = world.rss(), time.time() + arguments.seconds
        attackers = [multiprocessing.Process(target=flood, args=(world.port, frame, until)) for _ in range(2)]
        for attacker in attackers:
            attacker.start()
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(arguments.seconds, stop.set)
        took, failed = await probe(world, stop)
        for attacker in attackers:
            attacker.join()
        cut = world.metrics()[f'tollgate_connections_cut_total{{reason="{kind}"}}']
        report("connections cut", f"{cut:.0f}", ">= 2", cut >= 2)
        report("others: failed", failed, "0", failed == 0)
        report("others: p99", f"{quantile(took, 0.99):.1f} ms", "< 100 ms", quantile(took, 0.99) < 100)
        report("memory grew by", f"{(world.rss() - before) / 1024:.1f} MiB", "<= 20 MiB", world.rss() - before <= 20 << 10)
        world.close()


def load(world, connections, seconds, log):
    """h2load over HTTP/1.1: answers a second, and how long those with 200 took, in ms."""
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", f"-c{connections}", "-t1", "-D", str(seconds), f"--log-file={log}", f"http://127.0.0.1:{world.port}/"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    good, refused, took = 0, 0, []
    for line in open(log):
        _, status, duration = line.split("\t")
        good, refused = good + (status == "200"), refused + (status == "503")
        if status == "200":
            took.append(int(duration) / 1e3)
    return good / seconds, refused / seconds, sorted(took)


async def run_overload(arguments):
    # A target that this machine's clients can miss: with the default one, thousands of busy connections would be needed.
    target = arguments.queue_delay
    print(f"\noverload: work may wait {target} ms for a thread")
    world = World(arguments.threads, f"limits: {{ queue_delay: {target}ms, connections_per_ip: 20000 }}")
    log = world.dir / "h2load.log"
    load(world, 64, 3, log)
    peak, _, took = load(world, 64, arguments.seconds, log)
    print(f"  peak: {peak:.0f} answers/s over 64 connections, p99 {quantile(took, 0.99):.1f} ms")
    # A request is worked on twice, before and after the upstream, so it waits twice: three times the connections that reach the target.
    connections = max(192, int(6 * peak * target / 1e3))
    shed_before = world.sum("tollgate_requests_shed_total")
    good, refused, took = load(world, connections, arguments.seconds, log)
    shed = world.sum("tollgate_requests_shed_total") - shed_before
    unshed = connections / peak * 1e3
    print(f"  three times as much: {connections} busy connections, {refused:.0f} refused/s, {shed:.0f} shed; unshed they would wait {unshed:.0f} ms")
    report("goodput", f"{good:.0f}/s = {good / peak:.0%}", ">= 80 % of the peak", good >= 0.8 * peak)
    p99 = quantile(took, 0.99)
    report("those that were served: p50", f"{quantile(took, 0.5):.1f} ms", "", True)
    report("those that were served: p99", f"{p99:.1f} ms", f"<= {12 * target} ms", p99 <= 12 * target)
    report("memory", f"{world.rss() / 1024:.0f} MiB", "<= 512 MiB", world.rss() <= 512 << 10)
    world.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=["slow", "floods", "overload"])
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--queue-delay", type=int, default=25, help="limits.queue_delay of the overload, in ms")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < arguments.connections * 2 + 500:
        sys.exit(f"{arguments.connections} connections need {arguments.connections * 2 + 500} file descriptors; the system allows {most}")
    for part in arguments.parts:
        await {"slow": run_slow, "floods": run_floods, "overload": run_overload}[part](arguments)
    print("\n" + (f"missed: {', '.join(failures)}" if failures else "all of it holds"))
    sys.exit(bool(failures))


asyncio.run(main())
