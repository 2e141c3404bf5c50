import errno
import hashlib
import io
from datetime import timedelta

import pytest
import torch
from django.utils import timezone
from safetensors.torch import load_file, save_file
from torch import nn

from fl_archive.admission import admit_model
from fl_server_ai.aggregation import merging
from fl_server_ai.aggregation.errors import AggregationError
from fl_server_core.files import local_path, scratch_path, store
from fl_server_core.models import LocalModel, Training


def saved(write):
    with scratch_path() as path:
        write(path)
        return store(path)


@pytest.fixture
def ready(training, participants, move):
    """A training whose two updates, [1, 1] and [4, 4] of one and two samples, are there."""

    def admitted(path):
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(nn.Linear(2, 1, bias=False)), file)
        with scratch_path() as source:
            source.write_bytes(file.getvalue())
            admit_model(source, path)

    file = saved(admitted)
    training.model.file = file.name
    training.model.save()
    move("start")
    for user, value, size in zip(participants, (1.0, 4.0), (1, 2), strict=True):
        tensors = {"weight": torch.full((1, 2), value)}
        update = saved(lambda path, tensors=tensors: save_file(tensors, path))
        move("receive_update", owner=user, round=0, sample_size=size, file=update)
    return training


def weights(training):
    training.model.refresh_from_db()
    with local_path(training.model.file) as path:
        return torch.jit.load(path).weight.detach()


def test_a_round_is_merged_into_the_next_model(ready):
    merging.merge_round(ready.pk, 0, 0)
    assert torch.equal(weights(ready), torch.full((1, 2), 3.0))
    ready.refresh_from_db()
    assert (ready.model.round, ready.phase, ready.locked) == (1, "test", False)


def test_the_merged_models_hash_is_that_of_its_file(ready):
    merging.merge_round(ready.pk, 0, 0)
    model = Training.objects.get().model
    with local_path(model.file) as path:
        content = path.read_bytes()
    assert (model.sha256, model.size) == (hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize(
    ("limit", "expected"), [({"max_sample_size": 1}, 2.5), ({"max_share": 0.6}, 2.8)]
)
def test_the_actor_limits_what_one_participant_weighs(ready, limit, expected):
    Training.objects.update(options={"round": limit})
    merging.merge_round(ready.pk, 0, 0)
    assert torch.allclose(weights(ready), torch.full((1, 2), expected))


def test_merging_a_round_again_changes_nothing(ready):
    merging.merge_round(ready.pk, 0, 0)
    file = Training.objects.get().model.file.name
    merging.merge_round(ready.pk, 0, 0)
    assert Training.objects.get().model.file.name == file


def test_a_merge_that_dies_is_done_again_when_its_lease_is_over(ready, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(merging, "merge", lambda **_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            merging.merge_round(ready.pk, 0, 0)
    merging.merge_round(ready.pk, 0, 0)
    assert Training.objects.get().model.round == 0
    Training.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    merging.merge_round(ready.pk, 0, 0)
    assert torch.equal(weights(ready), torch.full((1, 2), 3.0))


def test_updates_that_can_not_be_merged_end_the_training_with_the_reason(ready, monkeypatch):
    def refuse(**_):
        raise AggregationError("The updates disagree.")

    monkeypatch.setattr(merging, "merge", refuse)
    merging.merge_round(ready.pk, 0, 0)
    ready.refresh_from_db()
    assert ready.state == "E"
    assert ready.state_reason.endswith("The updates disagree.")


def test_a_worker_that_was_too_slow_drops_its_result(ready, monkeypatch):
    merge = merging.merge

    def taken_over_meanwhile(**arguments):
        merge(**arguments)
        Training.objects.update(claim="00000000-0000-0000-0000-000000000000")

    monkeypatch.setattr(merging, "merge", taken_over_meanwhile)
    merging.merge_round(ready.pk, 0, 0)
    assert Training.objects.get().model.round == 0
    assert not LocalModel.objects.exclude(closed_at=None).exists()


def test_a_worker_that_was_too_slow_ends_nothing_when_its_merge_fails(ready, monkeypatch, move):
    def stopped_meanwhile(**_):
        move("stop")
        raise AggregationError("The updates disagree.")

    monkeypatch.setattr(merging, "merge", stopped_meanwhile)
    merging.merge_round(ready.pk, 0, 0)
    assert Training.objects.get().state_reason == "Stopped by its actor."


def test_what_failed_too_often_ends_the_training_with_the_last_reason(ready, monkeypatch, settings):
    def find_no_room(**_):
        raise OSError(errno.ENOSPC, "No space left on device", "/data/models/scratch/x")

    settings.FL_MERGE_ATTEMPTS = 2
    monkeypatch.setattr(merging, "merge", find_no_room)
    with pytest.raises(OSError, match="No space left"):
        merging.merge_round(ready.pk, 0, 0)
    Training.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    merging.merge_round(ready.pk, 0, 0)
    ready.refresh_from_db()
    assert ready.state == "E"
    assert ready.state_reason.endswith("can't be merged: No space left on device")


def test_a_training_that_is_removed_meanwhile_is_no_error(ready, monkeypatch):
    def remove(**arguments):
        Training.objects.all().delete()
        arguments["target"].write_bytes(b"merged")

    monkeypatch.setattr(merging, "merge", remove)
    merging.merge_round(ready.pk, 0, 0)
    assert not Training.objects.exists()


def test_a_long_merge_renews_its_lease(ready, monkeypatch, settings):
    settings.FL_MERGE_LEASE_SECONDS = 0
    renewed = []
    monkeypatch.setattr(merging.MergeClaim, "renew", lambda claim: renewed.append(claim.token))
    merging.merge_round(ready.pk, 0, 0)
    assert renewed


def test_moments_are_merged_by_sample_size(ready, participants, move):
    Training.objects.update(uncertainty_method="SWAG")
    merging.merge_round(ready.pk, 0, 0)
    for user, value, size in zip(participants, (1.0, 4.0), (1, 2), strict=True):
        first, second = (
            saved(lambda path, x=x: save_file({"weight": torch.full((1, 2), x)}, path))
            for x in (value, value**2)
        )
        move("receive_moments", owner=user, round=1, sample_size=size, first=first, second=second)
    merging.merge_round(ready.pk, 1, 0)
    model = Training.objects.get().model
    for field, expected in ((model.swag_first_moment, 3.0), (model.swag_second_moment, 11.0)):
        with local_path(field) as path:
            assert torch.equal(load_file(path)["weight"], torch.full((1, 2), expected))
    assert Training.objects.get().phase == "test"


def test_moments_that_nobody_gives_are_those_of_the_merged_models(ready):
    Training.objects.update(uncertainty_method="SWAG", options={"uncertainty": {"swag": "server"}})
    merging.merge_round(ready.pk, 0, 0)
    merging.merge_round(ready.pk, 1, 0)
    model = Training.objects.get().model
    for field, expected in ((model.swag_first_moment, 3.0), (model.swag_second_moment, 9.0)):
        with local_path(field) as path:
            assert torch.equal(load_file(path)["weight"], torch.full((1, 2), expected).double())
    assert Training.objects.get().phase == "test"
