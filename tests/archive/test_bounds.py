"""What files cost: in processes of their own, whose memory is limited."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from fl_archive import admission, pickles
from fl_archive.admission import admit_model
from fl_archive.model import read_model
from fl_archive.safetensors_file import TensorFile

from . import forge, zoo

PRELUDE = """
import resource, sys
from pathlib import Path
from fl_archive.admission import admit_model
from fl_archive.errors import ArchiveError
from fl_archive.model import read_model
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_update
from fl_archive.writer import write_model
assert not {"torch", "django"} & sys.modules.keys()
folder = Path(sys.argv[1])
status = dict(line.split(":") for line in open("/proc/self/status"))
used = int(status["VmData"].split()[0]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + (int(sys.argv[2]) << 20),) * 2)
"""


def run_within(megabytes, folder, body):
    """Run the body where private memory may grow by so much; mapped files don't count."""
    subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body), str(folder), str(megabytes)],
        check=True,
    )


REFUSE = """
try:
    read_model(folder / "m")
except ArchiveError:
    sys.exit()
sys.exit("read")
"""


@pytest.mark.parametrize("save", [zoo.save_module, zoo.save_state, zoo.save_safetensors])
def test_a_model_passes_through_in_a_few_megabytes(save, tmp_path):
    model = nn.Sequential(*[nn.Linear(2048, 2048) for _ in range(3)])
    save(model, tmp_path / "upload")
    torch.save(model.state_dict(), tmp_path / "update")
    body = """
    admit_model(folder / "upload", folder / "model")
    with read_model(folder / "model") as reference:
        admit_update(folder / "update", reference, folder / "numbers")
    with TensorFile(folder / "numbers") as numbers:
        tensors = ((name, numbers.raw(name)) for name in numbers.tensors)
        write_model(folder / "model", folder / "next", tensors)
    """
    run_within(12, tmp_path, body)  # the model has 50 MB
    with read_model(tmp_path / "next") as archive:
        assert archive.raw("2.bias").tobytes() == model[2].bias.detach().numpy().tobytes()


OPCODES = pickles.MAX_OPCODES
BOMBS = {
    "lists": b"(" + b"]" * (OPCODES - 3) + b"t.",
    "dicts": b"(" + b"}" * (OPCODES - 3) + b"t.",
    "dicts of one": b"(" + b"}NNs" * (OPCODES // 4 - 3) + b"t.",
    "memo entries": b"N"
    + b"".join(b"r" + index.to_bytes(4, "little") for index in range(OPCODES - 3))
    + b".",
    "calls": b"(cos\nsystem\nq\x00" + b"h\x00)R" * (OPCODES // 3 - 5) + b"t.",
    "numbers": b"(" + b"G@\x09!\xfbTD-\x18" * (OPCODES - 3) + b"t.",
    "text": b"(" + b"X\x04\x00\x00\x00\xf0\x9f\x98\x80" * (OPCODES - 3) + b"t.",
    "nesting": b"N" + b"\x85" * (OPCODES - 3) + b".",
    "huge text": b"X"
    + (15 << 20).to_bytes(4, "little")
    + b"\xf0\x9f\x98\x80"
    + b"a" * ((15 << 20) - 4)
    + b".",
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_the_worst_pickles_stay_within_bounds(body, tmp_path):
    forge.archive(tmp_path / "m", body[:-1])
    run_within(220, tmp_path, REFUSE)


def test_a_header_of_nested_json_stays_within_bounds(tmp_path):
    text = (
        b"{"
        + b",".join(b'"%d":[[],[],[]]' % index for index in range(1 << 18))[: (4 << 20) - 9]
        + b"}"
    )
    (tmp_path / "m").write_bytes(len(text).to_bytes(8, "little") + text)
    run_within(220, tmp_path, REFUSE)


def test_half_a_million_names_are_refused_within_bounds(tmp_path):
    body, inner = b"", forge.module({"w" * 800: forge.tensor()})
    for level in range(25):
        body += inner + b"q" + bytes([level]) + b"0"
        inner = forge.module(modules=dict.fromkeys("ab", b"h" + bytes([level])))
    forge.archive(tmp_path / "m", body + inner)
    run_within(220, tmp_path, REFUSE)


def test_a_directory_of_many_members_stays_within_bounds(tmp_path):
    forge.archive(tmp_path / "m", b"N", members={f"data/{key}": b"" for key in range(1, 100_000)})
    run_within(220, tmp_path, REFUSE)


def test_interleaved_tensors_are_told_apart_in_one_blocks_memory(tmp_path):
    base = torch.zeros(8 << 20)
    module = nn.Identity()
    for start in range(8):
        module.register_buffer(f"b{start}", base[start::8])
    torch.save(module, tmp_path / "upload")
    run_within(80, tmp_path, 'admit_model(folder / "upload", folder / "model")')  # block: 32 MB


def test_a_large_block_of_interleaved_tensors_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "MAX_SHARED", 15)
    even, odd = (forge.tensor(shape=(2,), stride=(2,), offset=start) for start in range(2))
    forge.expect_refused(
        forge.archive(tmp_path / "m", forge.module({"a": even, "b": odd})), "large"
    )


def test_a_transposed_update_is_put_in_order_in_a_few_megabytes(tmp_path):
    model = nn.Linear(4096, 4096)
    torch.save(model, tmp_path / "model")
    weight = torch.rand(4096, 4096)
    torch.save(model.state_dict() | {"weight": weight.T}, tmp_path / "update")
    body = """
    admit_model(folder / "update", folder / "weights")
    with read_model(folder / "model") as reference:
        admit_update(folder / "update", reference, folder / "numbers")
    """
    run_within(12, tmp_path, body)  # the tensor has 64 MB
    with TensorFile(tmp_path / "numbers") as numbers:
        assert numbers.raw("weight").tobytes() == weight.T.contiguous().numpy().tobytes()


def test_a_pickle_as_large_as_allowed_is_read(tmp_path):
    """20,000 tensors in one module come within the limit of opcodes."""
    tensors = {
        f"t{index}": forge.tensor(forge.storage(str(index), 1), shape=(1,))
        for index in range(15_000)
    }
    blocks = {f"data/{index}": np.float32(index).tobytes() for index in range(15_000)}
    forge.archive(tmp_path / "m", forge.module(tensors), members=blocks)
    with admit_model(tmp_path / "m", tmp_path / "model") as archive:
        assert archive.raw("t14999").view(np.float32).tolist() == [14999]
