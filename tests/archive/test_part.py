import re

import pytest
import torch
from safetensors.torch import save_file

from fl_archive.errors import Mismatch, Refused
from fl_archive.model import read_model
from fl_archive.part import WHOLE, Part
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_update
from fl_archive.writer import with_rest, write_model

STATE = {
    "body.weight": torch.arange(6.0).reshape(2, 3),
    "norm/scale": torch.ones(3),
    "head.weight": torch.zeros(2, 2),
    "head.count": torch.tensor(4),
}


@pytest.fixture
def model(tmp_path):
    save_file(STATE, tmp_path / "model")
    with read_model(tmp_path / "model") as archive:
        yield archive


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (WHOLE, set(STATE)),
        (Part(["head.*"]), {"head.weight", "head.count"}),
        (Part(["*"], ["norm*"]), {"body.weight", "head.weight", "head.count"}),
        (Part(["b*", "n*"], ["*/*"]), {"body.weight"}),
        (Part(["HEAD.*"]), set()),
        (Part(["[bn]o*"]), {"body.weight", "norm/scale"}),
        (Part([]), set()),
    ],
)
def test_patterns_choose_tensors(model, part, names):
    assert set(part.of(model).tensors) == names


def test_of_tied_weights_any_name_may_match(tmp_path):
    tied = torch.ones(3)
    torch.save({"a": tied, "b": tied, "c": torch.ones(2)}, tmp_path / "tied")
    with read_model(tmp_path / "tied") as archive:
        assert set(Part(["b"]).of(archive).tensors) == {"a", "b"}
        assert set(Part(["*"], ["b"]).of(archive).tensors) == {"c"}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Part(["lora*"]), "The pattern 'lora*' matches none of its tensors; it has tensors "),
        (Part(["*"], ["lora*"]), "The pattern 'lora*' matches none"),
        (Part(["head.count"]), "None of the tensors that would be exchanged can be trained."),
        (Part(["*"], ["*"]), "None of the tensors that would be exchanged can be trained."),
    ],
)
def test_a_part_that_makes_no_sense_is_refused(model, part, words):
    with pytest.raises(Refused, match=re.escape(words)):
        part.check(model)


@pytest.mark.parametrize("holds", [{"head.weight", "head.count"}, set(STATE)])
def test_of_an_update_the_part_is_kept(model, tmp_path, holds):
    update = {name: STATE[name] + 1 for name in holds}
    if "body.weight" in update:
        update["body.weight"] = torch.full((7,), torch.nan)  # whatever it is
    save_file(update, tmp_path / "update")
    admit_update(tmp_path / "update", model, tmp_path / "numbers", Part(["head.*"]))
    with TensorFile(tmp_path / "numbers") as file:
        assert set(file.tensors) == {"head.weight", "head.count"}
        assert file.raw("head.weight").view("<f4").tolist() == [1] * 4


@pytest.mark.parametrize("names", [{"head.count"}, {"head.weight", "head.count", "stranger"}])
def test_an_update_without_all_of_the_part_or_with_what_the_model_lacks_is_refused(
    model, tmp_path, names
):
    save_file({name: STATE.get(name, torch.ones(1)) for name in names}, tmp_path / "update")
    with pytest.raises(Mismatch, match=r"head\.weight|stranger"):
        admit_update(tmp_path / "update", model, tmp_path / "numbers", Part(["head.*"]))
    assert not (tmp_path / "numbers").exists()


def test_the_rest_of_a_model_stays(model, tmp_path):
    new = [("norm/scale", STATE["norm/scale"].numpy() * 5), ("head.weight", torch.ones(4).numpy())]
    new.sort(key=lambda item: list(model.tensors).index(item[0]))
    write_model(tmp_path / "model", tmp_path / "new", with_rest(model, new))
    with read_model(tmp_path / "new") as written:
        assert written.raw("norm/scale").view("<f4").tolist() == [5, 5, 5]
        assert written.raw("head.weight").view("<f4").tolist() == [1] * 4
        for name in ("body.weight", "head.count"):
            assert written.raw(name).tobytes() == model.raw(name).tobytes()
    with pytest.raises(ValueError, match="'nobody' is unknown"):
        list(with_rest(model, [("nobody", new[0][1])]))
