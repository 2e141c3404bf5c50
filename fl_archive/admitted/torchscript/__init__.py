"""Holds TorchScript code against what is admitted, in a process of its own (see `child`).

Only the standard library is imported, and by relative imports: the child puts the parent folder
on its path and imports this package alone, so that it starts in milliseconds.

What passes is the small part of Python that torch's printer writes. Torch reads the text with a
lexer of its own, so whatever the two could read differently (comments, continued lines, triple
quotes, `is notx`) is refused by its characters or by its node.

Names can't be smuggled through values: `torch` and `ops` stand only in front of an operator that
is called at once, and an attribute must be declared by a class of the archive. Where a declared
name is also an operator that is withheld (`x.resize_`), it must be an attribute of `self`.
"""
