"""Files with bytes changed here and there are read or refused, and nothing else."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_archive.admission import admit_model
from fl_archive.errors import ArchiveError
from fl_archive.model import read_model
from fl_archive.safetensors_file import size_of
from fl_archive.update import admit_update

from . import zoo

SAVERS = zoo.TORCH_SAVERS | {"safetensors": zoo.save_safetensors}


@cache
def original(saver):
    with TemporaryDirectory() as folder:
        SAVERS[saver](zoo.build("tied"), Path(folder) / "m")
        return (Path(folder) / "m").read_bytes()


@st.composite
def mutations(draw, saver):
    """Bytes replaced, a piece cut out, doubled or moved; small files, so headers are hit."""
    data = bytearray(original(saver))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data) - 1))
        piece = draw(st.binary(min_size=1, max_size=4))
        match draw(st.sampled_from(["replace", "insert", "cut", "move"])):
            case "replace":
                data[position : position + len(piece)] = piece
            case "insert":
                data[position:position] = piece
            case "cut":
                del data[position : position + draw(st.integers(1, 300))]
            case "move":
                other = draw(st.integers(0, len(data) - 1))
                data[position : position + 30] = data[other : other + 30]
        if not data:
            break
    return bytes(data)


def read_all(path):
    with read_model(path) as archive:
        for name, spec in archive.tensors.items():
            assert archive.raw(name).size == size_of(spec.dtype, spec.shape)


@pytest.mark.parametrize("saver", SAVERS)
def test_mutated_files_are_read_or_refused(saver, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(original(saver))

    def update_with(path):
        with read_model(good) as reference:
            admit_update(path, reference, tmp_path / "target")

    @given(mutations(saver))
    @settings(max_examples=150)
    def check(data):
        bad.write_bytes(data)
        for use in (read_all, update_with):
            try:
                use(bad)
            except ArchiveError:
                continue

    check()


@pytest.mark.parametrize("saver", ["module", "torchscript", "state_dict", "safetensors"])
def test_what_is_admitted_of_mutated_files_can_be_read_again(saver, tmp_path):
    bad, target = tmp_path / "bad", tmp_path / "target"
    classes = [("tests.archive.zoo", "Tied")]

    @given(mutations(saver))
    @settings(max_examples=100)
    def check(data):
        bad.write_bytes(data)
        try:
            archive = admit_model(bad, target, extra_globals=classes)
        except ArchiveError:
            return
        read_all(target)
        if archive.weights_only:
            zoo.load_weights(target)

    check()
