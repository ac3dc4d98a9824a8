"""The main job as three people: IT carves a tenant out of a simulated datacenter, ada a project, and a service account
asks for a Kubernetes cluster and lists its nodes with the real kubectl. Every command is printed before it runs.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from pathlib import Path

from .home import Home, write_once
from .people import DemoFailed, Journal, Person, facet_command
from .programs import RACKS

NODES = 4
NODES_TIMEOUT_S = 60.0
ADDON = Path("docs") / "examples" / "facet-cni.yaml"
TENANT_QUOTA = "vcpu=64,memory=256GiB,storage=2TiB,vms=50,clusters=5,volumes=20,networks=5"
PROJECT_QUOTA = "vcpu=32,memory=128GiB,storage=1TiB,vms=20,clusters=2,volumes=5,networks=2"


def run(home: Home) -> Path:
    """Do whatever of the main job is not done yet; the path of a fresh kubeconfig. Raises DemoFailed."""
    journal = Journal.of(home)
    _it(home, Person("admin", home, journal))
    _ada(home, Person("ada", home, journal))
    return _service_account(home, Person("ci", home, journal))


def _it(home: Home, admin: Person) -> None:
    _heading("IT registers a simulated datacenter, carves three zones, and a tenant with a quota and a pool in each")
    admin.do("login", "--server", home.url, "--user", "admin", "--password-stdin", stdin=home.admin_password)
    endpoint = f"http://127.0.0.1:{home.simulator_port}"
    site = ("site", "add", "dc1", "--driver", "simulator", "--endpoint", endpoint, "--username", "facet")
    admin.do(*site, "--password-stdin", "--wait", stdin=home.simulator_password)
    prefix = ".".join(home.guest_network().split(".")[:2])
    for number in range(1, RACKS + 1):
        where = ("--site", "dc1", "--vsphere-cluster", f"rack-{number}", "--datastore", f"rack-{number}-ssd")
        endpoints = f"{prefix}.{number}.10-{prefix}.{number}.250"
        admin.do(
            "zone", "create", f"az{number}", *where, "--network", "VM Network", "--endpoint-range", endpoints, "--wait"
        )
    image = ("--site", "dc1", "--template", "kube-v1.34", "--framework", "kubernetes", "--version", "v1.34.2")
    admin.do("image", "add", "kube-v1.34", *image)
    admin.do("addon", "import", "facet-cni", "--kind", "cni", "--version", "v1", "--file", str(_addon()))
    admin.do("tenant", "create", "acme", "--quota", TENANT_QUOTA)
    for number in range(1, RACKS + 1):
        room = ("--reserved", "vcpu=8,memory=32GiB", "--limit", "vcpu=64,memory=256GiB")
        admin.do("pool", "create", "--tenant", "acme", "--zone", f"az{number}", "--model", "flex", *room, "--wait")
    password = Person("ada", home, admin.journal).secret_file("password", secrets.token_urlsafe(15))
    admin.do("user", "create", "ada", "--password-stdin", stdin=password)
    admin.do("member", "add", "ada", "--tenant", "acme", "--role", "tenant-admin")


def _ada(home: Home, ada: Person) -> None:
    _heading("ada, tenant-admin of acme, makes a project with a quota and a pool, and a service account")
    ada.do("login", "--server", home.url, "--user", "ada", "--password-stdin", stdin=ada.secret_file("password"))
    ada.do("project", "create", "web", "--tenant", "acme", "--quota", PROJECT_QUOTA)
    room = ("--reserved", "vcpu=4,memory=16GiB", "--limit", "vcpu=32,memory=128GiB")
    ada.do("pool", "create", "--project", "acme/web", "--zone", "az1", "--model", "flex", *room, "--wait")
    ada.do("service-account", "create", "ci", "--project", "acme/web", "--role", "project-editor")
    _token_for_ci(home, ada)


def _token_for_ci(home: Home, ada: Person) -> None:
    """The token is shown once, so it goes straight into a 0600 file."""
    file = Person("ci", home, ada.journal).secret_file("token")
    if not file.exists():
        words = ["token", "create", "--service-account", "acme/web/ci", "-o", "json"]
        answer = json.loads(ada.read([*facet_command(), *words], show=["facet", *words], into=file))
        write_once(file, answer["token"])


def _service_account(home: Home, ci: Person) -> Path:
    _heading("The service account ci of acme/web asks for a cluster (FACET_URL and FACET_TOKEN are set for it)")
    ci.token = ci.secret_file("token").read_text().strip()
    size = ("--control-planes", "1", "--workers", str(NODES - 1))
    ci.do("cluster", "create", "shop", "--project", "acme/web", "--zone", "az1", *size, "--wait")
    words = ["cluster", "kubeconfig", "shop", "--project", "acme/web"]
    kubeconfig = home.path / "shop.kubeconfig"
    text = ci.read([*facet_command(), *words], show=["facet", *words], into=kubeconfig)
    kubeconfig.unlink(missing_ok=True)
    write_once(kubeconfig, text.rstrip("\n"))
    _list_nodes(ci, kubeconfig)
    return kubeconfig


def _list_nodes(ci: Person, kubeconfig: Path) -> None:
    """Wait until every node is Ready (after a restart the guests boot first), then show what kubectl says."""
    kubectl = [str(Path(sys.executable).with_name("kubectl")), "--kubeconfig", str(kubeconfig)]
    deadline = time.monotonic() + NODES_TIMEOUT_S
    ready = 0
    while ready < NODES and time.monotonic() < deadline:
        try:
            ready = _ready(json.loads(ci.read([*kubectl, "get", "nodes", "-o", "json"])))
        except DemoFailed:  # the cluster's API is not up yet; kubectl has said so on stderr
            ready = 0
        if ready < NODES:
            time.sleep(0.5)  # what we wait for is kubectl's own answer
    shown = ["kubectl", "--kubeconfig", ci._shown(kubeconfig), "get", "nodes", "-o", "wide"]
    code = ci.run([*kubectl, "get", "nodes", "-o", "wide"], show=shown)
    if code or ready < NODES:
        raise DemoFailed(f"{ready} of {NODES} nodes are Ready.")


def _ready(nodes: dict[str, list[dict[str, dict[str, list[dict[str, str]]]]]]) -> int:
    return sum(
        any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
        for node in nodes["items"]
    )


def _addon() -> Path:
    """The stand-in for a CNI plugin: from here, or from the tree this file belongs to."""
    for folder in (Path(), Path(__file__).resolve().parents[3]):
        if (folder / ADDON).exists():
            return folder / ADDON
    raise DemoFailed(f"{ADDON} is not here. Run the demo from the repository.")


def _heading(text: str) -> None:
    print(f"\n# {text}", flush=True)
