import json

import pytest

from fl_server_ai.failures import KINDS, Failure, JobRefused, RunnerFault, read


def below(kind):
    return {kind}.union(*map(below, kind.__subclasses__()))


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_failure_arrives_as_what_it_was(kind):
    arrived = read(json.loads(json.dumps(kind("A sentence.").tell())))
    assert (type(arrived), str(arrived)) == (kind, "A sentence.")


def test_every_kind_has_a_code_of_its_own():
    ours = {kind for kind in below(Failure) if kind.__module__ == Failure.__module__}
    assert set(KINDS.values()) == ours - {Failure}
    assert len(KINDS) == len(ours) - 1


@pytest.mark.parametrize("told", [{}, {"code": "other"}, {"code": []}, {"sentence": "x"}])
def test_what_is_no_failure_is_not_read_as_one(told):
    with pytest.raises(ValueError, match="no failure"):
        read(told)


def test_a_long_sentence_is_cut():
    assert len(JobRefused("x" * 5000).tell()["sentence"]) == 1000
    assert len(RunnerFault("x" * 20_000).tell()["sentence"]) == 10_000
