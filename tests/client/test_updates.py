"""What is sent stands for what was trained: the server's own reader says so."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fl_archive import read_model
from fl_archive.encoded import Encoding, Wire, decode_update
from fl_archive.part import Part
from fl_client import Unfit
from fl_client.updates import Plan
from fl_client.weights import read_arrays

BEFORE = {
    "body": np.linspace(-1, 1, 40, dtype="f4").reshape(4, 10),
    "count": np.array([3], "i8"),
    "head": np.linspace(0, 1, 30, dtype="f4"),
}
TRAINED = {
    "body": (BEFORE["body"] + np.linspace(0, 0.1, 40).reshape(4, 10)).astype("f8"),
    "count": np.array([4]),
    "head": BEFORE["head"] * np.float32(1.5),
}


@pytest.fixture
def model(tmp_path):
    save_file(BEFORE, tmp_path / "model")
    return tmp_path / "model"


def sent(plan, tmp_path, trained=TRAINED):
    plan.write_update(trained, BEFORE, tmp_path / "update")
    return tmp_path / "update"


def understood(model, update, tmp_path, encoding="state", dtype="", part=None):
    """Return the state that the server takes an update for."""
    wire = Wire(Encoding(encoding), dtype)
    with read_model(model) as opened:
        decode_update(update, opened, tmp_path / "decoded", wire, part or Part())
    return load_file(tmp_path / "decoded")


def test_a_state_has_the_models_types(model, tmp_path):
    update = load_file(sent(Plan.read(model, {}, "state", 0), tmp_path))
    assert {name: array.dtype for name, array in update.items()} == {
        "body": np.float32,
        "count": np.int64,
        "head": np.float32,
    }
    assert np.allclose(update["body"], TRAINED["body"])


@pytest.mark.parametrize(
    ("encoding", "dtype"), [("delta", ""), ("delta", "int8"), ("state", "float16")]
)
def test_fewer_bits_and_differences_stand_for_what_was_trained(model, tmp_path, encoding, dtype):
    plan = Plan.read(model, {"exchange": {"dtype": dtype or None}}, encoding, 0)
    state = understood(model, sent(plan, tmp_path), tmp_path, encoding, dtype)
    for name, array in TRAINED.items():
        assert np.allclose(state[name], array, atol=2e-3), name


def test_the_exchanged_part_goes_alone(model, tmp_path):
    exchange = {"tensors": {"include": ["head"]}}
    plan = Plan.read(model, {"exchange": exchange}, "state", 0)
    assert plan.is_part
    assert load_file(sent(plan, tmp_path)).keys() == {"head"}


def test_largest_differences_are_sent_and_the_others_kept_for_the_next_round(model, tmp_path):
    plan = Plan.read(model, {}, "topk", 0.25)
    update = sent(plan, tmp_path)
    assert len(load_file(update)["body.topk_indices"]) == 10
    state = understood(model, update, tmp_path, "topk")
    moved = state["body"] - BEFORE["body"]
    assert np.count_nonzero(moved) == 10
    left = TRAINED["body"] - BEFORE["body"] - moved
    assert np.allclose(plan.left["body"], left, atol=1e-6)
    state = understood(
        model, sent(plan, tmp_path, BEFORE | {"count": TRAINED["count"]}), tmp_path, "topk"
    )
    assert np.count_nonzero(state["body"] - BEFORE["body"]) == 10  # of what was left


def test_a_chain_gets_whole_weights(model, tmp_path):
    plan = Plan.read(model, {"daisy_chain_period": 2}, "delta", 0)
    assert plan.encoding == "state"


def test_a_second_name_of_tied_weights_is_left_out_and_a_strange_one_is_not(model, tmp_path):
    plan = Plan.read(model, {}, "state", 0)
    more = {"tied": TRAINED["head"].copy(), "strange": np.ones(30, "f4")}
    assert load_file(sent(plan, tmp_path, TRAINED | more)).keys() == {*BEFORE, "strange"}


def test_moments_are_of_all_that_is_learned(model, tmp_path):
    plan = Plan.read(model, {}, "state", 0)
    plan.write_moments(TRAINED, tmp_path / "moments")
    assert read_arrays(tmp_path / "moments").keys() == {"body", "head"}
    with pytest.raises(Unfit, match="nothing for head"):
        plan.write_moments({"body": TRAINED["body"]}, tmp_path / "moments")


def test_weights_of_another_model_are_no_update(model, tmp_path):
    plan = Plan.read(model, {"exchange": {"tensors": {"include": ["head"]}}}, "state", 0)
    with pytest.raises(Unfit, match="None of the weights"):
        sent(plan, tmp_path, {"body": TRAINED["body"]})
