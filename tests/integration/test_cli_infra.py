"""The command line's own forms for infrastructure, against the real API and a vCenter of 32 hosts."""

import io
import json
import shlex
import sys
import threading
from contextlib import contextmanager
from wsgiref.simple_server import make_server

import pytest
from django.db import connection

from facet.cli.main import run as facet_main
from facet.operations import engine
from facet.wsgi import application
from infra import outside
from infra.models import Site
from tests import factories
from tests.factories import as_system
from tests.integration.test_cli_people import Quiet, Threads
from tests.vcsim import run

FORMS = """
site add dc1 --driver vsphere --endpoint {endpoint} --username u --password-stdin --ca-file {ca} --wait
site check dc1
site sync dc1 --wait
site list
site show dc1
site hosts dc1
site datastores dc1
site networks dc1
site templates dc1
zone create az1 --site dc1 --vsphere-cluster DC0_C0 --datastore LocalDS_0 --network "VM Network" \
--endpoint-range 127.20.0.10-127.20.0.250 --failover-hosts 1 --wait
zone update az1 --failover-hosts 2 --cpu-overcommit 3 --wait
storage-class create fast --zone az1 --datastore LocalDS_0
storage-class update fast --zone az1 --datastore LocalDS_0
storage-class list --zone az1
storage-class show fast --zone az1
storage-class delete fast --zone az1 --yes
site hosts dc1 --zone az1
host list
host list --site dc1 --zone az1
host cordon DC0_C0_H0 --site dc1
host uncordon DC0_C0_H0
host drain DC0_C0_H0 --site dc1 --wait
host uncordon DC0_C0_H0
zone drain az1 --wait
zone resume az1
zone list
zone show az1
flavor list
image add kube-v1.34 --site dc1 --template DC0_C0_RP0_VM0 --framework kubernetes --version v1.34.2
addon import facet-cni --kind cni --version v1 --file docs/examples/facet-cni.yaml
image list
addon list
image delete kube-v1.34 --yes
addon delete facet-cni --yes
tenant create acme --quota vcpu=64,memory=256GiB
tenant create beta --quota vcpu=64,memory=256GiB
pool create --tenant acme --zone az1 --model flex --reserved vcpu=8,memory=16GiB --wait
pool create --tenant beta --zone az1 --model flex --reserved vcpu=4,memory=8GiB --wait
pool update az1 --tenant acme --reserved vcpu=12,memory=24GiB --largest-shape medium --wait
pool transfer az1 --tenant acme --to-tenant beta --vcpu 4 --memory 8GiB --wait
pool show az1 --tenant acme
pool show az1 --tenant beta
pool delete az1 --tenant acme --yes --wait
pool delete az1 --tenant beta --yes --wait
zone delete az1 --yes --wait
site delete dc1 --yes --wait
"""


@contextmanager
def worker():
    """One worker, until the block ends."""
    stop = threading.Event()

    def take():
        while not stop.is_set():
            if not engine.take_next():
                stop.wait(0.05)
        connection.close()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def url():
    with make_server("127.0.0.1", 0, application, Threads, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_registers_carves_and_publishes_by_the_documented_forms(url, tmp_path, monkeypatch, capsys):
    admin = factories.user("admin")
    with as_system():
        factories.Member.objects.create(user=admin, role="platform-admin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("FACET_URL", url)
    monkeypatch.setenv("FACET_TOKEN", factories.token_of(admin))
    said = {}
    with run.running(tmp_path) as vcsim, worker():
        for line in FORMS.strip().splitlines():
            words = shlex.split(line.format(endpoint=vcsim.endpoint, ca=vcsim.ca_file))
            monkeypatch.setattr(sys, "stdin", io.StringIO(f"{vcsim.password}\n"))
            code = facet_main([*words, "-o", "json"] if words[-1] != "--yes" else words)
            out, err = capsys.readouterr()
            assert code == 0, f"{line}: {out}{err}"
            assert vcsim.password not in out + err
            if words[-1] != "--yes":
                said[line] = json.loads(out)
        with as_system():
            ids = list(Site.objects.values_list("id", flat=True))
        for id in ids:
            outside.forget(id)
    made = {line.split()[0] + " " + line.split()[1]: answer for line, answer in said.items()}
    assert made["site add"]["site"]["phase"] == "active"
    assert made["zone create"]["zone"]["phase"] == "active"
    assert (made["site check"]["ok"], len(said["site hosts dc1 --zone az1"]["items"])) == (True, 32)
    assert len(said["site hosts dc1"]["items"]) == 33
    kept = {tenant: said[f"pool show az1 --tenant {tenant}"]["reserved"] for tenant in ("acme", "beta")}
    assert kept == {tenant: {"vcpu": 8, "memory_mib": 16 * 1024} for tenant in ("acme", "beta")}
    assert made["image add"]["warnings"]
    assert made["image list"]["items"][0]["warnings"] == []
