"""What the constructors of the admitted classes leave in their modules, as rules, without torch.

An eager module is pickled as its attributes, and loading it calls no constructor, so that nothing
checks what the constructor would. But what runs later relies on it: a kernel reads as many weights
as a size says, `LSTM.__setstate__` loops over as many layers as a number says. So each class that
may be named (`admitted/globals.txt`) has a rule of what its attributes, tensors and children are.

`constraints` say what an attribute's value may be, `rules` what a rule is; the others hold
tables of them.
"""

from fl_archive.constructors import (
    attention,
    layers,
    recurrent,
    shapes,
    simple,
    transforms,
)
from fl_archive.constructors.rules import NONE, Complaint, Facts, Rule

RULES: dict[str, Rule] = {
    **simple.RULES,
    **layers.RULES,
    **shapes.RULES,
    **recurrent.RULES,
    **attention.RULES,
    **transforms.RULES,
}
"""By the class' name. Both torch.nn and torchvision have an Identity, without attributes."""

__all__ = ["NONE", "RULES", "Complaint", "Facts", "Rule"]
