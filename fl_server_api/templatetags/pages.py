"""How times, durations and numbers are written on pages."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from django import template
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

UNKNOWN = "\N{EN DASH}"


@register.simple_tag
def moment(when: datetime | None, kind: str = "") -> str | SafeString:
    """Write a time; the page's script has it in the reader's zone, and counts to a `deadline`."""
    if when is None:
        return UNKNOWN
    when = when.astimezone(UTC)
    said = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" data-kind="{}">{}</time>', when.isoformat(), kind, said)


@register.filter
def duration(took: timedelta | None) -> str:
    """Write how long something took."""
    if took is None:
        return UNKNOWN
    seconds = took.total_seconds()
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


@register.filter
def number(value: float | None) -> str:
    """Write a metric."""
    return UNKNOWN if value is None else f"{value:.4g}"


@register.simple_tag(takes_context=True)
def link(context: dict[str, HttpRequest], name: str, value: object) -> str:
    """Return the query of this page with one of its values changed."""
    query = {key: said for key, said in context["request"].GET.items() if said}
    return "?" + urlencode(query | {name: str(value)})
