"""What is said of modules that their constructors could not have made, and how much is too much."""

import pytest
import torch
from torch import nn

from fl_archive import modules
from fl_archive.admission import admit_model
from fl_archive.errors import Refused
from tests.archive import forge
from tests.vision import import_torchvision


def refusal(module, tmp_path, **more):
    torch.save(module, tmp_path / "model")
    with pytest.raises(Refused) as caught:
        admit_model(tmp_path / "model", tmp_path / "admitted", **more)
    return str(caught.value)


def admitted(module, tmp_path, **more):
    torch.save(module, tmp_path / "model")
    admit_model(tmp_path / "model", tmp_path / "admitted", **more)
    return torch.load(tmp_path / "admitted", weights_only=False)


def test_it_is_said_which_module_which_attribute_and_what_to_do(tmp_path):
    model = nn.Sequential(nn.ModuleDict({"rnn": nn.GRU(3, 4)}))
    model[0]["rnn"].num_layers = 10**10
    assert refusal(model, tmp_path) == (
        "Module '0.rnn' (a GRU): num_layers must be a whole number from 1 to 2147483647; it is "
        "10000000000. Make that module anew by its class, load the old one's weights into it "
        "(new.load_state_dict(old.state_dict())), and save the model with it."
    )


def test_a_gru_of_more_layers_than_it_has_weights_is_refused(tmp_path):
    gru = nn.GRU(3, 4)
    gru.num_layers = 2**31 - 1
    assert "num_layers must be the number of layers that have weights" in refusal(gru, tmp_path)


def test_an_lstm_whose_weights_have_one_element_is_refused(tmp_path):
    lstm = nn.LSTM(3, 4)
    for name in list(lstm._parameters):
        setattr(lstm, name, nn.Parameter(torch.ones(1)))
    assert "must say which weights there are and of which shapes" in refusal(lstm, tmp_path)


def test_an_lstm_whose_weights_hide_behind_attributes_is_refused(tmp_path):
    lstm = nn.LSTM(3, 4)
    vars(lstm)["weight_ih_l0"] = torch.ones(1)
    assert "weight_ih_l0 is there twice" in refusal(lstm, tmp_path)


def test_attention_without_heads_is_refused(tmp_path):
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    layer.self_attn.num_heads = 0
    assert "Module 'self_attn' (a MultiheadAttention): num_heads" in refusal(layer, tmp_path)


def test_a_transformer_of_parts_of_other_widths_is_refused(tmp_path):
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    layer.linear2 = nn.Linear(8, 3)
    assert "self_attn.embed_dim must be the width of all its parts" in refusal(layer, tmp_path)


@pytest.mark.parametrize("index", [-1, 9, 2**40])
def test_an_embedding_whose_padding_lies_outside_is_refused(index, tmp_path):
    embedding = nn.Embedding(9, 2)
    embedding.padding_idx = index
    assert "(a Embedding): padding_idx must be" in refusal(embedding, tmp_path)


def test_a_size_that_no_longer_is_the_weights_is_told(tmp_path):
    linear = nn.Linear(3, 4)
    linear.weight = nn.Parameter(torch.rand(2, 3))
    sentence = "The model (a Linear): weight must have the shape that the sizes say, [4, 3]."
    assert sentence in refusal(linear, tmp_path)


@pytest.mark.parametrize("held", [nn.functional.relu, nn.Linear, [nn.ReLU()], {"a": (torch.Size,)}])
def test_torchs_modules_hold_nothing_else_that_can_be_called(held, tmp_path):
    conv = _with(nn.Conv1d(1, 1, 1), _conv_forward=held)
    assert "_conv_forward holds something that can be called" in refusal(conv, tmp_path)


def _with(module, **attributes):
    vars(module).update(attributes)
    return module


def test_notes_on_torchs_modules_are_data(tmp_path):
    notes = {"classes": ["a", "b"], "sizes": torch.Size([1, 2]), "kind": torch.float32}
    loaded = admitted(_with(nn.Linear(1, 1), notes=notes, mean=torch.ones(3)), tmp_path)
    assert loaded.notes == notes


# --- Bounds --------------------------------------------------------------------------------------


def nested(levels):
    module = nn.Linear(1, 1)
    for _ in range(levels):
        module = nn.Sequential(module)
    return module


def test_modules_within_each_other_have_a_limit(tmp_path):
    assert "nested too deeply" in refusal(nested(modules.MAX_DEPTH), tmp_path)


def test_a_large_deep_model_is_admitted(tmp_path):
    blocks = [nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for _ in range(500)]
    model = nn.Sequential(nested(30), nn.Sequential(*blocks))
    assert len(admitted(model, tmp_path).state_dict()) == len(model.state_dict()) > 3000


def nest(value, levels):
    for _ in range(levels):
        value = [value]
    return value


TOO_MUCH = {
    "nested": (nest(0, modules.MAX_NESTING + 1), "nested too deeply"),
    "doubled": (None, "holds too much"),
    "a huge number": (2**63, "more than 64 bits"),
    "a huge number inside": ({"a": (1, [-(2**100)])}, "more than 64 bits"),
}


def doubled():
    value = [0]
    for _ in range(20):
        value = [value, value]
    return value


@pytest.mark.parametrize("what", TOO_MUCH)
def test_attributes_have_limits(what, tmp_path):
    value, sentence = TOO_MUCH[what]
    assert sentence in refusal(_with(nn.Identity(), note=value or doubled()), tmp_path)


def test_a_module_has_only_so_many_attributes(tmp_path):
    notes = {f"note{number}": number for number in range(modules.MAX_ATTRIBUTES)}
    assert "more than 1000 attributes" in refusal(_with(nn.Identity(), **notes), tmp_path)


def repeated(levels):
    """Calls that double with every level, hidden from `named_modules()`."""
    import_torchvision()
    from torchvision.transforms import v2

    step = v2.ToImage()
    for _ in range(levels):
        step = v2.Compose([step, step])
    return step


def test_calls_that_double_with_every_level_have_a_limit(tmp_path):
    assert "too many modules" in refusal(repeated(20), tmp_path)
    admitted(repeated(5), tmp_path)


def test_a_transform_inside_itself_is_refused(tmp_path):
    step = repeated(1)
    step.transforms.append(step)
    assert "it is a part of itself" in refusal(step, tmp_path)


def test_modules_that_share_what_they_hold_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(modules, "MAX_ENTRIES", 5000)
    buffers = {f"b{number}": None for number in range(1000)}
    parts = [_with(nn.Identity(), _buffers=buffers) for _ in range(10)]
    assert "share what they hold" in refusal(nn.Sequential(*parts), tmp_path)


def test_an_object_made_empty_of_what_is_no_module_is_refused(tmp_path):
    tensor = forge.name("torch", "Tensor") + b")\x81"
    path = forge.archive(tmp_path / "m", forge.module(x=tensor))
    forge.expect_refused(path, "'torch.Tensor' as torch doesn't")


# --- Classes of the operator's -----------------------------------------------------------------


class Own(nn.LSTM):
    """Not torch's: what it does with its attributes is its own affair."""


class OwnAttention(nn.MultiheadAttention):
    """In place of torch's."""


PAIR = (Own.__module__, "Own")


def test_of_an_operators_class_only_the_bounds_are_checked(tmp_path):
    own = _with(Own(3, 4), activation=nn.functional.relu, part=nn.Linear, mode="GRU")
    assert admitted(own, tmp_path, extra_globals=[PAIR]).mode == "GRU"
    too_deep = _with(Own(3, 4), note=nest(0, modules.MAX_NESTING + 1))
    assert "nested too deeply" in refusal(too_deep, tmp_path, extra_globals=[PAIR])


def test_an_operators_module_may_know_what_it_is_in(tmp_path):
    own = Own(3, 4)
    own.part = Own(4, 4)
    vars(own.part)["whole"] = [own]
    loaded = admitted(own, tmp_path, extra_globals=[PAIR])
    assert loaded.part.whole == [loaded]


def test_an_operators_class_may_be_a_part_of_torchs(tmp_path):
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    layer.self_attn = OwnAttention(4, 2)
    admitted(layer, tmp_path, extra_globals=[(__name__, "OwnAttention")])
