"""What a model file may name: classes and functions in its pickle, operators in its code.

An actor's file is loaded by participants with everything it brings, so it may name only what
can do no more than build a module and compute tensors. Whoever reads a file's pickle collects
what it names and calls and asks here; nothing here reads a pickle, imports torch or runs
anything of the file. Every refusal is a `Refused` with one sentence.

For an eager module (`torch.save`), the reader passes

- to `check_globals` every (module, name) of GLOBAL and STACK_GLOBAL, whether used or not,
  spelt as in the file (`__builtin__ set`, not `builtins set`: torch writes protocol 2);
- to `check_calls` every REDUCE and NEWOBJ, as the callee's pair, the number of arguments and
  which of the two; and for `_rebuild_from_type_v2(func, type, args, state)` also (func,
  len(args)), because that function calls it;
- to `check_state` the keys of every dict that BUILD (or the state argument of a rebuild
  function) lays over an object, and whether that is a Module, Tensor or OrderedDict.

That holds only if the reader itself also refuses: a callee that is not a global; NEWOBJ_EX, INST,
OBJ, EXT*; BUILD on anything but an object made by a call, a second BUILD on the same object, a
state that is not a dict with text keys (of a pair, the second part is given to `setattr`); APPEND
on anything but a list, SETITEM on anything but a dict or OrderedDict, ADDITEMS on anything but a
set, and the like; a key or an element of a set that is a tuple nested deeply (hashing recurses);
hooks, of tensors and modules; a storage's location that can't be made the processor's.

For a TorchScript archive it passes the pairs of `data.pkl` and `constants.pkl` to
`check_script_globals`, replaces the code members by `replaced` ones, passes all of these to
`check_code` and writes what that returns, and not the originals, into the archive that goes out.
"""

from fl_archive.admitted.code import check_code, replaced
from fl_archive.admitted.pickled import (
    Called,
    Pair,
    check_calls,
    check_globals,
    check_script_globals,
    check_state,
    parse_extra,
    shown,
)

__all__ = [
    "Called",
    "Pair",
    "check_calls",
    "check_code",
    "check_globals",
    "check_script_globals",
    "check_state",
    "parse_extra",
    "replaced",
    "shown",
]
