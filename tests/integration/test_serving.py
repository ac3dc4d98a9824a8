"""Where web and events may listen, and what their commands become."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from django.core.management import CommandError
from django.test import Client

from facet import serving
from facet.operations import engine
from facet.operations.wakeups import wake
from facet.rest.ids import uuid7

NOWHERE = "203.0.113.7"  # a documentation address: nothing could be bound to it here


@pytest.mark.parametrize("program", ["web", "events"])
def test_a_bind_beyond_loopback_wants_tls_or_a_proxy(settings, program):
    settings.FACET_TLS_CERT = settings.FACET_TLS_KEY = ""
    settings.FACET_TRUSTED_PROXIES = []
    for bind in ("0.0.0.0", "::", NOWHERE, "facet.example.org"):
        settings.FACET_BIND = bind
        with pytest.raises(CommandError, match="FACET_TLS_CERT and FACET_TLS_KEY; or, behind a proxy"):
            serving.PROGRAMS[program]()
    settings.FACET_TRUSTED_PROXIES = ["10.0.0.7"]
    assert serving.PROGRAMS[program]()
    settings.FACET_TRUSTED_PROXIES, settings.FACET_TLS_CERT, settings.FACET_TLS_KEY = [], "cert.pem", "key.pem"
    assert serving.PROGRAMS[program]()


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.20.0.1", "::1", "localhost"])
def test_this_machine_alone_needs_neither(settings, bind):
    settings.FACET_BIND = bind
    serving.check_bind()


def test_half_a_certificate_is_refused(settings):
    settings.FACET_TLS_CERT = "cert.pem"
    with pytest.raises(CommandError, match="go together"):
        serving.check_bind()


def test_the_command_itself_refuses_with_the_sentence_alone():
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "facet.settings", "FACET_BIND": "0.0.0.0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "facet.manage", "web"],
        env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: FACET_BIND=0.0.0.0 would serve passwords"), done.stderr
    assert "Traceback" not in done.stderr


def test_metrics_tell_of_requests_passes_and_the_queue_and_of_nobody(admin, acme):
    wake("stranger", uuid7(), tenant_id=acme.tenant.id)
    assert acme.viewer.get(f"projects/{acme.project.id}").status == 200
    assert acme.viewer.get(f"projects/{uuid7()}").status == 404
    assert acme.viewer.get("made-up-path").status == 404
    assert engine.take_next()
    wake("stranger", uuid7())
    told = Client().get("/metrics").content.decode()
    assert re.search(
        r'facet_http_requests_total\{method="GET",route="api/v1/projects/<uuid:pk>",status="200"\} \d', told
    )
    assert re.search(r'facet_passes_total\{kind="stranger",outcome="failed"\} \d', told)
    assert "facet_wakeups_due 1.0" in told
    assert "facet_wakeups_failing 1.0" in told
    for secret in (str(acme.tenant.id), str(acme.project.id), "acme", "made-up-path"):
        assert secret not in told
