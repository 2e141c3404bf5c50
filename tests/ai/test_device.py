import pytest
import torch

from fl_server_ai.device import DeviceMissing, pick_device


@pytest.mark.parametrize(
    ("name", "available", "kind"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_device_is_the_one_asked_for(monkeypatch, name, available, kind) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert pick_device(name).type == kind


def test_cuda_that_is_missing_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceMissing, match="FL_DEVICE"):
        pick_device("cuda")
