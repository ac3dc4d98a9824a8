"""The Node object that a kubelet registers, and what kubeadm marks on it."""

from __future__ import annotations

from typing import Any

from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.disk import Record
from infra.simulator.guests.kubeadm.config import KubeadmError

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
OS_IMAGE = "Facet simulated guest"
MIB = 1024
KNOWN_ARGS = {"provider-id", "node-labels", "cloud-provider", "node-ip", "register-with-taints", "max-pods"}


def labels(text: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in text.split(",") if part)


def registered(record: Record, name: str, registration: Obj, *, control_plane: bool, number: int) -> Obj:
    """The Node of a guest. registration: kubeadm's nodeRegistration. number: which pod network is its own."""
    args = {item["name"]: item["value"] for item in registration.get("kubeletExtraArgs") or ()}
    unknown = sorted(set(args) - KNOWN_ARGS)
    if unknown:
        raise KubeadmError(f"the simulated kubelet does not know the arguments {', '.join(unknown)}")
    taints = registration.get("taints")
    if taints is None:
        taints = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}] if control_plane else []
    marks = {
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux", "kubernetes.io/hostname": name, "facet.dev/simulated": "true",
        **labels(args.get("node-labels", "")),
    }  # fmt: skip
    if control_plane:
        marks.update({CONTROL_PLANE: "", "node.kubernetes.io/exclude-from-external-load-balancers": ""})
    network = f"10.{244 + number // 256}.{number % 256}.0/24"
    spec: dict[str, Any] = {"podCIDR": network, "podCIDRs": [network]}
    if args.get("provider-id"):
        spec["providerID"] = args["provider-id"]
    if taints:
        spec["taints"] = [{key: value for key, value in taint.items() if value} for taint in taints]
    annotations = {
        "kubeadm.alpha.kubernetes.io/cri-socket": registration.get("criSocket")
        or "unix:///run/containerd/containerd.sock"
    }
    metadata = {"name": name, "labels": marks, "annotations": annotations}
    return {"metadata": metadata, "spec": spec, "status": _status(record, name)}


def _status(record: Record, name: str) -> Obj:
    room = {"cpu": str(record.vcpu), "ephemeral-storage": "20Gi", "pods": "110"}
    return {
        "addresses": [{"type": "InternalIP", "address": record.address}, {"type": "Hostname", "address": name}],
        "capacity": {**room, "memory": f"{record.memory_mib * MIB}Ki"},
        "allocatable": {**room, "memory": f"{(record.memory_mib - 100) * MIB}Ki"},
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "osImage": OS_IMAGE, "kernelVersion": "simulated",
            "kubeletVersion": record.version, "kubeProxyVersion": "", "containerRuntimeVersion": "simulated://1",
            "machineID": record.key.replace("-", ""), "systemUUID": record.key, "bootID": record.key,
        },
    }  # fmt: skip
