"""Who is asking: a client certificate, a bootstrap token, a service account's token, or nobody in particular."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from infra.simulator.guests import pki
from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store

ISSUER = "https://kubernetes.default.svc.cluster.local"
BOOTSTRAP_TYPE = "bootstrap.kubernetes.io/token"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True)
class Identity:
    name: str
    groups: frozenset[str]
    extra: Mapping[str, list[str]] = field(default_factory=dict)


ANONYMOUS = Identity("system:anonymous", frozenset({"system:unauthenticated"}))


def of_certificate(peer: Mapping[str, Any]) -> Identity:
    """From ssl's `getpeercert()`: CN is the user, each O a group. TLS has checked that our CA signed it."""
    pairs = [pair for relative in peer.get("subject", ()) for pair in relative]
    names = [value for key, value in pairs if key == "commonName"]
    groups = {value for key, value in pairs if key == "organizationName"}
    return Identity(names[0] if names else "", frozenset(groups | {AUTHENTICATED}))


def identify(store: Store, peer: Mapping[str, Any] | None, authorization: str, sa_public: bytes | None) -> Identity:
    """A certificate first, then a bearer token, then anonymous. Raises ApiError 401 for a token that is none."""
    if peer:
        return of_certificate(peer)
    scheme, _, token = authorization.partition(" ")
    if not authorization:
        return ANONYMOUS
    found = of_token(store, token.strip(), sa_public) if scheme.lower() == "bearer" else None
    if found is None:
        raise ApiError(401, "Unauthorized")
    return found


def of_token(store: Store, token: str, sa_public: bytes | None) -> Identity | None:
    if token.count(".") == 1:
        return _bootstrap(store, *token.split("."))
    return _service_account(store, token, sa_public)


def plain(secret: Obj) -> dict[str, str]:
    """A Secret's data, decoded."""
    return {key: b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


def live_tokens(store: Store) -> dict[str, dict[str, str]]:
    """The bootstrap tokens that have not expired, by their id."""
    found = {}
    for secret in store.list("secrets", "kube-system"):
        if secret.get("type") == BOOTSTRAP_TYPE:
            data = plain(secret)
            expiration = data.get("expiration")
            if not expiration or datetime.fromisoformat(expiration).timestamp() > store.now():
                found[data.get("token-id", "")] = data
    return found


def _bootstrap(store: Store, token_id: str, token_secret: str) -> Identity | None:
    data = live_tokens(store).get(token_id)
    if data is None or data.get("usage-bootstrap-authentication") != "true":
        return None
    if not hmac.compare_digest(data.get("token-secret", "").encode(), token_secret.encode()):
        return None
    groups = {"system:bootstrappers", AUTHENTICATED, *filter(None, data.get("auth-extra-groups", "").split(","))}
    return Identity(f"system:bootstrap:{token_id}", frozenset(groups))


def _service_account(store: Store, token: str, sa_public: bytes | None) -> Identity | None:
    claims = pki.read_jwt(token, load_pem_public_key(sa_public)) if sa_public else None
    if claims is None or claims.get("iss") != ISSUER or claims.get("exp", 0) <= store.now():
        return None
    _, _, namespace, name = str(claims.get("sub", "")).split(":")
    account = store.get("serviceaccounts", namespace, name)
    if account is None or account["metadata"]["uid"] != claims["kubernetes.io"]["serviceaccount"]["uid"]:
        return None
    return service_account_identity(namespace, name)


def service_account_identity(namespace: str, name: str) -> Identity:
    groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED}
    return Identity(f"system:serviceaccount:{namespace}:{name}", frozenset(groups))


def service_account_token(account: Obj, key: pki.PrivateKey, now: float, seconds: int, audiences: list[str]) -> str:
    metadata = account["metadata"]
    return pki.sign_jwt(
        {
            "iss": ISSUER,
            "aud": audiences or [ISSUER],
            "iat": int(now),
            "nbf": int(now),
            "exp": int(now) + seconds,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
            "kubernetes.io": {
                "namespace": metadata["namespace"],
                "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
            },
        },
        key,
    )
