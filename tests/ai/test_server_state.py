"""What a strategy remembers is stored with each version of the model, and never split from it."""

import errno
from datetime import timedelta

import pytest
import torch
from django.core.files.storage import default_storage
from django.utils import timezone
from safetensors.torch import load_file, save_file

from fl_server_ai.aggregation import merging
from fl_server_core import quotas
from fl_server_core.files import local_path
from fl_server_core.models import Checkpoint, Training
from tests.ai.test_merging import ready, saved, weights  # noqa: F401  # a fixture

OPTIONS = {"aggregation": {"server_learning_rate": 0.1, "beta_1": 0.5, "beta_2": 0.5}}


@pytest.fixture
def adam(ready):  # noqa: F811
    Training.objects.update(aggregation_method="FedAdam", options=OPTIONS, target_num_updates=5)
    return ready


@pytest.fixture
def play(adam, participants, move, report):
    """Play the present round from its updates, of which one has half of the samples, to its end."""

    def call(*values):
        adam.refresh_from_db()
        for user, value in zip(participants, values, strict=False):
            tensors = {"weight": torch.full((1, 2), value)}
            file = saved(lambda path, tensors=tensors: save_file(tensors, path))
            answer = {"owner": user, "round": adam.model.round, "file": file}
            move("receive_update", sample_size=1, **answer)
        merging.merge_round(adam.pk, adam.model.round, adam.attempt)
        adam.refresh_from_db()
        for user in participants:
            report(user)

    return call


def state_of(row):
    with local_path(row.server_state) as path:
        return load_file(path)


def model():
    return Training.objects.get().model


def first_moment():
    return state_of(model())["m/weight"]


def test_the_state_goes_from_round_to_round(play):
    play()
    before, m = weights(Training.objects.get()), first_moment()
    play(7.0, 9.0)
    expected = 0.5 * m + 0.5 * (torch.full((1, 2), 8.0) - before).flatten()
    assert torch.allclose(first_moment(), expected)


def test_a_rollback_brings_back_the_state_of_that_version(play, move):
    for values in ((), (7.0, 9.0), (1.0, 2.0)):
        play(*values)
    first, second, _ = Checkpoint.objects.filter(round__gt=0).order_by("round")
    kept = state_of(second)
    move("roll_back", second.pk)
    assert all(torch.equal(value, kept[name]) for name, value in state_of(model()).items())
    play(3.0, 3.0)
    again = 0.5 * kept["m/weight"] + 0.5 * (3.0 - _weights_in(second).flatten())
    assert torch.allclose(first_moment(), again)
    assert state_of(first).keys() == {"m/weight", "v/weight"}


def _weights_in(checkpoint):
    with local_path(checkpoint.file) as path:
        return torch.jit.load(path).weight.detach()


def test_back_at_the_uploaded_model_the_state_begins_anew(play, move):
    play()
    play(7.0, 9.0)
    move("roll_back", Checkpoint.objects.get(round=0).pk)
    assert not model().server_state
    base = weights(Training.objects.get())
    play(2.0, 4.0)
    assert torch.allclose(first_moment(), 0.5 * (3.0 - base).flatten())


def test_a_worker_that_dies_after_its_merge_leaves_model_and_state_as_they_were(
    adam, play, monkeypatch
):
    play()
    present, kept = model(), first_moment()

    def dies(*_):
        raise OSError(errno.EIO, "lost power")

    with monkeypatch.context() as patch:
        patch.setattr(merging.ModelTrainer, "complete_merge", dies)
        with pytest.raises(OSError, match="lost power"):
            play(7.0, 9.0)
    assert (model().file, model().server_state) == (present.file, present.server_state)
    files = set(default_storage.listdir("")[1])
    Training.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    play()
    assert torch.allclose(first_moment(), 0.5 * kept + 0.5 * (8.0 - _of(present)).flatten())
    assert len(set(default_storage.listdir("")[1]) - files) == 2  # the next model, the next state


def _of(row):
    with local_path(row.file) as path:
        return torch.jit.load(path).weight.detach()


def test_state_counts_in_the_actors_quota(play):
    play()
    size = default_storage.size(model().server_state.name)
    assert quotas.stored_bytes(model().owner) == model().size + size


def test_state_of_versions_that_nobody_wants_is_dropped(play, settings):
    settings.FL_KEEP_CHECKPOINTS = 1
    play()
    play(7.0, 9.0)
    old, new = Checkpoint.objects.filter(round__gt=0).order_by("round")
    assert (old.server_state.name, new.server_state.name) == ("", model().server_state.name)


def test_other_strategies_keep_none(ready):  # noqa: F811
    merging.merge_round(ready.pk, 0, 0)
    assert (model().server_state.name, Checkpoint.objects.last().server_state_size) == ("", 0)
