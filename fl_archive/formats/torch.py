"""What torch saves, by `torch.save` and `torch.jit.save`: a zip file of blocks and pickles."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from fl_archive.contents import ModelFile, TensorSpec
from fl_archive.declared import read_classes
from fl_archive.disk import Bytes
from fl_archive.errors import UNEXPECTED, NotAModel, Refused, shown
from fl_archive.foreign import refuse_zip
from fl_archive.formats.base import Format
from fl_archive.pickles import MAX_BYTES, read_pickle
from fl_archive.records import Call, Pickle
from fl_archive.safetensors_file import encode_header
from fl_archive.trees import (
    Found,
    is_module,
    module_tensors,
    script_tensors,
    state_tensors,
)
from fl_archive.views import View, is_tensor, read_view
from fl_archive.zip_reader import ZipMember, read_content, read_members

MAX_TENSORS = 40_000
MAX_CODE = 16 << 20


def is_zip(raw: Bytes) -> bool:
    """Tell whether a zip file's first member begins here."""
    return raw[:4].tobytes() == b"PK\3\4"


def read_torch(raw: Bytes) -> ModelFile:
    """Read a TorchScript archive, a saved module, state dict or tensor."""
    members = read_members(raw)
    _check_byte_order(raw, members)
    names: list[str] = [name for name in ("data.pkl", "constants.pkl") if name in members]
    if "data.pkl" not in names:
        raise refuse_zip(list(members))
    pickles = {name: read_pickle(read_content(raw, members[name], MAX_BYTES)) for name in names}
    blocks = {
        name: _read_block(raw, member)
        for name, member in members.items()
        if name.startswith(("data/", "constants/"))
    }
    sources = _read_sources(raw, members) if "constants.pkl" in names else {}
    form, found = _find_tensors(pickles, sources)
    tensors, parameters = _describe(found, blocks)
    return ModelFile(form, tensors, parameters, blocks, raw, members, pickles, sources)


def _read_block(raw: Bytes, member: ZipMember) -> Bytes:
    if member.deflated:
        raise Refused(f"Member '{member.name:.80}' is compressed: save it as torch does.")
    return raw[member.start : member.start + member.size]


def _check_byte_order(raw: Bytes, members: Mapping[str, ZipMember]) -> None:
    order = members.get("byteorder")
    if order is not None and read_content(raw, order, 16).strip() != b"little":
        raise Refused("The file is big-endian: save it on a little-endian machine.")


def _read_sources(raw: Bytes, members: Mapping[str, ZipMember]) -> dict[str, bytes]:
    codes = [m for name, m in members.items() if name.startswith("code/") and name[-3:] == ".py"]
    if sum(member.size for member in codes) > MAX_CODE:
        raise NotAModel("The model's code is too large.")
    return {member.name.partition("/")[2]: read_content(raw, member, MAX_CODE) for member in codes}


def _find_tensors(
    pickles: Mapping[str, Pickle], sources: Mapping[str, bytes]
) -> tuple[str, Iterator[Found]]:
    root = pickles["data.pkl"].root
    if "constants.pkl" in pickles:
        if not isinstance(root, Call):
            raise NotAModel(UNEXPECTED)
        return "torchscript", script_tensors(root, read_classes(sources))
    if is_tensor(root):
        return "tensor", iter([Found("", root, is_parameter=False)])
    if isinstance(root, Call) and is_module(root):
        return "module", module_tensors(root)
    return "state_dict", state_tensors(root)


def _describe(
    found: Iterable[Found], blocks: Mapping[str, Bytes]
) -> tuple[dict[str, TensorSpec], list[str]]:
    """Specs in order, and the parameters' names: one per object, as `parameters()` has them."""
    specs: dict[str, TensorSpec] = {}
    first_names: dict[View, str] = {}
    parameters: dict[int, str] = {}
    for name, record, is_parameter, is_fixed in found:
        if name in specs or len(specs) >= MAX_TENSORS:
            raise NotAModel(f"There are too many tensors, or two with the name {shown(name)}.")
        try:
            view = read_view(record, "data", blocks)
        except (NotAModel, Refused) as error:
            raise type(error)(f"Tensor {shown(name)}: {error}") from error
        spec = TensorSpec(name, *view, is_parameter=is_parameter, is_fixed=is_fixed)
        first = first_names.setdefault(view, name)
        specs[name] = replace(spec, alias_of=None if first == name else first)
        if is_parameter:
            parameters.setdefault(id(record), name)
    encode_header({name: (spec.dtype, spec.shape) for name, spec in specs.items()})
    return specs, list(parameters.values())


TORCH = Format(is_zip, read_torch)
