"""Certificate signing requests: kubelets' are approved by RBAC, and what is approved is signed by the cluster's CA."""

from __future__ import annotations

import base64

from cryptography import x509

from infra.simulator.guests import pki
from infra.simulator.guests.api import rbac
from infra.simulator.guests.api.authn import Identity
from infra.simulator.guests.api.message import Host
from infra.simulator.guests.api.rbac import Attributes
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store, stamp
from infra.simulator.guests.controllers import happenings

CSR = "certificatesigningrequests.certificates.k8s.io"
GROUP = "certificates.k8s.io"
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
CLIENT = "kubernetes.io/kube-apiserver-client"
SECONDS = 365 * 86400


def sign(store: Store, obj: Obj, host: Host) -> None:
    status = obj.get("status") or {}
    if status.get("certificate") or obj["spec"].get("signerName") not in (KUBELET, CLIENT):
        return None
    kinds = {item["type"] for item in status.get("conditions") or ()}
    if kinds & {"Denied", "Failed"}:
        return None
    request = _request(obj)
    if request is None:
        return _close(store, obj, "Failed", "the request is not a PEM certificate request")
    if "Approved" not in kinds:
        if obj["spec"]["signerName"] == KUBELET and _may(store, obj) and _is_kubelet(request):
            _close(store, obj, "Approved", "Auto approving kubelet client certificate after SubjectAccessReview.")
        return None
    ca = pki.load_authority(
        "ca", host.read("/etc/kubernetes/pki/ca.crt"), host.read("/etc/kubernetes/pki/ca.key"), store.now()
    )
    subject = {attribute.oid: attribute.value for attribute in request.subject}
    organizations = [a.value for a in request.subject if a.oid == x509.NameOID.ORGANIZATION_NAME]
    seconds = min(obj["spec"].get("expirationSeconds") or SECONDS, SECONDS)
    leaf = pki.issue(
        ca, request.public_key(), str(subject.get(x509.NameOID.COMMON_NAME, "")), store.now(),
        organizations=[str(name) for name in organizations], seconds=seconds,
    )  # fmt: skip
    pem = base64.b64encode(pki.certificate_pem(leaf)).decode()
    store.update(CSR, obj, {**obj, "status": {**status, "certificate": pem}})
    return None


def _request(obj: Obj) -> x509.CertificateSigningRequest | None:
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(obj["spec"]["request"]))
    except (ValueError, KeyError):
        return None
    return request if request.is_signature_valid else None


def _is_kubelet(request: x509.CertificateSigningRequest) -> bool:
    names = {attribute.oid: str(attribute.value) for attribute in request.subject}
    return (
        names.get(x509.NameOID.ORGANIZATION_NAME) == "system:nodes"
        and names.get(x509.NameOID.COMMON_NAME, "").startswith("system:node:")
    )  # fmt: skip


def _may(store: Store, obj: Obj) -> bool:
    who = Identity(obj["spec"].get("username", ""), frozenset(obj["spec"].get("groups") or ()))
    what = Attributes("create", GROUP, "certificatesigningrequests/nodeclient")
    return rbac.allowed(store, who, what)


def _close(store: Store, obj: Obj, kind: str, message: str) -> None:
    now = stamp(store.now())
    condition = {"type": kind, "status": "True", "reason": "AutoApproved" if kind == "Approved" else kind}
    times = {"message": message, "lastUpdateTime": now, "lastTransitionTime": now}
    conditions = [*((obj.get("status") or {}).get("conditions") or ()), {**condition, **times}]
    store.update(CSR, obj, {**obj, "status": {**(obj.get("status") or {}), "conditions": conditions}})
    if kind == "Failed":
        happenings.record(store, obj, kind, message, "Warning")
