"""One case: an operator is called as TorchScript calls it, and its gradient is taken."""

import random
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tests.fuzz.arguments import INTEGERS, Arguments, Shaped
from tests.fuzz.examples import EXAMPLES
from tests.fuzz.memory import perturb
from tests.fuzz.scripts import CHECKED, Script

REFUSALS = (RuntimeError, TypeError, ValueError, IndexError, MemoryError, NotImplementedError)
REFUSALS += (OverflowError, ArithmeticError, AttributeError, KeyError)
REFUSALS += (torch.jit.Error, AssertionError)
MAX_COMPARED = 1 << 20


GENERIC = re.compile(r"\bt\d?\b|tVal|Any|Dict|Future|Tuple")  # of Python's values; see scripts


class Overload:
    """One overload of an operator."""

    def __init__(self, schema: Any, checked: Any = None) -> None:
        self.schema = schema
        self.name = schema.name.rpartition("::")[2]
        names = schema.name, schema.overload_name
        self.call = checked or torch._C._get_operation_overload(*names)[0]
        self.shown = ".".join(filter(None, names if checked is None else ("checked", self.name)))

    def __str__(self) -> str:
        return self.shown

    def drawn(self, arguments: Arguments) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments: an example, some of it spoilt, or anything."""
        rng = arguments.rng
        example = EXAMPLES.get(str(self).partition("::")[2]) or EXAMPLES.get(self.name)
        example = example or EXAMPLES.get(self.name.rstrip("_"), ())
        if rng.random() < 0.15:
            example = ()
        keeps = rng.choice([0.5, 0.9, 0.9, 1.0])
        positional, keywords = [], {}
        for place, wanted in enumerate(self.schema.arguments):
            arguments.grad = not (wanted.alias_info and wanted.alias_info.is_write)
            if place < len(example) and rng.random() < keeps:
                value = realised(example[place], arguments)
            elif place >= len(example) and wanted.has_default_value() and rng.random() < 0.6:
                value = wanted.default_value
            else:
                value = arguments.by_type(str(wanted.type), wanted.name)
            if wanted.kwarg_only:
                keywords[wanted.name] = value
            else:
                positional.append(value)
        return positional, keywords


def writes_out(schema: Any) -> bool:
    """Whether it writes into what is passed by a name; admission refuses all but one of them."""
    return schema.name != "aten::div" and any(
        a.kwarg_only and a.alias_info and a.alias_info.is_write for a in schema.arguments
    )


def overloads(operators: list[str]) -> list[Overload]:
    """All that can be meant by `torch.…` and `ops.prim.…`, as the lists of admission have them."""
    wanted = {name.replace("torch.", "aten::").replace("ops.prim.", "prim::") for name in operators}
    found = [s for s in torch._C._jit_get_all_schemas() if s.name in wanted and not writes_out(s)]
    plain = [s for s in found if not any(GENERIC.search(str(a.type)) for a in s.arguments)]
    return [Overload(s) for s in sorted(plain, key=str) if not is_guarded(s)]


def is_guarded(schema: Any) -> bool:
    """Whether admission puts it under a guard; see scripts, and checked.txt."""
    kinds = {str(a.type) for a in schema.arguments}
    integers = schema.name[6:] in ("divmod", "floordiv", "remainder") and kinds <= {"int", "number"}
    copies = schema.overload_name in ("prim_Device", "prim_dtype")
    packed = schema.overload_name == "data" and schema.name[6:] in ("gru", "rnn_relu", "rnn_tanh")
    return integers or copies or packed or schema.name == "aten::lstm"


def checked() -> list[Overload]:
    """The operators that admission replaces by a function which checks their arguments."""
    unit = torch.jit.CompilationUnit(CHECKED)
    texts = re.findall(r"^def (\w+)\((.*?)(?=^def |\Z)", CHECKED, re.MULTILINE | re.DOTALL)
    names = [name for name, text in texts if "return torch.ops.aten." in text]
    return [Overload(getattr(unit, name).schema, getattr(unit, name)) for name in names]


def run(case: Overload | Script, seed: str, filler: int) -> list[bytes]:
    """What the call gave; nothing where it was refused, which is as it should be."""
    perturb(filler)
    torch.manual_seed(0)
    arguments = Arguments(seed, filler)
    try:
        positional, keywords = case.drawn(arguments)
        result = case.call(*positional, **keywords)
        results = list(tensors(result))
        # Where a stride has wrapped around, torch refuses to read a result that it has given.
        shown = [*map(content, results), *map(content, arguments.tensors)]
    except REFUSALS:
        return []
    shown = shown or [ascii(result).encode()]
    try:
        return [*shown, *map(content, gradients(results, arguments))]
    except REFUSALS:
        return shown


def realised(value: Any, arguments: Arguments) -> Any:
    if isinstance(value, Shaped):
        return arguments.make(arguments.spoilt(value) if arguments.strikes() else value)
    if isinstance(value, list):
        return [realised(item, arguments) for item in value]
    if type(value) is int and arguments.strikes():
        return arguments.rng.choice([value + 1, value - 1, 0, *INTEGERS])
    if type(value) is float and arguments.strikes():
        return arguments.by_type("float")
    return value


def gradients(results: list[Tensor], arguments: Arguments) -> list[Tensor]:
    """Of the results by the arguments, sometimes of the second order."""
    rng = arguments.rng
    outputs = [result for result in results if result.requires_grad]
    inputs = [tensor for tensor in arguments.tensors if tensor.requires_grad and tensor.is_leaf]
    if not outputs or not inputs:
        return []
    if rng.random() < 0.2:
        overwrite(rng, arguments.tensors)
    seeds = [
        torch.ones_like(o) if rng.random() < 0.5 else torch.ones(()).to(o.dtype).expand(o.shape)
        for o in outputs
    ]
    twice = rng.random() < 0.3
    found = torch.autograd.grad(outputs, inputs, seeds, create_graph=twice, allow_unused=True)
    first = [gradient for gradient in found if gradient is not None]
    again = [gradient for gradient in first if gradient.requires_grad]
    if twice and again:
        second = torch.autograd.grad(
            [(g * g.detach()).sum().abs() for g in again], inputs, allow_unused=True
        )
        return first + [gradient for gradient in second if gradient is not None]
    return first


def overwrite(rng: random.Random, changed: list[Tensor]) -> None:
    """Indices that are kept for the way back, changed behind autograd's back."""
    for tensor in changed:
        if tensor.dtype in (torch.int64, torch.int32) and 0 < tensor.numel() < MAX_COMPARED:
            tensor.data.fill_(rng.choice(INTEGERS) % 2**31)


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)


def content(tensor: Tensor) -> bytes:
    """Shape and numbers; nothing of what can't be read at once."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.numel() > MAX_COMPARED:
        return b""
    plain = tensor.detach().resolve_conj().resolve_neg().flatten()
    plain = plain.clone(memory_format=torch.contiguous_format)
    return str(tensor.shape).encode() + plain.view(torch.uint8).numpy().tobytes()
