import json
from types import SimpleNamespace

import pytest

from tests import audit

KNOWN = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"], "description": "d"}


@pytest.fixture
def answered(monkeypatch):
    def answer(text):
        asked = SimpleNamespace(stdout=text)
        monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: asked)

    return answer


@pytest.fixture
def one_known(answered):
    packages = [
        {"name": "left", "version": "1.0", "vulns": [KNOWN]},
        {"name": "right", "version": "2.0", "vulns": []},
        {"name": "unknown", "skip_reason": "not found"},
    ]
    answered(json.dumps({"dependencies": packages, "fixes": []}))


def test_a_known_vulnerability_fails(one_known, capsys):
    assert audit.main() == 1
    assert capsys.readouterr().out == (
        "left 1.0: PYSEC-1, fixed in 1.1\n2 of 3 packages audited, 1 vulnerabilities.\n"
    )


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-1"])
def test_one_that_is_accepted_with_its_reason_does_not(one_known, monkeypatch, name):
    monkeypatch.setattr(audit, "ACCEPTED", {name: "never called"})
    assert audit.main() == 0


def test_without_an_answer_it_says_so_and_goes_on(answered, capsys):
    answered("")
    assert audit.main() == 0
    assert "no package is audited" in capsys.readouterr().out
