"""The table of what the emulated API serves, and what custom resource definitions add to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind as the API serves it. `key` names it in the store: `plural` or `plural.group`."""

    plural: str
    kind: str
    group: str
    version: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    singular: str = ""
    custom: bool = False

    @property
    def key(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def _row(text: str, namespaced: bool, verbs: tuple[str, ...] = VERBS) -> Resource:
    """`plural Kind group/version short,short sub,sub`, `-` for none."""
    plural, kind, group_version, short, subs = text.split()
    group, _, version = group_version.rpartition("/")

    def words(part: str) -> tuple[str, ...]:
        return () if part == "-" else tuple(part.split(","))

    return Resource(plural, kind, group, version, namespaced, words(short), words(subs), verbs, kind.lower())


NAMESPACED = """
pods Pod v1 po status,eviction,binding,log,exec,attach,portforward,proxy,ephemeralcontainers
services Service v1 svc status,proxy
endpoints Endpoints v1 ep -
configmaps ConfigMap v1 cm -
secrets Secret v1 - -
serviceaccounts ServiceAccount v1 sa token
events Event v1 ev -
persistentvolumeclaims PersistentVolumeClaim v1 pvc status
resourcequotas ResourceQuota v1 quota status
limitranges LimitRange v1 limits -
replicationcontrollers ReplicationController v1 rc status
podtemplates PodTemplate v1 - -
deployments Deployment apps/v1 deploy status,scale
replicasets ReplicaSet apps/v1 rs status,scale
daemonsets DaemonSet apps/v1 ds status
statefulsets StatefulSet apps/v1 sts status,scale
controllerrevisions ControllerRevision apps/v1 - -
jobs Job batch/v1 - status
cronjobs CronJob batch/v1 cj status
poddisruptionbudgets PodDisruptionBudget policy/v1 pdb status
roles Role rbac.authorization.k8s.io/v1 - -
rolebindings RoleBinding rbac.authorization.k8s.io/v1 - -
networkpolicies NetworkPolicy networking.k8s.io/v1 netpol -
ingresses Ingress networking.k8s.io/v1 ing status
leases Lease coordination.k8s.io/v1 - -
endpointslices EndpointSlice discovery.k8s.io/v1 - -
horizontalpodautoscalers HorizontalPodAutoscaler autoscaling/v2 hpa status
"""
CLUSTER = """
nodes Node v1 no status,proxy
namespaces Namespace v1 ns status,finalize
persistentvolumes PersistentVolume v1 pv status
clusterroles ClusterRole rbac.authorization.k8s.io/v1 - -
clusterrolebindings ClusterRoleBinding rbac.authorization.k8s.io/v1 - -
storageclasses StorageClass storage.k8s.io/v1 sc -
csidrivers CSIDriver storage.k8s.io/v1 - -
csinodes CSINode storage.k8s.io/v1 - -
volumeattachments VolumeAttachment storage.k8s.io/v1 - status
ingressclasses IngressClass networking.k8s.io/v1 - -
certificatesigningrequests CertificateSigningRequest certificates.k8s.io/v1 csr status,approval
priorityclasses PriorityClass scheduling.k8s.io/v1 pc -
runtimeclasses RuntimeClass node.k8s.io/v1 - -
customresourcedefinitions CustomResourceDefinition apiextensions.k8s.io/v1 crd,crds status
apiservices APIService apiregistration.k8s.io/v1 - status
mutatingwebhookconfigurations MutatingWebhookConfiguration admissionregistration.k8s.io/v1 - -
validatingwebhookconfigurations ValidatingWebhookConfiguration admissionregistration.k8s.io/v1 - -
"""
REVIEWS = """
tokenreviews TokenReview authentication.k8s.io/v1 - -
selfsubjectreviews SelfSubjectReview authentication.k8s.io/v1 - -
subjectaccessreviews SubjectAccessReview authorization.k8s.io/v1 - -
selfsubjectaccessreviews SelfSubjectAccessReview authorization.k8s.io/v1 - -
selfsubjectrulesreviews SelfSubjectRulesReview authorization.k8s.io/v1 - -
"""
LOCAL_REVIEWS = "localsubjectaccessreviews LocalSubjectAccessReview authorization.k8s.io/v1 - -\n"


def _rows(text: str, namespaced: bool, verbs: tuple[str, ...] = VERBS) -> Iterable[Resource]:
    return (_row(line, namespaced, verbs) for line in text.strip().splitlines())


BUILT_IN: tuple[Resource, ...] = (
    *_rows(NAMESPACED, True),
    *_rows(CLUSTER, False),
    *_rows(REVIEWS, False, ("create",)),
    *_rows(LOCAL_REVIEWS, True, ("create",)),
)
BY_KEY = {resource.key: resource for resource in BUILT_IN}
BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in BUILT_IN}
REVIEW_KINDS = {resource.kind for resource in BUILT_IN if resource.verbs == ("create",)}


def of(key: str) -> Resource:
    """The built-in resource of a store key such as `deployments.apps`."""
    return BY_KEY[key]


def custom(definition: Obj) -> list[Resource]:
    """The resources, one a served version, that a CustomResourceDefinition defines."""
    spec, names = definition["spec"], definition["spec"]["names"]
    return [
        Resource(
            names["plural"],
            names["kind"],
            spec["group"],
            version["name"],
            spec.get("scope") == "Namespaced",
            tuple(names.get("shortNames", ())),
            tuple(name for name in ("status", "scale") if name in version.get("subresources", {})),
            VERBS,
            names.get("singular", names["kind"].lower()),
            custom=True,
        )
        for version in spec.get("versions", [])
        if version.get("served", True)
    ]
