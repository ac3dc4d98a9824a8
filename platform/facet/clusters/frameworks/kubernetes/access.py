"""How a person's kubectl finds the cluster: kubeconfig files, with a certificate or with a plugin that renews it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import yaml

from facet.clusters.frameworks.base import ClusterFacts, Credential, Secrets
from facet.clusters.frameworks.kubernetes.pki import ClientCertificate

EXEC_API = "client.authentication.k8s.io/v1"
HINT = "The facet command is not found: install facet-platform, then log in with `facet login`."


def credential(signed: ClientCertificate) -> Credential:
    return Credential(signed.certificate.decode(), signed.key.decode(), signed.not_after)


def context_name(name: str, simulated: bool) -> str:
    """What a person sees at each kubectl call; a simulated cluster says so there."""
    return f"{name}-simulated" if simulated else name


def kubeconfig(cluster: ClusterFacts, secrets: Secrets, given: Credential) -> str:
    """A kubeconfig that carries its certificate; it ends when that does."""
    user = {
        "client-certificate-data": _b64(given.client_certificate_data.encode()),
        "client-key-data": _b64(given.client_key_data.encode()),
    }
    return _file(cluster, secrets, user)


def exec_kubeconfig(cluster: ClusterFacts, secrets: Secrets, arguments: Sequence[str], command: str = "facet") -> str:
    """A kubeconfig that asks `command` for a certificate whenever the last one has ended. Holds no secret."""
    plugin = {
        "apiVersion": EXEC_API,
        "command": command,
        "args": list(arguments),
        "interactiveMode": "Never",
        "provideClusterInfo": False,
        "installHint": HINT,
    }
    return _file(cluster, secrets, {"exec": plugin})


def _file(cluster: ClusterFacts, secrets: Secrets, user: dict[str, Any]) -> str:
    name = context_name(cluster.name, cluster.simulated)
    host = f"[{cluster.endpoint_host}]" if ":" in cluster.endpoint_host else cluster.endpoint_host
    server = {
        "server": f"https://{host}:{cluster.endpoint_port}",
        "certificate-authority-data": _b64(secrets["ca.crt"]),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(config, sort_keys=False, width=4096)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
