"""The part of a model that a training exchanges: tensors chosen by patterns of their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import translate

from fl_archive.errors import Refused, shown
from fl_archive.model import ModelFile
from fl_archive.names import listed


@dataclass(frozen=True)
class Part:
    """Tensors with a name that one of `include` matches and none of `exclude`, as `fnmatch` does.

    Of tied weights, which are one tensor, any name may match.
    """

    include: Sequence[str] = ("*",)
    exclude: Sequence[str] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every tensor is in it."""
        return "*" in self.include and not self.exclude

    def of(self, model: ModelFile) -> ModelFile:
        """Return the model with these tensors alone; its blocks and members are the same."""
        if self.is_whole:
            return model
        included, excluded = _regex(self.include), _regex(self.exclude)
        names = model.tensors
        ins = {model.first_name(name) for name in names if included.fullmatch(name)}
        outs = {model.first_name(name) for name in names if excluded.fullmatch(name)}
        return replace(
            model,
            tensors={
                name: spec for name, spec in names.items() if model.first_name(name) in ins - outs
            },
            parameters=[name for name in model.parameters if model.first_name(name) in ins - outs],
        )

    def check(self, model: ModelFile) -> None:
        """Raise `Refused` for a pattern that matches no tensor, and for a part without training."""
        for pattern in [*self.include, *self.exclude]:
            if not any(map(_regex([pattern]).fullmatch, model.tensors)):
                raise Refused(
                    f"The pattern {shown(pattern)} matches none of its tensors; it has "
                    f"{listed(list(model.tensors))}."
                )
        if not self.of(model).trainable:
            raise Refused("None of the tensors that would be exchanged can be trained.")


WHOLE = Part()


def _regex(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")
