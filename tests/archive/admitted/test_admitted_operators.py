"""What is written into the calls of operators that believe their numbers."""

import pytest

from fl_archive.admitted import check_code
from fl_archive.errors import Refused

HEAD = "def f(x: Tensor, n: int, m: Optional[int], t: Tensor) -> Tensor:\n  return "


def edited(call):
    [source] = (
        source for name, source in check_code(code(call)).items() if "fl_checked" not in name
    )
    return source.decode().removeprefix(HEAD).strip()


def code(call):
    return {"code/__torch__/m.py": f"{HEAD}{call}\n".encode()}


def guarded(guard, number, kinds):
    checked = f"__torch__.fl_checked.{guard}(int({number}))"
    return f"({checked} if isinstance({number}, {kinds}) else {number})"


NUMBER, ANY = "(int, bool)", "(int, bool, Tensor)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("torch.remainder(x, n)", f"torch.remainder(x, {guarded('divisor', 'n', NUMBER)})"),
        ("torch.floordiv(n, n)", f"torch.floordiv(n, {guarded('divisor', 'n', ANY)})"),
        (
            "torch.divmod(n, torch.size(x, 0))",
            f"torch.divmod(n, {guarded('divisor', 'torch.size(x, 0)', ANY)})",
        ),
        ("torch.remainder(x, 0)", f"torch.remainder(x, {guarded('divisor', '0', NUMBER)})"),
        ("torch.remainder(x, -1)", f"torch.remainder(x, {guarded('divisor', '-1', NUMBER)})"),
        ("torch.to(x, n)", f"torch.to(x, {guarded('dtype', 'n', NUMBER)})"),
        ("torch.to(x, 99)", f"torch.to(x, {guarded('dtype', '99', NUMBER)})"),
        ("torch.view(x, t)", f"torch.view(x, {guarded('dtype', 't', ANY)})"),
        ("torch.softmax(x, 0, m)", f"torch.softmax(x, 0, {guarded('dtype', 'm', ANY)})"),
        ("torch.zeros([2], dtype=t)", f"torch.zeros([2], dtype={guarded('dtype', 't', ANY)})"),
        ("torch.mm(x, x, out_dtype=n)", f"torch.mm(x, x, out_dtype={guarded('dtype', 'n', ANY)})"),
        ("torch.lstm(x, x, x, True, 1)", "__torch__.fl_checked.lstm(x, x, x, True, 1)"),
        ("torch.lstm(x, x, x, x, True)", "__torch__.fl_checked.lstm_packed(x, x, x, x, True)"),
        ("torch.gru(x, x, x, x, True)", "__torch__.fl_checked.gru_packed(x, x, x, x, True)"),
    ],
)
def test_a_guard_is_put_around_what_may_be_any_number(before, after):
    assert edited(before) == after
    assert edited(after) == after


@pytest.mark.parametrize(
    "call",
    [
        "torch.remainder(x, 2)",
        "torch.floordiv(n, 7)",
        "torch.remainder(n, __torch__.fl_checked.divisor(n, ))",
        "torch.to(x, 6)",
        "torch.to(x, 6, False, True)",
        "torch.to(x, ops.prim.dtype(t))",
        'torch.to(x, torch.device("cpu"), 6, False, False)',
        "torch.zeros([2], dtype=None, layout=0)",
        "torch.view(x, [2, n])",
        "torch.clone(x, memory_format=1)",
        "torch.div(x, x, out=t)",
        "torch.gru(x, x, x, True, 1)",
    ],
)
def test_what_is_written_out_stays_as_it_is(call):
    assert edited(call) == call


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("torch.remainder(n, torch.floordiv(n, n))", "can't be checked"),
        ("torch.remainder(n, torch.sum(x))", "can't be checked"),
        ("torch.remainder(n, b=n)", "doesn't write"),
        ("torch.to(x, None, False, True)", "copies to a dtype"),
        ("torch.to(x, m, False, True)", "copies to a dtype"),
        ("torch.to(x, dtype=None, copy=True)", "copies to a dtype"),
        ("torch.to(x, 6, False, False, n)", "memory format"),
        ("torch.is_contiguous(x, memory_format=n)", "memory format"),
        ("torch.zeros([2], layout=1)", "layout"),
        ("torch.add(x, x, out=t)", "writes into an argument"),
        ("torch.lstm(x, x, x, n, n)", "whether it has biases"),
        ("x.to(99)", "may mean the operator"),
        ("x.sum(dtype=n)", "passes by name"),
        ("x.embedding_bag(t, t)", "may mean the operator"),
        ("torch.embedding_bag(x, t, t)", "not admitted"),
        ("torch.ctc_loss(x, t, t, t)", "not admitted"),
        ("__torch__.fl_checked.anything(x)", "not defined"),
        ("(__torch__.fl_checked.dtype(int(n)) if isinstance(m, (int, bool)) else m)", "written by"),
    ],
)
def test_what_cannot_be_checked_is_refused(call, why):
    with pytest.raises(Refused, match=why):
        check_code(code(call))


DEEP = """class A(Module):
  embedding_bag : int
class B(Module):
  a : __torch__.m.A
class C(Module):
  b : __torch__.m.B
  def forward(self: __torch__.m.C, x: Tensor) -> int:
    b = self.b
    a = b.a
    return a.embedding_bag
"""


def test_an_attribute_far_down_may_have_an_operators_name():
    """Only of a value that may be a tensor could it mean the operator."""
    check_code({"code/__torch__/m.py": DEEP.encode()})
    hidden = DEEP.replace("a = b.a", "a = x")
    with pytest.raises(Refused, match="may mean the operator"):
        check_code({"code/__torch__/m.py": hidden.encode()})
