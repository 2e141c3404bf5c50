"""What the interpreter does with Python's own values, for which no operator is called by name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import fl_archive

ADMITTED = Path(fl_archive.__file__).parent / "admitted"
# Outside of an archive, `torch` is Python's module, and functions stand beside each other.
CHECKED = re.sub(
    r"\btorch\.(\w+)\(",
    r"torch.ops.aten.\1(",
    (ADMITTED / "checked.txt").read_text().replace("__torch__.fl_checked.", ""),
)
TYPES = {
    **dict.fromkeys("abc", "int"),
    **dict.fromkeys("fg", "float"),
    **dict.fromkeys("st", "str"),
    **dict.fromkeys("xy", "Tensor"),
    "p": "bool",
    "z": "complex",
    "o": "Optional[Tensor]",
    "l": "List[int]",
    "h": "List[float]",
    "n": "List[str]",
    "v": "List[Tensor]",
}
EXPRESSIONS = """
a % divisor(b);; a // divisor(b);; a / b;; a ** b;; a << b;; a >> b;; a & b;; a | b;; a ^ b
divmod(a, divisor(b));; -a;; abs(a);; a + b;; a - b;; a * b;; a < b;; a >= b;; a == b;; a != b
not a;; round(f);; f % g;; f // g;; f / g;; f ** g;; a ** f;; int(f);; float(a);; bool(a)
str(a);; str(f);; int(s);; float(s);; chr(a);; ord(s);; hex(a);; bin(a);; oct(a);; complex(f, g)
complex(a, f);; z * z;; z / z;; abs(z);; z ** z;; min(a, b);; max(f, g);; min(l);; max(l)
sum(l);; min(l, l);; a in l;; s in n;; f in h;; l + l;; l * a;; a * l;; len(l);; l == l;; l != l
any(l);; all(l);; l[a];; l[a:b];; l[a:b:c];; l.copy();; l.pop(a);; l.pop();; l.index(a)
l.count(a);; sorted(l);; [a, b][c];; n[a];; v[a];; v[a:b:c];; v.pop(a);; v.index(x);; sorted(n)
n.index(s);; v + v;; n * a;; h * a;; sorted(h);; s + t;; s[a];; s[a:b];; s[a:b:c];; len(s)
s == t;; s < t;; hash(s);; hash(a);; hash(f);; s.upper();; s.title();; s.split();; s.split(t)
s.split(t, a);; s.rsplit(t, a);; s.splitlines(p);; s.join(n);; s.replace(t, s, a)
s.find(t, a, b);; s.rfind(t, a, b);; s.index(t, a, b);; s.rindex(t, a, b);; s.count(t, a, b)
s.startswith(t, a, b);; s.endswith(t, a, b);; s.strip(t);; s.lstrip(t);; s.rstrip(t)
s.center(a, t);; s.ljust(a, t);; s.rjust(a, t);; s.zfill(a);; s.expandtabs(a);; s.partition(t)
s.rpartition(t);; s.capitalize();; s.swapcase();; s.lower();; s.isdigit();; s.isalpha()
s.isspace();; s.isupper();; s.isidentifier();; s.isprintable();; s.istitle();; s.isdecimal()
s.isnumeric();; s.isalnum();; s.islower();; s.format(a, f, t);; "{} {}".format(s, x)
"%s %d" % (s, a);; s % (a,);; s % (t, f);; s in t;; {s: a, t: b}[s];; {a: x, b: y}[c]
{a: b}.get(c);; {a: b}.get(c, a);; {s: a}.pop(t);; {f: a}.setdefault(g, b);; a in {b: c}
{a: b, b: c}.items();; {s: a}.keys();; {a: b}.values();; {a: b}.popitem();; len({a: b})
dict([(a, b), (b, c)]);; list({a: b});; list(range(a & 9, b & 9, 2));; list(s);; list(l)
[i for i in range(a & 50)];; x.item();; int(x);; float(x);; bool(x);; complex(x);; x[a];; x[a:b]
x[a:b:c];; x[..., a];; x[:, a];; x[None, a];; x[y];; x[y, a];; x.size(a);; x.stride(a)
torch.tensor(l);; torch.tensor([l, l]);; torch.tensor(h);; torch.tensor(a);; torch.as_tensor(l)
torch.tensor(f, dtype=torch.int8);; x.size();; x.shape[a];; x.dim();; x.numel();; x.dtype
x.device;; x.is_cuda;; x.to(torch.float16);; x.type_as(y);; torch.jit.annotate(Optional[int], a)
o is None;; o is not None;; x.requires_grad;; x.grad;; x.is_leaf;; x.nbytes;; x.itemsize
x.layout;; x.is_sparse;; x % a;; x // a;; x / a;; x ** a;; a % x;; a // x;; a ** x;; x << a
x >> a;; x % y;; x // y;; x ** y;; x & y;; x @ y;; f ** x;; torch.broadcast_shapes(l, [a, b])
x.unbind(a);; x.chunk(a, b);; x.split(a, b);; x.split(l, b)
"""
STATEMENTS = """
l[a] = b;; v[a] = x;; n[a] = s;; h[a] = f;; del l[a];; del v[a];; l.append(a);; v.append(x)
l.insert(a, b);; v.insert(a, x);; l.extend(l);; v.extend(v);; l.remove(a);; l.reverse()
v.reverse();; l.clear();; l.sort();; h.sort(p);; n.sort();; v.clear();; l += [a];; l *= a
x[a] = f;; x[a:b] = y;; x[a:b:c] = f;; x[y] = f;; x[:, a] += y;; x += y;; x %= a;; x[..., a] = y
x <<= a;; x.relu_()
"""


class Script:
    """A function of one line, called as an operator is."""

    call: Callable[..., Any]

    def __init__(self, line: str, *, statement: bool) -> None:
        self.line = line
        names = sorted(set(re.findall(r"\b[a-z]\b", re.sub(r'"[^"]*"', "", line))) & set(TYPES))
        self.types = {name: TYPES[name] for name in names}
        self.result = next((name for name in names if name in "lvnhx"), "a")
        self.body = f"{line}\n  return {self.result}" if statement else f"return {line}"

    def __str__(self) -> str:
        return f"script: {self.line}"

    def source(self, name: str) -> str:
        """The function's text."""
        given = ", ".join(f"{name}: {kind}" for name, kind in self.types.items())
        return f"def {name}({given}):\n  {self.body}\n"

    def drawn(self, arguments: Any) -> tuple[list[Any], dict[str, Any]]:
        """What it is called with."""
        return [arguments.by_type(kind) for kind in self.types.values()], {}


def scripts() -> list[Script]:
    """All of them, compiled."""
    found = [
        Script(line.strip(), statement=text is STATEMENTS)
        for text in (EXPRESSIONS, STATEMENTS)
        for line in re.split(";;|\n", text)
        if line.strip()
    ]
    sources = [script.source(f"f{place}") for place, script in enumerate(found)]
    unit = torch.jit.CompilationUnit("\n".join([CHECKED, *sources]))
    for place, script in enumerate(found):
        script.call = getattr(unit, f"f{place}")
    return found
