"""What a node reads at its first boot: cloud-config without SSH, without jinja, within guestinfo's limits.

The authorities' keys travel to control planes only. `runcmd` runs without `-e`, so that what depends on success is
joined by `&&`, and a sentinel file says that kubeadm ended well.
"""

from __future__ import annotations

import base64
import gzip
from typing import Any

import yaml

from facet.clusters.frameworks.base import BadSpec, Boot, BootData, ClusterFacts, NodeFacts, Role, Secrets
from facet.clusters.frameworks.kubernetes import kubeadm, manifests, pki

HEADER = "#cloud-config\n"
GUESTINFO_LIMIT_BYTES = 64 * 1024  # of one value, as it travels: gzip and base64
KUBEADM_FILE = "/run/kubeadm/kubeadm.yaml"
KUBE_VIP_FILE = "/etc/kubernetes/manifests/kube-vip.yaml"
PKI_FOLDER = "/etc/kubernetes/pki"
SENTINEL_FOLDER = "/run/facet"
SENTINEL = f"{SENTINEL_FOLDER}/bootstrap.done"


_FastDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_FastDumper):  # type: ignore[misc]  # which of the two is known at run time only
    """Text of several lines as a block, so that a person can read what a node was given."""


def _text(dumper: Any, value: str) -> yaml.ScalarNode:
    scalar: yaml.ScalarNode = dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style="|" if "\n" in value else None
    )
    return scalar


_Dumper.add_representer(str, _text)


def render(
    cluster: ClusterFacts,
    node: NodeFacts,
    secrets: Secrets,
    token: str,
    boot: Boot,
    *,
    kube_vip_image: str = manifests.KUBE_VIP_IMAGE,
    interface: str = "",
) -> BootData:
    """Boot data of one node. Raises BadSpec where it does not fit into guestinfo, ValueError for a worker's init."""
    if boot is Boot.INIT and node.role is not Role.CONTROL_PLANE:
        raise ValueError(f"{node.name} is a worker and cannot begin a cluster")
    files = []
    if node.role is Role.CONTROL_PLANE:
        files += _pki_files(secrets)
        vip = manifests.kube_vip(cluster, image=kube_vip_image, interface=interface)
        files.append(_file(KUBE_VIP_FILE, vip))
    files.append(_file(KUBEADM_FILE, _kubeadm(cluster, node, secrets, token, boot)))
    config = {
        "hostname": node.hostname,
        "preserve_hostname": False,
        "write_files": files,
        "runcmd": _commands(boot),
    }
    text = HEADER + yaml.dump(config, Dumper=_Dumper, sort_keys=False, width=4096)
    data = BootData(user_data=text, metadata=metadata(node))
    check_size("user data", data.user_data)
    check_size("metadata", data.metadata)
    return data


def encoded(text: str) -> str:
    """As it travels in guestinfo: gzip+base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def check_size(what: str, text: str) -> None:
    """Raises BadSpec where the encoded text is larger than a guestinfo value may be."""
    size = len(encoded(text))
    if size > GUESTINFO_LIMIT_BYTES:
        raise BadSpec(
            "labels",
            f"The node's {what} is {size} bytes, at most {GUESTINFO_LIMIT_BYTES} fit: use fewer labels and taints.",
        )


def _kubeadm(cluster: ClusterFacts, node: NodeFacts, secrets: Secrets, token: str, boot: Boot) -> str:
    if boot is Boot.INIT:
        return kubeadm.init_documents(cluster, node, token)
    return kubeadm.join_document(cluster, node, token, pki.ca_pin(secrets))


def _pki_files(secrets: Secrets) -> list[dict[str, Any]]:
    names = (*pki.CA_FILES, *pki.SERVICE_ACCOUNT_FILES)
    return [
        _file(f"{PKI_FOLDER}/{name}", secrets[name].decode(), "0600" if name.endswith(".key") else "0644")
        for name in names
    ]


def _file(path: str, content: str, permissions: str = "0600") -> dict[str, Any]:
    return {"path": path, "owner": "root:root", "permissions": permissions, "content": content}


def _commands(boot: Boot) -> list[str]:
    verb = "init" if boot is Boot.INIT else "join"
    run = f"kubeadm {verb} --config {KUBEADM_FILE} && touch {SENTINEL}"
    if boot is Boot.JOIN:
        return [f"mkdir -p {SENTINEL_FOLDER}", run]
    # Since 1.29 admin.conf has no rights until init has bound them, and init waits for the address that kube-vip holds.
    ours, theirs = f"path: {manifests.ADMIN_CONF}", f"path: {manifests.SUPER_ADMIN_CONF}"
    return [
        f"mkdir -p {SENTINEL_FOLDER}",
        f"sed -i 's#{ours}#{theirs}#' {KUBE_VIP_FILE}",
        run,
        f"sed -i 's#{theirs}#{ours}#' {KUBE_VIP_FILE}",
    ]


def metadata(node: NodeFacts) -> str:
    """cloud-init's: which instance this is, and its name."""
    return yaml.safe_dump({"instance-id": node.vm_key, "local-hostname": node.hostname}, sort_keys=False)
