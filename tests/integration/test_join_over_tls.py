"""A worker's join as the real kubeadm does it, over TLS: in process, guests call the API's handler directly."""

from __future__ import annotations

import base64
import json
import ssl

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from facet.clusters.frameworks.kubernetes import pki, tls
from facet.clusters.frameworks.kubernetes.pki import ClientCertificate
from infra.simulator.guests.pki import jws_fits
from tests.integration.guests import datacenter, shop

NODE = "shop-main-byhand"
CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


@pytest.fixture(autouse=True)
def _real_database():
    """Nothing here knows a database: in place of the folder's fixture."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with datacenter(tmp_path_factory.mktemp("guests")) as site:
        yield shop(site, workers=0)


def url(cluster) -> str:
    return f"https://{cluster.cluster.endpoint_host}:6443"


def client(cluster, certificate: ClientCertificate | None = None, token: str = "") -> httpx.Client:
    authority = cluster.secrets["ca.crt"]
    if certificate is not None:
        context = tls.context(authority, certificate)
    else:
        context = ssl.create_default_context(cadata=authority.decode())
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url(cluster), verify=context, headers=headers, trust_env=False)


def request_of(key: ec.EllipticCurvePrivateKey, name: str) -> dict:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{name}"),
        ]
    )
    pem = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    }


def test_a_worker_joins_over_tls_step_by_step(cluster):
    token_id, secret = cluster.prepared.token.split(".")
    with client(cluster) as stranger:
        info = stranger.get(CLUSTER_INFO).json()["data"]
        assert jws_fits(info[f"jws-kubeconfig-{token_id}"], info["kubeconfig"], token_id, secret)
        assert not jws_fits(info[f"jws-kubeconfig-{token_id}"], info["kubeconfig"], token_id, "0" * 16)
        assert stranger.get("/api/v1/nodes").status_code == 403
    server = yaml.safe_load(info["kubeconfig"])["clusters"][0]["cluster"]
    assert server["server"] == url(cluster)
    ca_pem = base64.b64decode(server["certificate-authority-data"])
    assert pki.ca_pin({"ca.crt": ca_pem}) == pki.ca_pin(cluster.secrets)
    key = ec.generate_private_key(ec.SECP256R1())
    with client(cluster, token=cluster.prepared.token) as joiner:
        config = joiner.get("/api/v1/namespaces/kube-system/configmaps/kubeadm-config")
        assert "controlPlaneEndpoint" in config.json()["data"]["ClusterConfiguration"]
        assert joiner.get("/api/v1/secrets").status_code == 403
        asked = joiner.post(CSRS, json=request_of(key, NODE))
        assert asked.status_code == 201, asked.text
        certificate = base64.b64decode(asked.json()["status"]["certificate"])
    leaf = x509.load_pem_x509_certificate(certificate)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(cluster.secrets["ca.crt"]))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    with client(cluster, ClientCertificate(certificate, pem, leaf.not_valid_after_utc)) as kubelet:
        made = kubelet.post("/api/v1/nodes", json={"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        assert made.status_code == 201, made.text
        assert kubelet.get(f"/api/v1/nodes/{NODE}").json()["metadata"]["name"] == NODE
        assert kubelet.delete(f"/api/v1/nodes/{NODE}").status_code == 403


@pytest.mark.parametrize("wrong", ["abcdef.0000000000000000", "nonsense", ""])
def test_a_wrong_token_gets_no_further_than_anybody(cluster, wrong):
    token_id = cluster.prepared.token.split(".")[0]
    token = wrong.replace("abcdef", token_id)
    with client(cluster, token=token) as thief:
        answer = thief.post(CSRS, json=request_of(ec.generate_private_key(ec.SECP256R1()), "thief"))
    assert answer.status_code == (401 if token else 403)
    assert json.loads(answer.text)["kind"] == "Status"
