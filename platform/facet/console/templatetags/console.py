"""How the console shows a phase, a size, a share of a limit and a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

MOODS = {
    "good": ("ready", "active", "succeeded", "up", "done"),
    "busy": (
        "pending", "building", "updating", "running", "provisioning", "joining", "draining", "deleting", "removing",
        "cloning", "built",
    ),
    "bad": ("failed", "failing", "not-ready", "down"),
}  # fmt: skip
MOOD_OF = {word: mood for mood, words in MOODS.items() for word in words}


@register.simple_tag
def phase(word: str) -> SafeString:
    """A phase as a badge: the word itself, and a colour for those who see it."""
    return format_html('<span class="phase {}">{}</span>', MOOD_OF.get(word, "off"), word)


@register.simple_tag
def simulated(is_simulated: bool) -> SafeString | str:
    return format_html('<span class="tag simulated">{}</span>', "simulated") if is_simulated else ""


@register.simple_tag
def drift(found: list[dict[str, Any]] | None) -> SafeString | str:
    """A badge for what differs at its site from what was asked for."""
    if not found:
        return ""
    fields = ", ".join(str(line["field"]) for line in found)
    return format_html('<span class="tag drift" title="Differs at the site: {}">drift: {}</span>', fields, fields)


@register.simple_tag
def share(used: int, limit: int | None, *, scarce: bool = True) -> SafeString:
    """A bar of `used` in `limit`. No limit, no bar; what is scarce warns by its colour when little is left."""
    if not limit:
        return format_html('<span class="bar {}" aria-hidden="true"></span>', "empty")
    percent = min(100, round(100 * used / limit))
    mood = "fine" if not scarce else "over" if used > limit else "high" if percent >= 90 else "fine"
    return format_html(
        '<svg class="bar {}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="whole" width="100" height="6"/><rect class="part" width="{}" height="6"/></svg>',
        mood,
        percent,
    )


@register.filter
def mib(amount: int | None) -> str:
    """MiB in the largest unit that it reaches."""
    if amount is None:
        return "unlimited"
    for unit, size in (("TiB", 1024 * 1024), ("GiB", 1024)):
        if amount >= size:
            return f"{round(amount / size, 1):g} {unit}"
    return f"{amount} MiB" if amount else "0"


@register.filter
def amount(value: int | None, resource: str) -> str:
    """A quota's number in the unit of its resource."""
    if value is None:
        return "unlimited"
    if resource == "memory_mib":
        return mib(value)
    if resource == "storage_gib":
        return mib(value * 1024)
    return str(value)


@register.simple_tag
def ago(moment: datetime | None) -> SafeString:
    """How long since, with the exact time behind it."""
    if moment is None:
        return format_html('<span class="faint">{}</span>', "never")
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S}",
        f"{spoken(timezone.now() - moment)} ago",
    )


@register.simple_tag
def took(operation: Any) -> str:
    """From asking to the end, or until now."""
    return spoken((operation.ended_at or timezone.now()) - operation.created_at)


def spoken(span: timedelta) -> str:
    """The two figures that matter: 7 s, 3 min, 2 h 10 min, 4 d."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d"


@register.simple_tag
def progress(operation: Any) -> SafeString:
    """Done of total over all steps."""
    done, total = (sum(step[name] for step in operation.steps) for name in ("done", "total"))
    return format_html("{}{}", share(done, total, scarce=False), f" {done}/{total}" if total else "")
