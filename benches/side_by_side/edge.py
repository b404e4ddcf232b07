#!/usr/bin/env python3
"""What the edge costs: TLS handshakes, HTTP/1.1 and HTTP/2 over TLS, large bodies, a thousand clients.

Tollgate beside bare pingora, nginx, HAProxy and Envoy, all as a plain proxy with one thread and the same ECDSA certificate, in one
interleaved run. The load comes from h2load; what counts is what the kernel charged to each process. Read the ratios.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import run
from run import HERE, ROOT, TARGET, Contender, envoy, free_ports, machine, quiet, tool

NAMES = ("bare pingora", "nginx", "haproxy", "envoy", "tollgate")

# Of each job: the unit, what is asked (`https` or `http`, the path) and h2load's options.
JOBS = {
    "handshake": ("µs CPU per full TLS 1.3 handshake and request", "https", "/", ["--h1", "-n", "400", "-c", "400"]),
    "http1-tls": ("µs CPU per request, 32 clients", "https", "/", ["--h1", "-n", "20000", "-c", "32"]),
    "http2-tls": ("µs CPU per request, 8 connections of 16 streams", "https", "/", ["-n", "20000", "-c", "8", "-m", "16"]),
    "1MiB": ("µs CPU per MiB of body, 8 clients", "http", "/large", ["--h1", "-n", "600", "-c", "8"]),
    "1000-clients": ("µs CPU per request, 1,000 keep-alive clients", "http", "/", ["--h1", "-n", "20000", "-c", "1000"]),
}


def start(names: list[str], folder: pathlib.Path) -> list[Contender]:
    upstream, *ports = free_ports(1 + 3 * len(names))
    (folder / "tmp").mkdir()
    (folder / "www").mkdir()
    (folder / "www" / "large").write_bytes(b"x" * (1 << 20))
    quiet("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
          "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
          "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.pem"), stderr=subprocess.DEVNULL)
    (folder / "tls-both.pem").write_bytes((folder / "tls.pem").read_bytes() + (folder / "tls.key").read_bytes())

    def config(file: str, *words: int) -> str:
        text = (HERE / "configs" / file).read_text()
        port, secure, admin = words
        values = {"PORT": port, "SECURE": secure, "ADMIN": admin, "UPSTREAM": upstream, "THREADS": 1, "DIR": folder}
        for word, value in values.items():
            text = text.replace(f"@{word}", str(value))
        (folder / file).write_text(text)
        return str(folder / file)

    bare = str(TARGET / "release" / "examples" / "bare_pingora")
    commands = {
        "bare pingora": lambda *p: [bare, f"127.0.0.1:{p[0]}", f"127.0.0.1:{upstream}", "1",
                                    f"127.0.0.1:{p[1]}", str(folder / "tls.pem"), str(folder / "tls.key")],
        "nginx": lambda *p: [tool("nginx"), "-c", config("edge-nginx.conf", *p)],
        "haproxy": lambda *p: [tool("haproxy"), "-f", config("edge-haproxy.cfg", *p)],
        "envoy": lambda *p: [envoy(), "-c", config("edge-envoy.yaml", *p), "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
        "tollgate": lambda *p: [str(TARGET / "release" / "tollgate"), "run", "-c", config("edge-tollgate.yaml", *p)],
    }
    running = [Contender("upstream", [tool("nginx"), "-c", config("edge-upstream.conf", 0, 0, 0)], upstream, folder)]
    try:
        for name in names:
            mine, ports = ports[:3], ports[3:]
            contender = Contender(name, commands[name](*mine), mine[0], folder)
            contender.secure = mine[1]
            running.append(contender)
    except BaseException:
        for contender in running:
            contender.stop()
        raise
    return running


def load(contender: Contender, job: str) -> float:
    """One turn: CPU microseconds per request."""
    _, scheme, path, options = JOBS[job]
    port = contender.secure if scheme == "https" else contender.port
    before = contender.cpu_seconds()
    # h2load ends with 1 if it cannot say which protocol was agreed on; its own count of what succeeded decides here.
    output = subprocess.run([tool("h2load"), *options, f"{scheme}://127.0.0.1:{port}{path}"], capture_output=True, text=True,
                            timeout=180).stdout
    used = contender.cpu_seconds() - before
    counted = re.search(r"requests: (\d+) total.* (\d+) succeeded, (\d+) failed", output)
    good = re.search(r"status codes: (\d+) 2xx", output)
    if not counted or counted[1] != counted[2] or not good or good[1] != counted[1]:
        sys.exit(f"{contender.name} failed at {job}:\n{output[-1500:]}\n{contender.log.read_text()[-1500:]}")
    return used / int(counted[1]) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument("--no-build", action="store_true")
    options = parser.parse_args()
    if not options.no_build:
        subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "tollgate", "--example", "bare_pingora"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="edge-") as name:
        running = start(options.only, pathlib.Path(name))
        try:
            for contender in running:
                contender.wait(None)
            contenders = running[1:]
            print(f"{machine()}\n{options.rounds} rounds, one thread each, load by h2load", flush=True)
            figures: dict[tuple[str, str], list[float]] = {(c.name, job): [] for c in contenders for job in JOBS}
            for turn in range(options.rounds + 1):
                shift = turn % len(contenders)
                for contender in contenders[shift:] + contenders[:shift]:
                    for job in JOBS:
                        figure = load(contender, job)
                        # The first round warms up.
                        if turn:
                            figures[contender.name, job].append(figure)
                print(".", end="", flush=True)
            print("\n\n| contender | " + " | ".join(JOBS) + " | RSS MiB |\n|---|" + "---:|" * (len(JOBS) + 1))
            for c in contenders:
                cells = [f"{statistics.median(figures[c.name, job]):.0f}" for job in JOBS]
                print(f"| {c.name} | " + " | ".join(cells) + f" | {c.resident_mib():.0f} |")
            print("\n" + "\n".join(f"{job}: {JOBS[job][0]}" for job in JOBS))
        finally:
            for contender in reversed(running):
                contender.stop()


if __name__ == "__main__":
    main()
