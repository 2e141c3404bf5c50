"""Traces: where the spans of `fl_server_core.spans` are sent, if the settings name a collector.

OpenTelemetry's packages are imported only then. Each process that works begins for itself, because
a thread sends the spans, and threads don't outlive a fork.
"""

import os
import threading
from typing import TYPE_CHECKING

from django.conf import settings

from fl_server_core import spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

ROUTINE = ("run fl_server_ai.tasks.sweep",)
"""Spans that aren't sent, because there is one every two seconds; what they have started is."""

END_SECONDS = 2
"""So long a process that ends tries to send what is left."""

_lock = threading.Lock()
_begun: "dict[int, TracerProvider]" = {}
"""This process's, by its id: one forked from it has none."""


def begin() -> None:
    """Have this process send spans, unless it does so already or nobody wants them."""
    if not settings.FL_TRACES:
        return
    with _lock:
        if os.getpid() not in _begun:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            _begun[os.getpid()] = provide(OTLPSpanExporter())


def endpoint() -> str:
    """Return the URL of the collector, as the exporter does."""
    return settings.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or settings.OTEL_EXPORTER_OTLP_ENDPOINT


def provide(exporter: "SpanExporter") -> "TracerProvider":
    """Have spans made, and sent to this exporter by a thread of their own."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class Sender(BatchSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name not in ROUTINE:
                super().on_end(span)

    os.environ.setdefault("OTEL_SERVICE_NAME", "fl-server")
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(Sender(exporter))
    spans.trace_by(provider.get_tracer("fl_server"))
    return provider


def end() -> None:
    """Send what is left, if somebody takes it at once: no process ends later for its traces."""
    provider = _begun.pop(os.getpid(), None)
    if provider is not None:
        spans.trace_by(None)
        sending = threading.Thread(target=provider.shutdown, daemon=True)
        sending.start()
        sending.join(END_SECONDS)
