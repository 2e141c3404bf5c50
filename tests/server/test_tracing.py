"""Spans: what is one, what it tells, and how they belong together."""

import os
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from fl_server import tracing
from fl_server.celery import app
from fl_server.handing_on import TRACE, hand_on
from fl_server_api.views.group import Group
from fl_server_core import spans
from fl_server_core.log_context import begin, log_context
from fl_server_core.spans import span
from tests.compose import ROOT


@pytest.fixture
def sent():
    """Switch traces on; a function that returns the spans that were sent, by name."""
    exporter = InMemorySpanExporter()
    provider = tracing.provide(exporter)

    def read():
        provider.force_flush()
        return {each.name: each for each in exporter.get_finished_spans()}

    yield read
    spans.trace_by(None)
    provider.shutdown()
    begin()


def test_a_span_has_the_ids_and_what_it_is_told(sent):
    with log_context(training=1, round=2), span("merge", of="updates", clients=3):
        pass
    known = dict(sent()["merge"].attributes)
    assert known == {"fl.training": "1", "fl.round": "2", "fl.of": "updates", "fl.clients": 3}


def test_a_failure_tells_its_class_and_not_its_message(sent):
    with pytest.raises(KeyError), span("inference"):
        raise KeyError("what a patient sent")
    failed = sent()["inference"]
    assert (failed.status.is_ok, failed.attributes["error.type"]) == (False, "KeyError")
    assert "patient" not in failed.to_json()


def test_a_request_is_a_span_by_its_route_without_its_query(sent, client, db):
    client.get("/api/users/?token=secret", headers={"authorization": "Token secret"})
    [request] = sent().values()
    assert (request.name, request.kind) == ("GET api/users/", SpanKind.SERVER)
    assert request.attributes["http.response.status_code"] == 401
    assert request.status.is_ok
    assert "secret" not in request.to_json()


def test_a_fault_is_a_span_that_failed(sent, client, db, monkeypatch):
    monkeypatch.setattr(Group, "initial", lambda *_: 1 / 0)
    client.raise_request_exception = False
    client.post("/api/groups/", {"name": "a"})
    assert not sent()["POST api/groups/"].status.is_ok


def test_a_request_goes_on_with_its_callers_trace(sent, client, db):
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    client.get("/api/users/", headers={"traceparent": traceparent})
    request = sent()["GET api/users/"]
    assert (request.context.trace_id, request.parent.span_id) == (
        int("a" * 32, 16),
        0xBBBBBBBBBBBBBBBB,
    )


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-01"])
def test_what_is_no_trace_begins_one(sent, client, db, traceparent):
    client.get("/api/users/", headers={"traceparent": traceparent})
    assert sent()["GET api/users/"].parent is None


def test_health_checks_are_no_spans(sent, client):
    client.get("/health/")
    assert sent() == {}


def test_a_task_follows_from_what_sent_it(sent):
    headers = {}
    with span("request"):
        hand_on(headers)
        assert spans.trace_id()

    @app.task(name="tests.traced")
    def traced():
        pass

    traced.push_request(called_directly=False, **{TRACE: headers[TRACE]})
    traced()
    traced.pop_request()
    app.tasks.unregister("tests.traced")
    request, done = sent()["request"], sent()["run tests.traced"]
    assert done.parent.span_id == request.context.span_id
    assert done.context.trace_id == request.context.trace_id


def test_a_sweep_is_not_sent_but_what_it_starts(sent):
    with span(tracing.ROUTINE[0]), span("delivery"):
        pass
    assert list(sent()) == ["delivery"]


def test_without_a_collector_nothing_happens(settings, client, db):
    settings.FL_TRACES = False
    tracing.begin()
    with span("merge", clients=3):
        assert spans.carried() == {}
        assert spans.trace_id() == ""
    assert "X-Request-ID" in client.get("/api/users/")
    tracing.end()


def test_what_cannot_be_used_stops_the_start_with_a_sentence(tmp_path):
    code = """
        import sys
        sys.modules["opentelemetry"] = None  # as if it weren't installed
        from fl_server import env, settings
        print(*env.problems, settings.FL_TRACES)
    """
    wrong = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    environment = os.environ | {"FL_DATA_DIR": str(tmp_path)} | wrong
    done = subprocess.run(
        [sys.executable, "-c", code.replace("\n        ", "\n")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "OTEL_EXPORTER_OTLP_PROTOCOL must be one of http/protobuf, not 'grpc'. "
        "OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry: install fl-server[otel]. False\n"
    )
