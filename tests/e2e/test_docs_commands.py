"""The docs' requests by curl, pasted as they stand."""

import json
import os
import re
import subprocess
from shutil import which

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.people import Person
from tests.e2e.tiny import scripted, update_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(which("curl") is None, reason="curl is not installed"),
]


def paste(page, person, model, folder):
    """Run a page's request as somebody would who has set the variables; return the answer."""
    command = re.search(r"```(?:ba)?sh\n(curl .+?)```", (ROOT / page).read_text(), re.DOTALL)[1]
    token = person.session.headers["Authorization"].removeprefix("Token ")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"TOKEN": token, "MODEL": model, "SERVER": person.url},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_an_update_is_sent_as_the_whole_body(embedded, tmp_path):
    actor, person, other = (Person(embedded) for _ in range(3))
    model = actor.upload_model(scripted(0.0))
    actor.start(actor.open_training(model, [person, other], 1))
    person.await_notification("UPDATE_ROUND_START", 0)
    (tmp_path / "update.pt").write_bytes(update_of(1.0))
    answer = paste("docs/files.md", person, model, tmp_path)
    assert answer == {"detail": "Model Update Accepted"}


def test_a_prediction_is_asked_for(embedded, tmp_path):
    person = Person(embedded)
    model = person.upload_model(scripted(0.5, inputs=3))
    answer = paste("docs/uncertainty.md", person, model, tmp_path)
    assert answer["inference"] == [0]  # of one class
