"""Reading a pickle without running it: the opcodes that torch writes, and inert records.

A pickle of protocol 2, torch's own, is read exactly as Python's and torch's unpicklers do, or
not at all: every opcode known here has its arguments in fixed or length-prefixed form, but for
GLOBAL, whose names end with a newline for all of them. That is why admitted pickles may be
handed on as they are, byte for byte. Protocols 3 to 5 are read for updates, of which only
numbers are kept.

Cost is bounded by the opcodes (each makes at most one small object), by the bytes (strings are
slices of them) and by the memo, which may only grow by one.
"""

import struct
from collections.abc import Callable

from fl_archive.dtypes import STORAGES
from fl_archive.errors import NotAModel, Refused, shown
from fl_archive.records import UNSET, Bare, Call, Global, Pairs, Pickle, Storage

MAX_BYTES = 16 << 20
MAX_OPCODES = 1_000_000
"""About 20,000 tensors or 6,000 modules."""

MAX_DEPTH = 1000
MAX_NAME = 512
MAX_LONG = 16

Step = Callable[["_Loop"], None]


def read_pickle(data: bytes) -> Pickle:
    """The pickle's records. Raises `NotAModel` for anything but one whole pickle."""
    if len(data) > MAX_BYTES:
        raise NotAModel("The file's pickle is too large.")
    try:
        return _Loop(data).run()
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise NotAModel("The file's pickle is damaged.") from error


class _Loop:
    """The pickle machine: `stack` up to the last mark, `outer` the stacks below it."""

    def __init__(self, data: bytes) -> None:
        if data[:1] != b"\x80" or data[1] not in range(2, 6):
            raise NotAModel("The file's pickle has an unknown protocol.")
        self.data = data
        self.position = 2
        self.steps = PROTOCOL_2 if data[1] == 2 else PROTOCOL_5
        self.stack: list[object] = []
        self.outer: list[list[object]] = []
        self.memo: list[object] = []
        self.built: set[int] = set()
        self.found = Pickle(protocol=data[1])

    def run(self) -> Pickle:
        data, steps = self.data, self.steps
        for _ in range(MAX_OPCODES):
            opcode = data[self.position]
            self.position += 1
            if opcode == STOP:
                return self.finish()
            step = steps.get(opcode)
            if step is None:
                raise NotAModel(f"The file's pickle holds opcode 0x{opcode:02x}.")
            step(self)
        raise NotAModel("The file's pickle has too many opcodes.")

    def finish(self) -> Pickle:
        if len(self.stack) != 1 or self.outer or self.position != len(self.data):
            raise NotAModel("The file's pickle doesn't end where it should.")
        self.found.root = self.stack[0]
        return self.found

    # --- Arguments in the byte stream ---------------------------------------------------

    def take(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self.data):
            raise NotAModel("The file's pickle is cut off.")
        return self.data[start : self.position]

    def byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def number(self, form: struct.Struct) -> int:
        value: int = form.unpack_from(self.data, self.position)[0]
        self.position += form.size
        return value

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + MAX_NAME + 1)
        if end < 0:
            raise NotAModel("The file's pickle holds an endless name.")
        return self.take(end + 1 - self.position)[:-1].decode()

    # --- Making objects -----------------------------------------------------------------

    def mark(self) -> None:
        if len(self.outer) >= MAX_DEPTH:
            raise NotAModel("The file's pickle is nested too deeply.")
        self.outer.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[object]:
        values, self.stack = self.stack, self.outer.pop()
        return values

    def mark_tuple(self) -> None:
        values = tuple(self.pop_mark())
        self.stack.append(values)

    def pop_tuple(self, size: int) -> tuple[object, ...]:
        values = tuple(self.stack[-size:])
        if len(values) != size:
            raise IndexError
        del self.stack[-size:]
        return values

    def drop(self, pop: Callable[[], object]) -> None:
        """Throw away what is on the stack, as pickles of tuples that hold themselves do."""
        pop()
        self.unscripted("throws something away")

    def long(self) -> None:
        size = self.byte()
        if size > MAX_LONG:
            raise NotAModel("The file's pickle holds a huge number.")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise NotAModel("The file's pickle names something that isn't text.")
        if len(module) > MAX_NAME or len(name) > MAX_NAME:
            raise NotAModel("The file's pickle holds an endless name.")
        if not (module.isascii() and name.isascii() and name.isidentifier()):
            self.odd("names something with a dot or no identifier")
        self.found.globals.add((module, name))
        self.stack.append(Global(module, name))

    def call(self, callee: object, args: object, *, new: bool = False) -> None:
        if not isinstance(args, tuple):
            args = Bare((args,))
            self.found.scripted = "The file's pickle calls with something else than arguments."
        if not isinstance(callee, Global):
            self.odd("calls something that is not a name")
        made = Call(callee, args, new)
        self.found.calls.append(made)
        self.stack.append(made)

    def call_with_keywords(self) -> None:
        self.odd("calls with keyword arguments")
        callee, args, _ = self.pop_tuple(3)
        self.call(callee, args)

    def persistent(self) -> None:
        match self.stack.pop():
            case ("storage", Global() as kind, str(key), str(location), int(numel)):
                if kind.name not in STORAGES or kind.module not in ("torch", "torch.storage"):
                    raise Refused(f"The file holds an unsupported {shown(kind.name)}.")
                storage = Storage(STORAGES[kind.name], key, location, numel)
            case _:
                raise NotAModel("The file's pickle refers to something that is not a storage.")
        self.found.storages.append(storage)
        self.stack.append(storage)

    # --- Filling objects ----------------------------------------------------------------

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Call) or target.state is not UNSET:
            self.odd("gives a state to something that can't have one")
        else:
            target.state = state
            self.built.add(id(state))

    def set_items(self, flat: list[object]) -> None:
        if len(flat) % 2:
            raise NotAModel("The file's pickle fills a dict with half a pair.")
        target = self.stack[-1]
        self.found.keys += [key for key in flat[::2] if type(key) is tuple]
        pairs = zip(flat[::2], flat[1::2], strict=True)
        if isinstance(target, Call):
            if target.pair != ("collections", "OrderedDict"):
                self.odd("fills something that is not a dict")
            target.items = Pairs() if target.items is None else target.items
            target.items.extend(pairs)
        elif isinstance(target, Pairs):
            if id(target) in self.built:
                self.odd("changes a state that an object already has")
            target.extend(pairs)
        else:
            raise NotAModel("The file's pickle fills something that is not a dict.")

    def append(self, values: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, Call):
            self.odd("extends something that is not a list")
            target.elements = [] if target.elements is None else target.elements
            target.elements.extend(values)
        elif type(target) is list:
            target.extend(values)
        else:
            raise NotAModel("The file's pickle extends something that is not a list.")

    # --- The memo -----------------------------------------------------------------------

    def put(self, index: int) -> None:
        if index != len(self.memo):
            raise NotAModel("The file's pickle numbers its objects out of order.")
        if isinstance(self.stack[-1], Call) and self.stack[-1].new and not self.stack[-1].filled:
            self.unscripted("numbers an object that is not finished")
        self.memo.append(self.stack[-1])

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def odd(self, what: str) -> None:
        self.found.oddity = self.found.oddity or f"The file's pickle {what}."

    def unscripted(self, what: str) -> None:
        self.found.unscripted = self.found.unscripted or f"The script's pickle {what}."


STOP = ord(".")
U2, U4, U8 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
I4, F8 = struct.Struct("<i"), struct.Struct(">d")


def _frame(loop: _Loop) -> None:
    if loop.number(U8) > len(loop.data) - loop.position:
        raise NotAModel("The file's pickle is cut off.")


def _steps(steps: dict[bytes, Step]) -> dict[int, Step]:
    return {opcode[0]: step for opcode, step in steps.items()}


PROTOCOL_2 = _steps(
    {
        b"N": lambda loop: loop.stack.append(None),
        b"\x88": lambda loop: loop.stack.append(True),
        b"\x89": lambda loop: loop.stack.append(False),
        b"J": lambda loop: loop.stack.append(loop.number(I4)),
        b"K": lambda loop: loop.stack.append(loop.byte()),
        b"M": lambda loop: loop.stack.append(loop.number(U2)),
        b"\x8a": _Loop.long,
        b"G": lambda loop: loop.stack.append(loop.number(F8)),
        b"X": lambda loop: loop.stack.append(loop.take(loop.number(U4)).decode()),
        b")": lambda loop: loop.stack.append(()),
        b"\x85": lambda loop: loop.stack.append(loop.pop_tuple(1)),
        b"\x86": lambda loop: loop.stack.append(loop.pop_tuple(2)),
        b"\x87": lambda loop: loop.stack.append(loop.pop_tuple(3)),
        b"t": _Loop.mark_tuple,
        b"(": _Loop.mark,
        b"]": lambda loop: loop.stack.append([]),
        b"a": lambda loop: loop.append([loop.stack.pop()]),
        b"e": lambda loop: loop.append(loop.pop_mark()),
        b"}": lambda loop: loop.stack.append(Pairs()),
        b"s": lambda loop: loop.set_items(list(loop.pop_tuple(2))),
        b"u": lambda loop: loop.set_items(loop.pop_mark()),
        b"c": lambda loop: loop.name(loop.line(), loop.line()),
        b"R": lambda loop: loop.call(*loop.pop_tuple(2)),
        b"\x81": lambda loop: loop.call(*loop.pop_tuple(2), new=True),
        b"b": _Loop.build,
        b"Q": _Loop.persistent,
        b"q": lambda loop: loop.put(loop.byte()),
        b"r": lambda loop: loop.put(loop.number(U4)),
        b"h": lambda loop: loop.get(loop.byte()),
        b"j": lambda loop: loop.get(loop.number(U4)),
        b"0": lambda loop: loop.drop(loop.stack.pop),
        b"1": lambda loop: loop.drop(loop.pop_mark),
    }
)

PROTOCOL_5 = PROTOCOL_2 | _steps(
    {
        b"\x95": _frame,
        b"\x94": lambda loop: loop.put(len(loop.memo)),
        b"\x93": lambda loop: loop.name(*loop.pop_tuple(2)),
        b"\x92": _Loop.call_with_keywords,
        b"\x8c": lambda loop: loop.stack.append(loop.take(loop.byte()).decode()),
        b"\x8d": lambda loop: loop.stack.append(loop.take(loop.number(U8)).decode()),
        b"C": lambda loop: loop.stack.append(loop.take(loop.byte())),
        b"B": lambda loop: loop.stack.append(loop.take(loop.number(U4))),
        b"\x8e": lambda loop: loop.stack.append(loop.take(loop.number(U8))),
        b"\x8f": lambda loop: loop.call(Global("builtins", "set"), ()),
        b"\x90": lambda loop: loop.append(loop.pop_mark()),
        b"\x91": lambda loop: loop.call(Global("builtins", "frozenset"), (loop.pop_mark(),)),
    }
)
