"""What a real server logs of one request, wherever that leads, and the trace of it."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.conftest import running_server
from tests.e2e.people import Person
from tests.e2e.tiny import scripted, update_of
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

ID = {"X-Request-ID": "the-last-update"}


@pytest.fixture
def collector():
    """Something that takes traces and notifications; its URL, and the spans that came."""
    taken = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            told = body if self.path == "/v1/traces" else b""
            for resource in ExportTraceServiceRequest.FromString(told).resource_spans:
                taken.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", taken
        server.shutdown()
        thread.join()


def test_a_request_is_followed_to_the_merge_and_the_delivery_that_it_causes(tmp_path, collector):
    url, spans = collector
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    environment |= {"FL_LOG_FORMAT": "json", "FL_ACCESS_LOG": "true"}
    with running_server(tmp_path, **environment) as server:
        person = Person(server, endpoint=f"{url}/")
        model = person.upload_model(scripted(1.0))
        training = person.open_training(model, [person], 1)
        person.start(training)
        person.update(model, 0, update_of(2.0), headers=ID)
        wait_until(lambda: "MODEL_TEST_ROUND" in told(spans, "fl.type"))
    followed = [span for span in spans if value(span, "fl.request") == ID["X-Request-ID"]]
    names = {span.name for span in followed}
    assert {"POST api/models/<str:id>/", "merge", "delivery"} <= names
    assert len({span.trace_id for span in followed}) == 1
    assert told(followed, "fl.outcome") == {"delivered", None}
    [merge] = [span for span in followed if span.name == "merge"]
    assert [value(merge, name) for name in ("fl.training", "fl.round")] == [training, "0"]

    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    about = [line for line in lines if line.get("request") == ID["X-Request-ID"]]
    assert {line["process"] for line in about} == {"web", "rounds"}
    assert {line.get("trace", merge.trace_id.hex()) for line in about} == {merge.trace_id.hex()}
    [taken] = [line for line in about if "update of user" in line["message"]]
    assert (taken["user"], taken["training"], taken["round"]) == (person.id, training, 0)
    [merged] = [line for line in about if "the model is now at round" in line["message"]]
    assert merged["training"] == training
    assert any(line["logger"] == "gunicorn.access" for line in about)


def value(span, name):
    return next((each.value.string_value for each in span.attributes if each.key == name), None)


def told(spans, name):
    return {value(span, name) for span in list(spans)}
