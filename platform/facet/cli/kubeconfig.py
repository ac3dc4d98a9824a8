"""Kubeconfigs that renew themselves, and the answer of an exec credential plugin."""

from __future__ import annotations

import base64
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .config import replace_file
from .faults import Fault

API = "client.authentication.k8s.io/v1"
Document = dict[str, Any]


def token_command(cluster_id: str, context: str, expires_in: str) -> list[str]:
    """The command line by which kubectl asks for a new credential: by id, since a name may be used again."""
    chosen = ["--context", context] if context else []
    life = ["--expires-in", expires_in] if expires_in else []
    return [_program(), *chosen, "cluster", "token", cluster_id, *life]


def renewing(answer: Mapping[str, Any], command: Sequence[str]) -> Document:
    """A kubeconfig that holds no secret: its user is `command`."""
    name = str(answer["context"])
    run = {"apiVersion": API, "command": command[0], "args": list(command[1:]), "interactiveMode": "Never"}
    hint = {"installHint": "facet is the command line of Facet: pip install facet-platform"}
    server = {"server": answer["server"], "certificate-authority-data": _encoded(answer["certificate_authority_data"])}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": name, "user": {"exec": {**run, **hint}}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def exec_credential(answer: Mapping[str, Any]) -> Document:
    """What a plugin prints: PEM texts and when they end."""
    status = {
        "expirationTimestamp": answer["expires_at"],
        "clientCertificateData": _pem(answer["client_certificate_data"]),
        "clientKeyData": _pem(answer["client_key_data"]),
    }
    return {"apiVersion": API, "kind": "ExecCredential", "status": status}


def merge(added: Document, environment: Mapping[str, str]) -> Path:
    """Put `added` into the user's kubeconfig, replacing entries of the same name; where it is. Raises Fault."""
    files = [name for name in (environment.get("KUBECONFIG") or "").split(":") if name]
    where = Path(files[0]).expanduser() if files else Path.home() / ".kube" / "config"
    try:
        found = yaml.safe_load(where.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        found = {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Fault(f"{where} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise Fault(f"{where} is no kubeconfig.")
    merged = {"apiVersion": "v1", "kind": "Config", "preferences": {}, **found}
    for key in ("clusters", "users", "contexts"):
        names = {entry["name"] for entry in added[key]}
        kept = [entry for entry in found.get(key) or [] if entry.get("name") not in names]
        merged[key] = [*kept, *added[key]]
    merged["current-context"] = added["current-context"]
    replace_file(where, text(merged))
    return where


def text(document: Document) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _program() -> str:
    """`facet` where a shell finds it; else the very file that runs now."""
    return "facet" if shutil.which("facet") else str(Path(sys.argv[0]).absolute())


def _pem(data: str) -> str:
    return data if data.startswith("-----BEGIN") else base64.b64decode(data).decode("ascii")


def _encoded(data: str) -> str:
    return base64.b64encode(data.encode("ascii")).decode("ascii") if data.startswith("-----BEGIN") else data
