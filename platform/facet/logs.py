"""Logs: JSON lines on stdout with request, operation, tenant and site ids; people's form on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

NEVER = ("password", "token", "secret", "authorization", "user_data", "private_key")


def without_secrets(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Whatever is logged under a name that sounds like a secret is not."""
    for name in event:
        if any(word in name.lower() for word in NEVER):
            event[name] = "(not logged)"
    return event


def configure(options: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG: both structlog and the standard library end in the same lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_secrets,
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if sys.stdout.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last], foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(options.get("level", "INFO"))
    for quiet in ("httpx", "httpcore", "celery.worker.strategy", "celery.app.trace", "kombu", "amqp"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
