"""kubeadm's configuration file, v1beta4, read strictly: an unknown field or kind ends kubeadm."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from infra.simulator.guests.cloudconfig import Loader

Obj = dict[str, Any]
API = "kubeadm.k8s.io/v1beta4"
OTHER = {
    "kubelet.config.k8s.io/v1beta1": "KubeletConfiguration",
    "kubeproxy.config.k8s.io/v1alpha1": "KubeProxyConfiguration",
}
TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
PIN = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = re.compile(r"v1\.(\d+)\.\d+([-+][0-9A-Za-z.+-]+)?")
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
EXTRA_ARGS: Obj = {"name": str, "value": str}
ENDPOINT: Obj = {"advertiseAddress": str, "bindPort": int}
TAINT: Obj = {"key": str, "value": str, "effect": str}
VOLUME: Obj = {"name": str, "hostPath": str, "mountPath": str, "readOnly": bool, "pathType": str}
ENV: Obj = {"name": str, "value": str}
REGISTRATION: Obj = {
    "name": str, "criSocket": str, "taints": [TAINT], "kubeletExtraArgs": [EXTRA_ARGS],
    "ignorePreflightErrors": [str], "imagePullPolicy": str, "imagePullSerial": bool,
}  # fmt: skip
COMPONENT: Obj = {"extraArgs": [EXTRA_ARGS], "extraVolumes": [VOLUME], "extraEnvs": [ENV]}
TIMEOUTS: Obj = dict.fromkeys(
    ("controlPlaneComponentHealthCheck", "kubeletHealthCheck", "kubernetesAPICall", "etcdAPICall", "tlsBootstrap",
     "discovery", "upgradeManifests"), str
)  # fmt: skip
BOOTSTRAP_TOKEN: Obj = {
    "token": str, "description": str, "expires": object, "ttl": str, "usages": [str], "groups": [str],
}  # fmt: skip
SHAPES: dict[str, Obj] = {
    "InitConfiguration": {
        "bootstrapTokens": [BOOTSTRAP_TOKEN], "localAPIEndpoint": ENDPOINT, "nodeRegistration": REGISTRATION,
        "certificateKey": str, "skipPhases": [str], "patches": {"directory": str}, "dryRun": bool, "timeouts": TIMEOUTS,
    },
    "ClusterConfiguration": {
        "etcd": {
            "local": {
                "imageRepository": str, "imageTag": str, "dataDir": str, "extraArgs": [EXTRA_ARGS], "extraEnvs": [ENV],
                "serverCertSANs": [str], "peerCertSANs": [str],
            }
        },
        "networking": {"serviceSubnet": str, "podSubnet": str, "dnsDomain": str},
        "kubernetesVersion": str, "controlPlaneEndpoint": str,
        "apiServer": {**COMPONENT, "certSANs": [str]}, "controllerManager": COMPONENT, "scheduler": COMPONENT,
        "dns": {"imageRepository": str, "imageTag": str, "disabled": bool}, "proxy": {"disabled": bool},
        "certificatesDir": str, "imageRepository": str, "featureGates": object, "clusterName": str,
        "encryptionAlgorithm": str, "certificateValidityPeriod": str, "caCertificateValidityPeriod": str,
    },
    "JoinConfiguration": {
        "dryRun": bool, "nodeRegistration": REGISTRATION, "caCertPath": str, "skipPhases": [str],
        "discovery": {
            "bootstrapToken": {
                "token": str, "apiServerEndpoint": str, "caCertHashes": [str], "unsafeSkipCAVerification": bool,
            },
            "tlsBootstrapToken": str,
        },
        "controlPlane": {"localAPIEndpoint": ENDPOINT, "certificateKey": str},
        "patches": {"directory": str}, "timeouts": TIMEOUTS,
    },
}  # fmt: skip


class KubeadmError(Exception):
    """kubeadm ends with this message."""


def documents(raw: bytes | None, path: str) -> dict[str, Obj]:
    """The file's documents by kind. Raises KubeadmError."""
    if raw is None:
        raise KubeadmError(f"unable to read config from {path!r}: no such file or directory")
    try:
        found = [document for document in yaml.load_all(raw, Loader=Loader) if document]
    except yaml.YAMLError as error:
        raise KubeadmError(f"error unmarshaling {path}: {error}") from error
    result: dict[str, Obj] = {}
    for document in found:
        if not isinstance(document, dict):
            raise KubeadmError(f"{path}: a document is not an object")
        api, kind = document.get("apiVersion"), document.get("kind")
        known = OTHER.get(str(api)) == kind or (api == API and kind in SHAPES)
        if not known:
            raise KubeadmError(f'no kind "{kind}" is registered for version "{api}" (kubeadm takes {API})')
        if kind in result:
            raise KubeadmError(f'invalid configuration: kind "{kind}" is specified twice')
        if api == API:
            _check(
                str(kind),
                {key: value for key, value in document.items() if key not in ("apiVersion", "kind")},
                SHAPES[str(kind)],
            )
        result[str(kind)] = document
    return result


def _check(where: str, value: Any, shape: Any) -> None:
    if value is None or shape is object:
        return
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise KubeadmError(f"strict decoding error: {where} is not an object")
        for key, inner in value.items():
            if key not in shape:
                raise KubeadmError(f'strict decoding error: unknown field "{where}.{key}"')
            _check(f"{where}.{key}", inner, shape[key])
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise KubeadmError(f"strict decoding error: {where} is not a list")
        for at, inner in enumerate(value):
            _check(f"{where}[{at}]", inner, shape[0])
    elif not isinstance(value, shape) or (shape is int and isinstance(value, bool)):
        raise KubeadmError(f"strict decoding error: {where} is not a {shape.__name__}")


def token_parts(token: str) -> tuple[str, str]:
    found = TOKEN.fullmatch(token)
    if found is None:
        raise KubeadmError("the bootstrap token is not of the form [a-z0-9]{6}.[a-z0-9]{16}")
    return found[1], found[2]


def minor(version: str) -> int:
    found = VERSION.fullmatch(version)
    if found is None:
        raise KubeadmError(f'version "{version}" doesn\'t match patterns for neither semantic version nor labels')
    return int(found[1])


def expiry(token: Obj, now: float) -> str | None:
    """When a bootstrap token of an InitConfiguration ends, RFC 3339; None: never. Neither given: after a day."""
    expires = token.get("expires")
    if expires is not None:
        if isinstance(expires, str):
            try:
                expires = datetime.fromisoformat(expires)
            except ValueError as error:
                raise KubeadmError(f"bootstrapTokens: expires {expires!r} is not a time") from error
        if expires.tzinfo is None:
            expires = expires.replace(tzinfo=UTC)
        return str(expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    seconds = duration(token.get("ttl") or "24h0m0s")
    end = datetime.fromtimestamp(now, UTC) + timedelta(seconds=seconds)
    return end.strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None


def duration(text: str) -> int:
    """Go's durations of whole seconds: 24h0m0s, 30m, 5m0s."""
    found = DURATION.fullmatch(text)
    if found is None or not text:
        raise KubeadmError(f"time: invalid duration {text!r}")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def host_port(endpoint: str, port: int = 6443) -> tuple[str, int]:
    host, _, number = endpoint.rpartition(":")
    if not host:
        return endpoint, port
    if not number.isdigit():
        raise KubeadmError(f"{endpoint!r} is not host:port")
    return host, int(number)
