"""All settings, read from the environment here and nowhere else. Each variable has its line in docs/settings.md."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent


def env(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def flag(name: str, default: str = "0") -> bool:
    return env(name, default).lower() in ("1", "true", "yes", "on")


def secret(name: str) -> str:
    """The value of NAME, or the content of the file that NAME_FILE names."""
    path = env(f"{name}_FILE")
    return Path(path).read_text().strip() if path else env(name)


def database(url: str) -> dict[str, object]:
    """postgresql://role:password@host:port/name?host=/socket/dir -> Django's dictionary."""
    parts = urlsplit(url)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or "") or secret("FACET_DATABASE_PASSWORD"),
        "HOST": query.pop("host", parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": {"application_name": "facet", "connect_timeout": 5, **query},
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


def broker(url: str) -> str:
    """Celery's form of a Redis URL: sockets are redis+socket there."""
    return "redis+socket" + url.removeprefix("unix") if url.startswith("unix:") else url


FACET_HOME = Path(env("FACET_HOME", ".facet")).absolute()
FACET_PORT = int(env("FACET_PORT", "8800"))
FACET_EVENTS_PORT = int(env("FACET_EVENTS_PORT", str(FACET_PORT + 1)))
FACET_BIND = env("FACET_BIND", "127.0.0.1")
FACET_EVENTS_URL = env("FACET_EVENTS_URL")  # the events process as browsers reach it; empty: this host, events port
FACET_WEB_URL = env("FACET_WEB_URL")  # the console as browsers reach it; empty: this host, FACET_PORT
FACET_TLS_CERT = env("FACET_TLS_CERT")
FACET_TLS_KEY = env("FACET_TLS_KEY")
FACET_TRUSTED_PROXIES = [item.strip() for item in env("FACET_TRUSTED_PROXIES").split(",") if item.strip()]
FACET_KEYS_FILE = env("FACET_KEYS_FILE", str(FACET_HOME / "keys.json"))
FACET_DELETE_GRACE_S = int(env("FACET_DELETE_GRACE_S", "0"))
FACET_LEASE_S = float(env("FACET_LEASE_S", "60"))
FACET_CALL_TIMEOUT_S = float(env("FACET_CALL_TIMEOUT_S", "20"))
FACET_WORKERS = int(env("FACET_WORKERS", "1"))
FACET_WEB_WORKERS = int(env("FACET_WEB_WORKERS", "1"))
FACET_WEB_THREADS = int(env("FACET_WEB_THREADS", "4"))
FACET_WORKER_SLOTS = int(env("FACET_WORKER_SLOTS", "8"))
FACET_METRICS_PORT = int(env("FACET_METRICS_PORT", "0"))
FACET_SITE_BUDGET = int(env("FACET_SITE_BUDGET", "32"))
FACET_SYNC_S = float(env("FACET_SYNC_S", "300"))
FACET_TASK_DEADLINE_S = float(env("FACET_TASK_DEADLINE_S", "3600"))
FACET_JOIN_TIMEOUT_S = float(env("FACET_JOIN_TIMEOUT_S", "900"))
FACET_REDIS_URL = env("FACET_REDIS_URL", "redis://127.0.0.1:6379/0")
FACET_REGISTRY = "facet.registry"

DEBUG = flag("FACET_DEBUG")
SECRET_KEY = secret("FACET_SECRET_KEY") or (secrets.token_urlsafe(50) if DEBUG else "")
if not SECRET_KEY and flag("FACET_ALLOW_EPHEMERAL_KEY"):  # commands that neither sign nor serve: schema, simulate
    SECRET_KEY = secrets.token_urlsafe(50)
ALLOWED_HOSTS = [item for item in env("FACET_ALLOWED_HOSTS", "localhost,127.0.0.1").split(",") if item]

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "facet.rest",
    "facet.operations",
    "tenants",
    "infra",
    "scheduler",
    "facet.workloads",
    "facet.clusters",
    "facet.console",
    "facet",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "facet.middleware.Requests",
    "facet.console.security.Policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "facet.middleware.WhoAsks",
    "django_htmx.middleware.HtmxMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "facet.urls"
WSGI_APPLICATION = "facet.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {}}]

DATABASES = {"default": database(env("FACET_DATABASE_URL", "postgresql://facet_app@/facet?host=/run/facet"))}
if env("FACET_OWNER_DATABASE_URL"):  # migrations run as the owner of the tables: `migrate --database owner`
    DATABASES["owner"] = database(env("FACET_OWNER_DATABASE_URL"))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "tenants.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = FACET_HOME / "static"
WHITENOISE_USE_FINDERS = True

LOGIN_URL = "/login"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = bool(FACET_TLS_CERT or FACET_TRUSTED_PROXIES)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if FACET_TRUSTED_PROXIES else None  # see middleware.py
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["facet.rest.authentication.OnTheRequest"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["facet.rest.parsing.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "facet.rest.paging.Pages",
    "DEFAULT_SCHEMA_CLASS": "facet.rest.schema.FacetSchema",
    "EXCEPTION_HANDLER": "facet.rest.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": False,
    "NUM_PROXIES": len(FACET_TRUSTED_PROXIES) or None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Facet",
    "DESCRIPTION": "One API in front of compute, network and storage.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_SPLIT_PATCH": False,  # a change has a shape of its own, which says what it wants
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {  # enumerations that differ under one field name
        "RoleEnum": "tenants.models.Role",
        "ProjectRoleEnum": "tenants.serializers.PROJECT_ROLE_CHOICES",
        "OperationPhaseEnum": "facet.operations.models.Phase",
        "ObjectPhaseEnum": "facet.workloads.models.ObjectPhase",
        "WhatIfKindEnum": "scheduler.serializers.whatif.KINDS",
    },
}

CELERY_BROKER_URL = broker(FACET_REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
CELERY_TASK_DEFAULT_QUEUE = "facet"
CELERY_TASK_DEFAULT_EXCHANGE = ""  # the default exchange needs no binding in Redis, so a flush cannot lose one
CELERY_TASK_DEFAULT_ROUTING_KEY = "facet"
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 5.0
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "visibility_timeout": 3600,
    "max_retries": 0,  # of a bell: without it each one tries for seconds while the broker is away
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "facet.sweep", "schedule": 2.0, "options": {"expires": 10}},
    "tidy": {"task": "facet.tidy", "schedule": 3600.0},
}
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # keeps nothing: each start may sweep at once

LOGGING_CONFIG = "facet.logs.configure"
LOGGING = {"level": env("FACET_LOG_LEVEL", "INFO")}
