"""Values of a script that are not of the types that its code declares."""

import enum
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from fl_archive import typed
from fl_archive.errors import Refused
from fl_archive.script_types import parse_type

from . import forge, zoo
from .forge import NONE, TRUE, admit, call, dict_of, expect_refused, name, text, tuple_of
from .scripts import TAG, built, list_of, own, script, small, tagged, tensor

FLOAT = b"G" + bytes(8)
COMPLEX = call(name("builtins", "complex"), FLOAT, FLOAT)
DEVICE = call(name("torch", "device"), text("cuda:0"))
C = own("C", p=tensor(), q=small(1))
RED = name("__torch__", "E") + small(1) + b"R"

# Each is what torch writes for the type, and no value of any of the others.
RIGHT = {
    "NoneType": NONE,
    "bool": TRUE,
    "int": small(3),
    "float": FLOAT,
    "complex": COMPLEX,
    "str": text("x"),
    "Device": DEVICE,
    "Tensor": tensor(),
    "Tuple[int, int, int]": tuple_of(*map(small, (1, 2, 3))),
    "Tuple[()]": b")",
    "List[int]": built("intlist", small(1)),
    "List[str]": tagged("List[str]", list_of(text("x"))),
    "Dict[str, Tensor]": tagged("Dict[str, Tensor]", dict_of({"x": tensor()})),
    "__torch__.C": C,
    "__torch__.E": RED,
    "__torch__.N": tuple_of(tensor(), small(1)),
}
ALSO = {
    "Optional[int]": [NONE, small(1)],
    "Union[int, str]": [small(1), text("x")],
    "List[int]": [tagged("List[int]", list_of(small(1)))],
    "List[List[int]]": [tagged("List[List[int]]", list_of(built("intlist", small(1))))],
    "Any": [*RIGHT.values(), tuple_of(NONE, tuple_of(C))],
    "__torch__.E": [name("__torch__", "E") + small(2) + b"R"],
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_value_is_of_its_own_type_and_of_no_other(kind, tmp_path):
    for other, value in RIGHT.items():
        path = script(tmp_path / "m", kind, value)
        if other == kind:
            admit(path)
            torch.jit.load(tmp_path / "admitted")
            (tmp_path / "admitted").unlink()
        else:
            expect_refused(path, "not of its type")


@pytest.mark.parametrize("kind", ALSO)
def test_other_values_of_the_type(kind, tmp_path):
    for value in ALSO[kind]:
        admit(script(tmp_path / "m", kind, value))
        torch.jit.load(tmp_path / "admitted")


HUGE = b"\x8a\x09" + (1 << 64).to_bytes(9, "little")
UNFINISHED = name("__torch__", "C") + b")\x81"
LIES = {
    "a number as a tensor": ("Tensor", small(1)),
    "a storage as a tensor": ("Tensor", forge.storage()),
    "a number of more than 64 bits": ("int", HUGE),
    "a class as a number": ("int", name("__torch__", "C")),
    "a tuple that is too short": ("Tuple[int, int, int]", tuple_of(small(1))),
    "a list without its type": ("List[int]", list_of(small(1))),
    "a list of another type": ("List[int]", tagged("List[Tensor]", list_of())),
    "a list with one wrong element": ("List[int]", built("intlist", small(1), tensor())),
    "a dict with one wrong value": (
        "Dict[str, int]",
        tagged("Dict[str, int]", dict_of({"x": small(1), "y": NONE})),
    ),
    "a dict with one wrong key": ("Dict[int, int]", tagged("Dict[int, int]", dict_of({"x": NONE}))),
    "a tuple as a key": (
        "Dict[Tuple[()], int]",
        tagged("Dict[Tuple[()], int]", b"})" + small(1) + b"s"),
    ),
    "an object of another class": ("__torch__.C", own("D", p=small(1))),
    "an object that lacks an attribute": ("__torch__.C", own("C", p=tensor())),
    "an object with one more": ("__torch__.C", own("C", p=tensor(), q=small(1), r=small(1))),
    "an object with a wrong one": ("__torch__.C", own("C", p=small(1), q=small(1))),
    "an attribute given twice": (
        "__torch__.D",
        UNFINISHED.replace(b"C", b"D") + b"}(" + (text("p") + small(1)) * 2 + b"ub",
    ),
    "an object never filled": ("__torch__.C", UNFINISHED),
    "an object made by a call": ("__torch__.C", C.replace(b"\x81", b"R", 1)),
    "a number made as an object": ("complex", COMPLEX.replace(b"R", b"\x81")),
    "a device with a state": ("Device", DEVICE + NONE + b"b"),
    "a device of no name": ("Device", call(name("torch", "device"), text("/dev/null"))),
    "an enum's unknown member": ("__torch__.E", name("__torch__", "E") + small(3) + b"R"),
    "an enum's member by a tuple": ("__torch__.E", call(name("__torch__", "E"), small(1))),
    "an enum's member of another type": ("__torch__.E", name("__torch__", "E") + TRUE + b"R"),
    "a named tuple that is too short": ("__torch__.N", tuple_of(tensor())),
    "a named tuple as an object": ("__torch__.N", own("N", p=tensor(), q=small(1))),
    "an interface": ("__torch__.I", C),
    "a future": ("Future[Tensor]", tensor()),
    "a generator": ("Generator", small(1)),
    "a stream": ("Stream", small(1)),
    "a tag that lies": ("Any", tagged("List[Tensor]", list_of(small(1)))),
    "a tag that is no type": ("Any", tagged("torch.save", list_of())),
    "a tag that is spelt otherwise": ("Any", tagged("List[ int]", list_of())),
    "a list without its type as anything": ("Any", list_of()),
    "a tuple with a lie in it": ("Any", tuple_of(own("C", p=NONE, q=NONE))),
    "a tuple of a thousand": ("Any", b")" + b"\x85" * 1000),
    "a list inside itself": ("Any", TAG + b"(]q\x00(h\x00e" + text("List[Any]") + b"tR"),
}


@pytest.mark.parametrize("lie", LIES)
def test_refuses(lie, tmp_path):
    expect_refused(script(tmp_path / "m", *LIES[lie]))


def test_refuses_one_list_with_two_types(tmp_path):
    one, other = TAG + b"(]q\x00" + text("List[int]") + b"tR", tagged("List[str]", b"h\x00")
    expect_refused(script(tmp_path / "m", "Tuple[List[int], List[str]]", tuple_of(one, other)))


def test_a_type_nested_endlessly_is_refused_before_torch_overflows_its_stack(tmp_path):
    kind = "List[" * 100_000 + "int" + "]" * 100_000
    expect_refused(script(tmp_path / "m", "Any", tagged(kind, list_of())), "nested too deeply")


@pytest.mark.parametrize(
    "before",
    [b")" + b"\x85" * 500_000 + b"0", b"(" + tensor() + b"1"],
    ids=["a deep tuple, whose freeing overflows the stack", "values up to a mark"],
)
def test_refuses_what_is_thrown_away(before, tmp_path):
    expect_refused(script(tmp_path / "m", "int", small(1), before=before), "throws something away")


def test_refuses_an_object_numbered_before_it_is_finished(tmp_path):
    """Torch's reader would keep the number of its class in the object's place."""
    value = UNFINISHED + b"q\x00" + dict_of({"p": tensor(), "q": small(1)}) + b"b"
    expect_refused(script(tmp_path / "m", "__torch__.C", value), "not finished")


def test_constants_are_held_against_what_they_say(tmp_path):
    admit(script(tmp_path / "m", "int", small(1), constants=RED + COMPLEX))
    (tmp_path / "admitted").unlink()
    lie = own("C", p=small(1), q=small(1))
    expect_refused(script(tmp_path / "m", "int", small(1), constants=lie), "not of its type")
    expect_refused(script(tmp_path / "m", "int", small(1), constants=b"]"), "constants")


def test_values_shared_without_end_cost_little(tmp_path, monkeypatch):
    monkeypatch.setattr(typed, "MAX_VISITS", 10_000)
    value = tensor() + b"q\x00"
    for level in range(1, 40):
        value = b"(" + value + b"h" + bytes([level - 1]) + b"tq" + bytes([level])
    expect_refused(script(tmp_path / "m", "Any", value), "too much")


@pytest.mark.parametrize(
    "kind",
    ["int", "Tuple[()]", "Dict[str, List[Tuple[int, float]]]", "__torch__.a.B", "Tuple[int]"],
)
def test_types_are_read_and_printed_alike(kind):
    assert str(parse_type(kind)) == kind


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "",
            "[",
            "]",
            "int]",
            "int[",
            "List[int",
            "List[int]]",
            "List[]",
            "List[,]",
            "List [int]",
        ),
        *("List[int,int]", "Tuple[(), ()]", "List[()]", "int int", "a-b", '"a"', "List[int]x"),
    ],
)
def test_refuses_what_is_no_type(kind):
    with pytest.raises(Refused):
        parse_type(kind)


# --- What torch itself writes --------------------------------------------------------------


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Word(enum.Enum):
    LONG = "it's two words = 2"
    PLAIN = "plain"


class Half(enum.Enum):
    A = 0.5
    B = -1.5


class Point(NamedTuple):
    x: int
    y: Tensor


class Counter:
    def __init__(self, start: int):
        self.start = start
        self.steps = [1.0]

    def next(self) -> int:
        return self.start + len(self.steps)


with pytest.warns(DeprecationWarning, match="torch.jit.script"):
    Counter = torch.jit.script(Counter)


class Everything(nn.Module):
    none_int: int | None
    some: Tensor | None
    nones: list[int | None]
    nested: dict[str, list[tuple[int, float]]]
    ints: list[int]
    tensors: list[Tensor]
    words: list[str]
    flags: list[bool]
    floats: list[float]
    lists: list[list[int]]
    either: int | str
    pair: tuple[list[int], str | None]
    void: tuple[()]
    optional: dict[str, Tensor | None]
    by_complex: dict[complex, bool]
    by_tensor: dict[Tensor, int]
    by_float: dict[float, int]
    by_int: dict[int, Tensor]
    by_flag: dict[bool, int]
    complexes: list[complex]
    counters: list[Counter]
    counter_or_none: Counter | None
    points: list[Point]
    point_or_none: Point | None
    annotated: Point
    colors: list[Color]
    anything: Any
    anythings: dict[str, Any]
    device: torch.device

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3))
        self.none_int, self.some, self.nones = None, torch.rand(2), [1, None]
        self.nested = {"a": [(1, 2.0)], "b": []}
        self.ints, self.tensors, self.words = [], [torch.rand(1)], ["ä", "b\n"]
        self.flags, self.floats, self.lists = [True], [1.0, float("nan")], [[1], [2, 3], []]
        self.either, self.pair, self.void = "s", ([1], None), ()
        self.optional = {"a": None, "b": torch.rand(1)}
        self.by_complex, self.by_tensor = {1j: True}, {torch.ones(1): 2}
        self.by_float, self.by_int, self.by_flag = {1.0: 2}, {}, {True: 1}
        self.complexes, self.complex_, self.device = [1j], 1 - 2j, torch.device("cpu")
        self.counter = Counter(3)
        self.counters, self.counter_or_none = [self.counter, Counter(1)], self.counter
        self.point = self.annotated = Point(1, torch.rand(1))
        self.points, self.point_or_none = [Point(1, torch.rand(2))], None
        self.color, self.word, self.half = Color.BLUE, Word.LONG, Half.B
        self.colors = [Color.RED]
        self.anything, self.anythings = 3, {"a": 1, "b": [1, 2], "c": "x", "d": None}
        self.big, self.small, self.infinite = 1 << 62, -(1 << 62), float("-inf")
        self.size, self.text, self.dtype = torch.Size([1, 2]), "", torch.float32
        self.layers = nn.ModuleList([nn.LSTM(3, 3), nn.BatchNorm1d(3)])

    def forward(self, x: Tensor) -> Tensor:
        if self.color == Color.RED or self.word == Word.PLAIN or self.half == Half.A:
            x = x + 1
        for layer in self.layers:
            if isinstance(layer, nn.BatchNorm1d):
                x = layer(x)
        return x * self.weight + self.counter.next() + self.annotated.x + self.big


@pytest.mark.parametrize("save", [zoo.save_script, zoo.save_frozen])
def test_what_torch_writes_is_admitted_with_attributes_and_constants_of_every_type(save, tmp_path):
    save(Everything().eval(), tmp_path / "m")
    admit(tmp_path / "m")
    x = torch.rand(5, 3)
    assert torch.equal(zoo.load(tmp_path / "admitted")(x), zoo.load(tmp_path / "m")(x))
