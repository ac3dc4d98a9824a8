"""User-data by hand, independent of what Facet renders: what a careful person would write for kubeadm."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KUBEADM = "/run/kubeadm/kubeadm.yaml"
DONE = "mkdir -p /run/facet && touch /run/facet/bootstrap.done"


def pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def name(common_name: str, *organizations: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass
class Authority:
    """A CA of our own. days: how long it is valid, from five minutes back."""

    common_name: str
    days: float = 3650
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder(name(self.common_name), name(self.common_name), self.key.public_key(), 1)
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=self.days))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(x509.KeyUsage(True, False, True, False, False, True, False, False, False), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def crt(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def pin(self) -> str:
        spki = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return "sha256:" + hashlib.sha256(spki).hexdigest()

    def client(self, user: str, *groups: str, hours: float = 1) -> tuple[str, str]:
        """A client certificate and its key, both PEM; negative hours: expired that long ago."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        leaf = (
            x509.CertificateBuilder(
                self.certificate.subject, name(user, *groups), key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(now - timedelta(days=300))
            .not_valid_after(now + timedelta(hours=hours))
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return leaf.public_bytes(serialization.Encoding.PEM).decode(), pem_of(key)


@dataclass
class Cluster:
    """Everything that the user-data of one cluster's machines shares."""

    endpoint: str  # the address of its API, a VIP
    token: str = "abcdef.0123456789abcdef"
    ttl: str = "30m"
    version: str = "v1.34.2"
    ca: Authority = field(default_factory=lambda: Authority("kubernetes"))
    etcd: Authority = field(default_factory=lambda: Authority("etcd-ca"))
    front: Authority = field(default_factory=lambda: Authority("front-proxy-ca"))
    sa: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def files(self) -> dict[str, str]:
        public = self.sa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        pki = {"sa.key": pem_of(self.sa), "sa.pub": public.decode()}
        for path, ca in (("ca", self.ca), ("etcd/ca", self.etcd), ("front-proxy-ca", self.front)):
            pki |= {f"{path}.crt": ca.crt, f"{path}.key": pem_of(ca.key)}
        files = {f"/etc/kubernetes/pki/{path}": content for path, content in pki.items()}
        return {**files, "/etc/kubernetes/manifests/kube-vip.yaml": yaml.safe_dump(self.kube_vip())}

    def kube_vip(self) -> dict[str, Any]:
        env = [{"name": "address", "value": self.endpoint}, {"name": "port", "value": "6443"}]
        path = {"path": "/etc/kubernetes/admin.conf", "type": "FileOrCreate"}
        box = {"name": "kube-vip", "image": "kube-vip:v1", "args": ["manager"], "env": env}
        spec = {"hostNetwork": True, "containers": [box], "volumes": [{"name": "kubeconfig", "hostPath": path}]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "kube-vip"}, "spec": spec}

    def init(
        self, node: str, *, init: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The cloud-config of the first control plane; `init` and `cluster` change kubeadm's documents."""
        first = {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "bootstrapTokens": [{"token": self.token, "ttl": self.ttl}],
            "nodeRegistration": {
                "name": node,
                "kubeletExtraArgs": [{"name": "provider-id", "value": f"facet://{node}"}],
            },
            **(init or {}),
        }
        whole = {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "clusterName": "shop",
            "kubernetesVersion": self.version,
            "controlPlaneEndpoint": f"{self.endpoint}:6443",
            "encryptionAlgorithm": "ECDSA-P256",
            "networking": {"serviceSubnet": "10.96.0.0/16", "podSubnet": "10.244.0.0/16"},
            **(cluster or {}),
        }
        manifest = "/etc/kubernetes/manifests/kube-vip.yaml"
        admin, boss = "/etc/kubernetes/admin.conf", "/etc/kubernetes/super-admin.conf"
        commands = [
            f"sed -i 's#path: {admin}#path: {boss}#' {manifest}",
            f"kubeadm init --config {KUBEADM} && {DONE}",
            f"sed -i 's#path: {boss}#path: {admin}#' {manifest}",
        ]
        return config({**self.files(), KUBEADM: yaml.safe_dump_all([first, whole])}, commands)

    def join(self, node: str, *, control_plane: bool = False, **changes: Any) -> dict[str, Any]:
        """The cloud-config of a worker or a further control plane; changes are of discovery.bootstrapToken."""
        discovery = {"token": self.token, "apiServerEndpoint": f"{self.endpoint}:6443", "caCertHashes": [self.ca.pin]}
        document = {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "JoinConfiguration",
            "discovery": {"bootstrapToken": {**discovery, **changes}},
            "nodeRegistration": {
                "name": node,
                "kubeletExtraArgs": [{"name": "provider-id", "value": f"facet://{node}"}],
            },
        }
        if control_plane:
            document["controlPlane"] = {"localAPIEndpoint": {"bindPort": 6443}}
        files = self.files() if control_plane else {}
        return config({**files, KUBEADM: yaml.safe_dump(document)}, [f"kubeadm join --config {KUBEADM} && {DONE}"])

    def kubeconfig(self, user: str = "admin", *groups: str, hours: float = 1, ca: Authority | None = None) -> str:
        signer = ca or self.ca
        crt, key = signer.client(user, *(groups or ("system:masters",)), hours=hours)
        data = {"client-certificate-data": _b64(crt), "client-key-data": _b64(key)}
        server = {"server": f"https://{self.endpoint}:6443", "certificate-authority-data": _b64(self.ca.crt)}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "shop", "cluster": server}],
                "users": [{"name": user, "user": data}],
                "contexts": [{"name": "shop", "context": {"cluster": "shop", "user": user}}],
                "current-context": "shop",
            }
        )


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(files: dict[str, str], commands: list[Any]) -> dict[str, Any]:
    """A cloud-config: keys 0600, the rest 0644; long contents compressed."""
    written = [
        {
            "path": path,
            "owner": "root:root",
            "permissions": "0600" if path.endswith(("key", ".yaml")) else "0644",
            "encoding": "gz+b64",
            "content": base64.b64encode(gzip.compress(content.encode())).decode(),
        }
        for path, content in files.items()
    ]
    return {"write_files": written, "runcmd": commands}


def packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode())).decode()


def guestinfo(cloud_config: dict[str, Any] | str, instance: str, hostname: str) -> dict[str, str]:
    """As it travels: gzip+base64."""
    text = cloud_config if isinstance(cloud_config, str) else "#cloud-config\n" + yaml.safe_dump(cloud_config)
    metadata = json.dumps({"instance-id": instance, "local-hostname": hostname})
    return {
        "guestinfo.userdata": packed(text),
        "guestinfo.userdata.encoding": "gzip+base64",
        "guestinfo.metadata": packed(metadata),
        "guestinfo.metadata.encoding": "gzip+base64",
    }
