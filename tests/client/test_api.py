"""How files are sent: whole beside a query, or in parts, as large as they are."""

from responses.matchers import json_params_matcher, query_param_matcher

from tests.client.conftest import URL

API = f"{URL}/api"


def taken_in_parts(server, *ids):
    """Have the server take an upload for each id, whole at once."""
    for upload in ids:
        server.post(f"{API}/uploads/", status=201, headers={"Location": f"/api/uploads/{upload}/"})
        server.patch(f"{API}/uploads/{upload}/", status=204)
        server.head(f"{API}/uploads/{upload}/", headers={"Upload-Offset": "3"})


def test_a_small_update_is_the_whole_body(server, api, tmp_path):
    (tmp_path / "update").write_bytes(b"abc")
    said = {"round": "1", "sample_size": "2", "encoding": "state", "base": "v"}
    said |= {"metric_names": "loss", "metric_values": "0.5"}
    matchers = [query_param_matcher(said)]
    server.post(f"{API}/models/m/", status=201, json={}, match=matchers)
    how = {"round": 1, "sample_size": 2, "base": "v", "metrics": {"loss": 0.5}}
    api.send_update("m", tmp_path / "update", **how)
    assert server.calls[0].request.body == b"abc"


def test_a_large_update_goes_in_parts_and_is_named(server, api, tmp_path, monkeypatch):
    monkeypatch.setattr("fl_client.api.IN_ONE_PIECE", 2)
    (tmp_path / "update").write_bytes(b"abc")
    taken_in_parts(server, "u")
    said = {"round": 1, "sample_size": 2, "encoding": "delta", "model_file_upload": "u"}
    server.post(f"{API}/models/m/", status=201, json={}, match=[json_params_matcher(said)])
    api.send_update("m", tmp_path / "update", round=1, sample_size=2, encoding="delta")


def test_metrics_too_many_for_the_first_line_go_in_the_body(server, api, tmp_path):
    (tmp_path / "update").write_bytes(b"abc")
    taken_in_parts(server, "u")
    server.post(f"{API}/models/m/", status=201, json={})
    metrics = {f"metric {number}": 0.5 for number in range(200)}
    api.send_update("m", tmp_path / "update", round=1, sample_size=2, metrics=metrics)


def test_large_moments_go_in_parts_each(server, api, tmp_path, monkeypatch):
    monkeypatch.setattr("fl_client.api.IN_ONE_PIECE", 2)
    files = [tmp_path / "first", tmp_path / "second"]
    for file in files:
        file.write_bytes(b"abc")
    taken_in_parts(server, "u", "v")
    said = {"round": 1, "sample_size": 2}
    ids = {"first_moment_file_upload": "u", "second_moment_file_upload": "v"}
    matcher = json_params_matcher(said | ids)
    server.post(f"{API}/models/m/swag/", status=201, json={}, match=[matcher])
    api.send_moments("m", *files, **said)
