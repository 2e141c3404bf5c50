import pytest

from fl_server_core.archive import dtypes
from fl_server_core.archive.model import read_model

from . import zoo


def expect_state(archive, state):
    assert list(archive.tensors) == list(state)
    for name, tensor in state.items():
        spec = archive.tensors[name]
        assert spec.dtype == dtypes.TORCH[str(tensor.dtype).removeprefix("torch.")]
        assert spec.shape == tuple(tensor.shape)
        assert archive.raw(name).tobytes() == zoo.as_bytes(tensor)


@pytest.mark.parametrize("saver", zoo.TORCH_SAVERS)
@pytest.mark.parametrize("name", zoo.ALL)
def test_reads_the_state_that_torch_has_after_loading(name, saver, tmp_path):
    path = tmp_path / "model.pt"
    zoo.TORCH_SAVERS[saver](zoo.build(name), path)
    loaded = zoo.load(path)
    state = loaded if saver == "state_dict" else loaded.state_dict()
    with read_model(path) as archive:
        expect_state(archive, state)
        assert archive.kind == ("torchscript" if saver == "trace" else saver)
        if saver != "state_dict":
            assert archive.parameters == [name for name, _ in loaded.named_parameters()]
