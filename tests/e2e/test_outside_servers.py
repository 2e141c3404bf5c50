"""`manage.py serve` on PostgreSQL, Redis and S3: the embedded processes with other URLs."""

import os
from pathlib import Path

import pytest
import torch
from django.core.management.utils import get_random_secret_key
from safetensors.torch import load, save

from tests.e2e.conftest import running_serve
from tests.e2e.people import Person
from tests.e2e.tiny import scripted, update_of
from tests.servers import S3, Postgres, Redis

pytestmark = pytest.mark.e2e


def sockets_of(pid):
    """Count them: a connection that is there before others are forked would be all theirs."""
    files = Path(f"/proc/{pid}/fd").glob("*")
    return sum(os.readlink(file).startswith("socket:") for file in files)


def test_serve_keeps_everything_elsewhere_when_told_so(tmp_path):
    with Postgres() as postgres, Redis() as redis, S3() as s3:
        environment = postgres.database("fl") | s3.bucket("models")
        environment |= {"FL_REDIS_LOCATION": f"redis://127.0.0.1:{redis.port}/0"}
        environment |= {"FL_DJANGO_SECRET_KEY": get_random_secret_key()}
        with running_serve(tmp_path, FL_PASSWORD_RULES="false", **environment) as server:
            assert sockets_of(server.process.pid) == 1
            url = server.url
            actor, first, second = Person(url), Person(url), Person(url)
            form = {"name": "model", "description": "with code, which needs a permission here"}
            files = {"model_file": scripted(0.0)}
            actor.ask("POST", "/models/", data=form, files=files, expect=403)
            model = actor.upload_model(save({"weight": torch.zeros(1, 2)}))
            actor.start(actor.open_training(model, [first, second], 1))
            for person, weight in ((first, 1.0), (second, 3.0)):
                person.await_notification("UPDATE_ROUND_START", 0)
                person.update(model, 0, update_of(weight), expect=201)
            first.await_notification("MODEL_TEST_ROUND", 1)
            merged = actor.ask("GET", f"/models/{model}/")
    assert torch.equal(load(merged)["weight"], torch.full((1, 2), 2.0))
    kept = [path.name for path in (tmp_path / "var").rglob("*") if path.is_file()]
    assert sorted(name for name in kept if not name.startswith("beat")) == ["serve.lock"]
