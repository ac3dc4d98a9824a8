from __future__ import annotations

import json
import stat

import yaml

from .server import SHOP

SHOP_OF_WEB = ("shop", "--project", "acme/web")


def test_the_plugin_answers_kubectl(facet, server) -> None:
    answer = json.loads(facet("cluster", "token", SHOP).out)

    assert answer["apiVersion"] == "client.authentication.k8s.io/v1"
    assert answer["kind"] == "ExecCredential"
    assert answer["status"]["clientCertificateData"] == "CERT"
    assert answer["status"]["clientKeyData"] == "KEY"
    assert answer["status"]["expirationTimestamp"]


def test_a_kubeconfig_that_renews_itself_holds_no_secret(facet, server) -> None:
    text = facet("cluster", "kubeconfig", *SHOP_OF_WEB, "--exec", "--expires-in", "8h").out

    document = yaml.safe_load(text)
    run = document["users"][0]["user"]["exec"]
    assert run["args"] == ["cluster", "token", SHOP, "--expires-in", "8h"]
    assert document["clusters"][0]["cluster"] == {
        "server": "https://127.20.0.10:6443", "certificate-authority-data": "Q0E=",
    }  # fmt: skip
    assert "S0VZ" not in text
    assert server.writes()[-1][2] == {"expires_in_s": 28800}


def test_merging_keeps_what_was_there(facet, home) -> None:
    file = home / ".kube" / "config"
    file.parent.mkdir()
    old = {"name": "old", "cluster": {"server": "https://old"}}
    file.write_text(yaml.safe_dump({"clusters": [old], "contexts": None, "current-context": "old"}))

    for _ in range(2):
        assert facet("cluster", "kubeconfig", *SHOP_OF_WEB, "--merge").code == 0

    document = yaml.safe_load(file.read_text())
    assert [cluster["name"] for cluster in document["clusters"]] == ["old", "shop"]
    assert [context["name"] for context in document["contexts"]] == ["shop"]
    assert document["current-context"] == "shop"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_credential_lives_a_day_at_most(facet, server) -> None:
    assert facet("cluster", "kubeconfig", *SHOP_OF_WEB, "--expires-in", "25h").code == 2
    assert server.writes() == []
