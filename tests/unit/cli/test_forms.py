"""Every form that the documentation promises, word for word, and what it sends."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from .server import ACME, CI, DB, SHOP, WEB, WORKERS, uid

GIB, TIB = 1024, 1024  # in MiB, in GiB
POOL = (
    "pool create --tenant acme --zone az1 --model flex --reserved vcpu=8,memory=32GiB"
    " --limit vcpu=64,memory=256GiB --wait"
)
TENANT = "tenant create acme --quota vcpu=64,memory=256GiB,storage=2TiB,vms=50,clusters=5,volumes=20,networks=5"
PROJECT = (
    "project create web --tenant acme --quota vcpu=32,memory=128GiB,storage=1TiB,vms=20,clusters=2,volumes=5,networks=2"
)
FORMS = [
    (
        "site add dc1 --driver vsphere --endpoint https://127.0.0.1:8989/sdk --username u --password-stdin"
        " --ca-file ca.pem --wait",
        "POST", "sites",
        {
            "name": "dc1", "driver": "vsphere", "endpoint": "https://127.0.0.1:8989/sdk", "username": "u",
            "password": "pä ss", "ca_pem": "CERT",
        },
    ),
    (
        'zone create az1 --site dc1 --vsphere-cluster DC0_C0 --datastore LocalDS_0 --network "VM Network"'
        " --endpoint-range 127.20.0.10-127.20.0.250 --wait",
        "POST", "zones",
        {
            "name": "az1", "site": "dc1", "selector": {"vsphere_cluster": "DC0_C0"}, "datastores": ["LocalDS_0"],
            "networks": ["VM Network"], "endpoint_range": "127.20.0.10-127.20.0.250",
        },
    ),
    (
        "image add kube-v1.34 --site dc1 --template DC0_C0_RP0_VM0 --framework kubernetes --version v1.34.2",
        "POST", "images",
        {
            "name": "kube-v1.34", "site": "dc1", "template": "DC0_C0_RP0_VM0", "framework": "kubernetes",
            "version": "v1.34.2",
        },
    ),
    (
        "addon import facet-cni --kind cni --version v1 --file facet-cni.yaml",
        "POST", "addons", {"name": "facet-cni", "kind": "cni", "version": "v1", "manifest": "kind: DaemonSet\n"},
    ),
    (
        TENANT,
        "POST", "tenants",
        {
            "name": "acme",
            "quota": {
                "vcpu": 64, "memory_mib": 256 * GIB, "storage_gib": 2 * TIB, "vms": 50, "clusters": 5, "volumes": 20,
                "networks": 5,
            },
        },
    ),
    (
        POOL,
        "POST", f"tenants/{ACME}/pools",
        {
            "zone": "az1", "model": "flex", "reserved": {"vcpu": 8, "memory_mib": 32 * GIB},
            "limit": {"vcpu": 64, "memory_mib": 256 * GIB},
        },
    ),
    (
        "pool update az1 --tenant acme --reserved vcpu=16,memory=64GiB --limit vcpu=64,memory=unlimited"
        " --survives-zone-loss --with-zone az2 --with-zone az3 --wait",
        "PATCH", f"pools/{uid(23)}",
        {
            "reserved": {"vcpu": 16, "memory_mib": 64 * GIB}, "limit": {"vcpu": 64, "memory_mib": None},
            "survives_zone_loss": True, "with_zones": ["az2", "az3"],
        },
    ),
    (
        "pool update az1 --tenant acme --model on-demand --limit unlimited --no-survives-zone-loss",
        "PATCH", f"pools/{uid(23)}", {"model": "on-demand", "limit": None, "survives_zone_loss": False},
    ),
    (
        "pool transfer az1 --project acme/web --to-tenant acme --vcpu 8 --memory 32GiB --wait",
        "POST", f"pools/{uid(24)}/transfer", {"to": uid(23), "vcpu": 8, "memory_mib": 32 * GIB},
    ),
    ("pool take-spare az1 --tenant acme --wait", "POST", f"pools/{uid(23)}/take-spare", {}),
    ("user create ada --password-stdin", "POST", "users", {"name": "ada", "password": "pä ss"}),
    (
        "member add ada --tenant acme --role tenant-admin",
        "POST", f"tenants/{ACME}/members", {"user": "ada", "role": "tenant-admin"},
    ),
    (
        PROJECT,
        "POST", f"tenants/{ACME}/projects",
        {
            "name": "web",
            "quota": {
                "vcpu": 32, "memory_mib": 128 * GIB, "storage_gib": TIB, "vms": 20, "clusters": 2, "volumes": 5,
                "networks": 2,
            },
        },
    ),
    (
        "service-account create ci --project acme/web --role project-editor",
        "POST", f"projects/{WEB}/service-accounts", {"name": "ci", "role": "project-editor"},
    ),
    ("token create --service-account acme/web/ci", "POST", f"service-accounts/{CI}/tokens", {}),
    (
        "cluster create shop --project acme/web --zone az1 --control-planes 1 --workers 3 --wait",
        "POST", f"projects/{WEB}/clusters",
        {
            "name": "shop", "zones": ["az1"], "control_planes": {"count": 1},
            "node_pools": [{"name": "workers", "size": 3}],
        },
    ),
    (
        "cluster create shop --project acme/web --zone az1 --policy pack --require rack=r1 --avoid gpu=true"
        " --storage-class fast --anti-affinity required --affinity zone:required --control-plane-require tier=it"
        " --control-plane-storage-class slow",
        "POST", f"projects/{WEB}/clusters",
        {
            "name": "shop", "zones": ["az1"],
            "control_planes": {"count": 1, "placement": {"require": {"tier": "it"}, "storage_class": "slow"}},
            "node_pools": [{
                "name": "workers", "size": 1,
                "placement": {
                    "policy": "pack", "anti_affinity": "required", "storage_class": "fast", "require": {"rack": "r1"},
                    "avoid": {"gpu": "true"}, "affinity": {"level": "zone", "mode": "required"},
                },
            }],
        },
    ),
    (
        "zone update az1 --failover-hosts 1 --cpu-overcommit 3",
        "PATCH", f"zones/{uid(20)}", {"failover_hosts": 1, "cpu_overcommit": 3.0},
    ),
    (
        "storage-class create fast --zone az1 --datastore ssd-1 --datastore ssd-2",
        "POST", f"zones/{uid(20)}/storage-classes", {"name": "fast", "datastores": ["ssd-1", "ssd-2"]},
    ),
    (
        "storage-class update fast --zone az1 --datastore ssd-1",
        "PATCH", f"storage-classes/{uid(60)}", {"datastores": ["ssd-1"]},
    ),
    ("storage-class delete fast --zone az1 --yes", "DELETE", f"storage-classes/{uid(60)}", None),
    ("cluster kubeconfig shop --project acme/web", "POST", f"clusters/{SHOP}/kubeconfig", {}),
    ("cluster scale shop --project acme/web --workers 5 --wait", "PATCH", f"node-pools/{WORKERS}", {"size": 5}),
    (
        "vm create db --project acme/web --zone az1 --flavor medium --image debian-12 --require rack=r1"
        " --storage-class gold --off --wait",
        "POST", f"projects/{WEB}/vms",
        {
            "name": "db", "zones": ["az1"], "flavor": "medium", "image": "debian-12", "power": "off",
            "placement": {"require": {"rack": "r1"}, "storage_class": "gold"},
        },
    ),
    (
        "vm create db --project acme/web --zone az1 --nic lan=10.0.0.5 --nic backup",
        "POST", f"projects/{WEB}/vms",
        {
            "name": "db", "zones": ["az1"],
            "nics": [{"network": "lan", "address": "10.0.0.5"}, {"network": "backup"}],
        },
    ),
    ("vm delete db --project acme/web --yes --wait", "DELETE", f"vms/{DB}", None),
    (
        "address keep api --network lan --project acme/web --address 10.0.0.5",
        "POST", f"networks/{uid(70)}/addresses", {"name": "api", "address": "10.0.0.5"},
    ),
    ("address drop api --network lan --project acme/web --yes", "DELETE", f"addresses/{uid(71)}", None),
    ("address drop 10.0.0.5 --network lan --project acme/web --yes", "DELETE", f"addresses/{uid(71)}", None),
    (
        "placement explain --project acme/web --zone az1 --vm small --count 5 --policy pack",
        "POST", f"projects/{WEB}/placements",
        {"vm": {"zones": ["az1"], "flavor": "small", "placement": {"policy": "pack"}}, "count": 5},
    ),
    ("cluster delete shop --project acme/web --yes --wait", "DELETE", f"clusters/{SHOP}", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "method", "path", "body"), FORMS, ids=[" ".join(form[0].split()[:2]) for form in FORMS]
)
def test_every_documented_form_sends_its_request(
    form, method, path, body, facet, server, home: Path, monkeypatch
) -> None:
    monkeypatch.chdir(home)
    Path("ca.pem").write_text("CERT")
    Path("facet-cni.yaml").write_text("kind: DaemonSet\n")

    ran = facet(*shlex.split(form), stdin="pä ss\n")

    assert ran.code == 0, ran.err
    assert server.writes() == [(method, path, body)]
    sent = next(request for request in server.requests if request.method != "GET")
    assert sent.headers["authorization"] == "Bearer t0ken"
    assert ("idempotency-key" in sent.headers) == (method == "POST")


@pytest.mark.parametrize("noun", ["operation", "event"])
def test_lists_are_json_documents(noun: str, facet) -> None:
    ran = facet(noun, "list", "-o", "json")

    assert ran.code == 0
    assert len(json.loads(ran.out)["items"]) == 1


def test_the_kubeconfig_is_alone_on_stdout(facet) -> None:
    assert facet("cluster", "kubeconfig", "shop", "--project", "acme/web").out == "apiVersion: v1\nkind: Config\n"


def test_the_token_is_alone_on_stdout(facet) -> None:
    assert facet("token", "create", "--service-account", "acme/web/ci").out == "s3cret\n"


def test_a_password_cannot_be_an_option(facet, server) -> None:
    ran = facet("user", "create", "ada", "--password", "secret")

    assert ran.code == 2
    assert server.requests == []


def test_the_project_may_come_from_the_context(facet, server, monkeypatch) -> None:
    monkeypatch.delenv("FACET_URL")
    assert facet("login", "--server", server.url, "--user", "ada", "--password-stdin", stdin="x\n").code == 0
    assert facet("cluster", "list").code == 2
    assert facet("context", "set", "--project", "acme/web").code == 0

    assert "shop" in facet("cluster", "list").out
