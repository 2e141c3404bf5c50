"""The files that are sent: the exchanged part alone, in the model's types or in fewer bits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fl_archive import read_model
from fl_archive.encoded import INDICES, VALUES
from fl_archive.floats import WRITTEN
from fl_archive.narrowed import write_narrowed
from fl_archive.part import Part
from fl_client.errors import Unfit
from fl_client.job import Arrays
from fl_client.weights import dtype_of, open_model, write_arrays

STATE, DELTA, TOPK = "state", "delta", "topk"
ENCODINGS = (STATE, DELTA, TOPK)


@dataclass
class Plan:
    """How a training's updates are sent, as its model and its options say.

    `left` is what largest differences have left out so far; it is added to the next ones: Stich et
    al. 2018, "Sparsified SGD with Memory", arXiv 1809.07599.
    """

    dtypes: Mapping[str, str]
    exchanged: frozenset[str]
    learned: tuple[str, ...]
    holds_code: bool
    dtype: str = ""
    encoding: str = STATE
    share: float = 0.01
    left: Arrays = field(default_factory=dict)

    @classmethod
    def read(cls, model: Path, options: Mapping[str, Any], encoding: str, share: float) -> Self:
        """Look at the whole model as it was downloaded first."""
        exchange = options.get("exchange") or {}
        part = Part(**(exchange.get("tensors") or {}))
        is_chain = (options.get("daisy_chain_period") or 0) > 1  # which takes whole weights alone
        with open_model(model) as file:
            return cls(
                dtypes={name: spec.dtype for name, spec in file.tensors.items()},
                exchanged=frozenset(part.of(file).tensors),
                learned=tuple(file.learned),
                holds_code=not file.weights_only,
                dtype=exchange.get("dtype") or "",
                encoding=STATE if is_chain else encoding,
                share=share,
            )

    @property
    def is_part(self) -> bool:
        """Whether some of the model's tensors stay as they are."""
        return len(self.exchanged) < len(self.dtypes)

    def write_update(self, trained: Arrays, before: Arrays, target: Path) -> None:
        """Write what was trained, of which `before` was downloaded."""
        sent = {name: a for name, a in trained.items() if self._goes(name, trained)}
        if not sent:
            raise Unfit("None of the weights that were returned is one of the training's model.")
        if self.encoding != STATE:
            sent = {name: self._difference(name, a, before) for name, a in sent.items()}
        if self.encoding == TOPK:
            sent = self._largest(sent)
        self._write(sent, target)

    def write_moments(self, moments: Arrays, target: Path) -> None:
        """Write a moment of all weights that are learned."""
        lacking = [name for name in self.learned if name not in moments]
        if lacking:
            raise Unfit(f"The moments have nothing for {lacking[0]}.")
        arrays = {name: np.asarray(moments[name], "<f8") for name in self.learned}
        write_arrays(arrays, dict.fromkeys(arrays, "F64"), target)

    def _goes(self, name: str, trained: Arrays) -> bool:
        """Tell whether a tensor is sent.

        One under a strange name the server shall refuse, unless it is another's second name: of
        tied weights safetensors files have only one.
        """
        if name in self.dtypes:
            return name in self.exchanged
        known = (array for other, array in trained.items() if other in self.dtypes)
        return not any(np.array_equal(array, trained[name]) for array in known)

    def _is_float(self, name: str) -> bool:
        return self.dtypes.get(name) in WRITTEN

    def _difference(self, name: str, array: npt.NDArray[Any], before: Arrays) -> npt.NDArray[Any]:
        return array - before[name] if self._is_float(name) and name in before else array

    def _largest(self, differences: Arrays) -> Arrays:
        """Keep of each tensor the largest elements alone, and the rest for the next time."""
        sent: Arrays = {}
        for name, difference in differences.items():
            if not (self._is_float(name) and difference.size):
                sent[name] = difference
                continue
            flat = (difference + self.left.get(name, 0)).reshape(-1)
            count = max(int(flat.size * self.share), 1)
            places = np.sort(np.argpartition(np.abs(flat), -count)[-count:]).astype("<i8")
            sent[name + INDICES], sent[name + VALUES] = places, flat[places].astype("<f4")
            rest = flat.copy()
            rest[places] = 0
            self.left[name] = rest.reshape(difference.shape)
        return sent

    def _write(self, arrays: Arrays, target: Path) -> None:
        dtypes = {name: self.dtypes.get(name) or dtype_of(array) for name, array in arrays.items()}
        if not self.dtype or self.encoding == TOPK:
            write_arrays(arrays, dtypes, target)
            return
        wide = target.with_suffix(".wide")
        write_arrays(arrays, dtypes, wide)
        with read_model(wide) as file:
            write_narrowed(file, target, self.dtype)
        wide.unlink()
