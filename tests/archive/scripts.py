"""TorchScript archives written by hand: one module whose attribute `a` may lie about its type."""

from pathlib import Path

from . import forge
from .forge import call, instance, name, text, tuple_of

CODE = """class C:
  p : Tensor
  q : int
class D:
  p : int
class E(Enum):
  RED = 1
  BLUE = 2
class N(NamedTuple):
  p : Tensor
  q : int
class I(Interface):
  def get(self) -> Tensor:
    pass
class M(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  a : {kind}
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    return x
"""
TAG = name("torch.jit._pickle", "restore_type_tag")


def small(value: int) -> bytes:
    """As TorchScript's pickler writes numbers below 256."""
    return b"K" + bytes([value])


def tensor() -> bytes:
    storage = [text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), small(4)]
    sizes = [tuple_of(small(4)), tuple_of(small(1))]
    view = [tuple_of(*storage) + b"Q", small(0), *sizes, forge.FALSE]
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        *view,
        name("collections", "OrderedDict") + b")R",
    )


def list_of(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def tagged(kind: str, contents: bytes) -> bytes:
    return TAG + tuple_of(contents, text(kind)) + b"R"


def built(builder: str, *items: bytes) -> bytes:
    return call(name("torch.jit._pickle", f"build_{builder}"), list_of(*items))


def own(cls: str, **state: bytes) -> bytes:
    return instance("__torch__", cls, state)


def script(
    path: Path, kind: str, value: bytes, *, before: bytes = b"", constants: bytes = b""
) -> Path:
    """The archive; `before` stands in front of the root in `data.pkl`."""
    root = instance("__torch__", "M", {"training": forge.FALSE, "a": value})
    members = {
        "data.pkl": b"\x80\x02" + before + root + b".",
        "constants.pkl": b"\x80\x02" + tuple_of(constants) + b".",
        "code/__torch__.py": CODE.format(kind=kind).encode(),
    }
    return forge.archive(path, root, members=members)
