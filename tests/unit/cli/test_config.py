from __future__ import annotations

import stat

import pytest
import yaml


@pytest.fixture
def alone(facet, monkeypatch):
    """The command without FACET_URL and FACET_TOKEN."""
    monkeypatch.delenv("FACET_URL")
    monkeypatch.delenv("FACET_TOKEN")
    return facet


def login(facet, server, *more: str):
    return facet("login", "--server", server.url, "--user", "ada", "--password-stdin", *more, stdin="pass\n")


def test_login_keeps_the_token_for_its_owners_eyes_only(alone, server, home) -> None:
    ran = login(alone, server)

    file = home / "config" / "facet" / "config.yaml"
    assert ran.code == 0
    assert server.writes() == [("POST", "login", {"username": "ada", "password": "pass"})]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    kept = yaml.safe_load(file.read_text())
    assert kept == {
        "current_context": "default",
        "contexts": {"default": {"server": server.url, "token": "t0ken", "user": "ada"}},
    }
    assert [child.name for child in file.parent.iterdir()] == ["config.yaml"]
    assert "t0ken" not in ran.out + ran.err


def test_a_wrong_password_keeps_nothing(alone, server, home) -> None:
    server.answers["POST", "login"] = (401, {"code": "wrong_password", "detail": "The name or the password is wrong."})

    assert login(alone, server).code == 4
    assert not (home / "config" / "facet").exists()


def test_contexts_are_listed_used_and_forgotten(alone, server) -> None:
    login(alone, server, "--context", "one")
    login(alone, server, "--context", "two")

    assert alone("context", "use", "one").code == 0
    lines = alone("context", "list").out.splitlines()
    assert lines[1].split()[:2] == ["*", "one"]
    assert alone("context", "use", "three").code == 3
    assert alone("context", "delete", "two", "--yes").code == 0
    assert "two" not in alone("context", "list").out


def test_the_environment_wins_and_takes_no_token_elsewhere(alone, server, monkeypatch) -> None:
    login(alone, server)
    monkeypatch.setenv("FACET_URL", server.url.replace("127.0.0.1", "localhost"))
    alone("whoami")
    assert "authorization" not in server.requests[-1].headers

    monkeypatch.setenv("FACET_TOKEN", "other")
    alone("whoami")
    assert server.requests[-1].headers["authorization"] == "Bearer other"


def test_a_named_context_wins_over_the_environment(alone, server, monkeypatch) -> None:
    login(alone, server, "--context", "mine")
    monkeypatch.setenv("FACET_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FACET_TOKEN", "other")

    assert alone("--context", "mine", "whoami").code == 0
    assert server.requests[-1].headers["authorization"] == "Bearer t0ken"


def test_logout_ends_the_token_there_and_here(alone, server, home) -> None:
    login(alone, server)

    assert alone("logout").code == 0
    assert server.writes()[-1][1] == "logout"
    assert "t0ken" not in (home / "config" / "facet" / "config.yaml").read_text()


@pytest.mark.parametrize("text", ["[", "contexts: 3", "- a", "contexts: {a: 1}", "\x00"])
def test_a_broken_file_is_a_sentence(text: str, alone, home) -> None:
    file = home / "config" / "facet" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)

    ran = alone("whoami")

    assert ran.code == 1
    assert str(file) in ran.err


def test_a_token_can_be_kept_without_a_password(alone, server, home) -> None:
    assert alone("login", "--server", server.url, "--token-stdin", stdin="abc\n").code == 0
    assert server.requests[-1].headers["authorization"] == "Bearer abc"
