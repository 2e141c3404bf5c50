"""Spans of OpenTelemetry, of which traces are made: what took how long, and followed from what.

Nothing here does anything until `fl_server.tracing` has handed a tracer in, which it does where
traces are switched on. Attributes are ids, counts and names of ours: never what somebody has sent.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fl_server_core.log_context import known_ids

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_tracer: "Tracer | None" = None


def trace_by(tracer: "Tracer | None") -> None:
    """Make spans by this tracer from here on; by none, no more."""
    global _tracer
    _tracer = tracer


@contextmanager
def span(
    name: str,
    *,
    kind: str = "INTERNAL",
    carried: Mapping[str, str] | None = None,
    **attributes: str | int,
) -> Iterator[None]:
    """Make what happens here a span; it fails with the name of an exception's class alone.

    It belongs to the span around it, or to the one that sent what was `carried` here. The ids that
    are known when it ends become attributes, too.
    """
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = None if carried is None else TraceContextTextMapPropagator().extract(carried)
    with _tracer.start_as_current_span(
        name,
        context=parent,
        kind=SpanKind[kind],
        record_exception=False,  # its message may quote what was sent
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_status(StatusCode.ERROR)
            current.set_attribute("error.type", type(error).__name__)
            raise
        finally:
            ids = {name: str(value) for name, value in known_ids().items()}
            current.set_attributes(
                {f"fl.{key}": value for key, value in (ids | attributes).items()}
            )


def describe(attributes: Mapping[str, str | int], *, name: str = "", failed: bool = False) -> None:
    """Say more of the span around this, with attributes by their full names."""
    if _tracer is None:
        return
    from opentelemetry.trace import StatusCode, get_current_span

    current = get_current_span()
    current.set_attributes(attributes)
    if name:
        current.update_name(name)
    if failed:
        current.set_status(StatusCode.ERROR)


def carried() -> dict[str, str]:
    """Return what tells another process of the span around this (W3C Trace Context)."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    return carrier


def trace_id() -> str:
    """Return the present trace's, in hexadecimal digits, or an empty string."""
    if _tracer is None:
        return ""
    from opentelemetry.trace import format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""
