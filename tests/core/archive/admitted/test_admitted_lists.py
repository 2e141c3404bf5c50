from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

import admitted_lists
import pytest

from tests.vision import import_torchvision


def checked_in_globals(of_torchvision):
    rows = admitted_lists.checked_in("globals.txt")
    return {row for row in rows if row.startswith("torchvision.") == of_torchvision}


def test_the_globals_are_those_of_the_installed_torch():
    expected = {" ".join(pair) for pair in admitted_lists.torch_globals()}
    assert checked_in_globals(of_torchvision=False) == expected


def test_the_globals_are_those_of_torchvision_where_it_is_installed():
    import_torchvision()
    expected = {" ".join(pair) for pair in admitted_lists.torchvision_globals()}
    assert checked_in_globals(of_torchvision=True) == expected


def test_the_operators_are_those_of_the_installed_torch():
    admitted, withheld = admitted_lists.operators()
    assert admitted_lists.checked_in("operators.txt") == admitted
    assert admitted_lists.checked_in("withheld.txt") == withheld


def test_the_attributes_of_classes_are_those_of_the_installed_torch():
    assert admitted_lists.checked_in("reserved.txt") == admitted_lists.reserved()


@pytest.mark.parametrize("name", ["globals.txt", "operators.txt", "reserved.txt", "withheld.txt"])
def test_a_list_is_sorted(name):
    text = (admitted_lists.FOLDER / name).read_text()
    assert text == admitted_lists.lines(text.splitlines())


def test_python_2_names_lead_to_builtins_only():
    """Protocol 2 maps old names to new ones: no pair may turn into another one by it."""
    pairs = [tuple(row.split()) for row in admitted_lists.checked_in("globals.txt")]
    mapped = {pair for pair in pairs if pair[0] in IMPORT_MAPPING or pair in NAME_MAPPING}
    assert {module for module, _ in mapped} == {"__builtin__"}
    assert not any(pair in NAME_MAPPING for pair in pairs)


def test_no_name_is_dotted():
    rows = admitted_lists.checked_in("globals.txt")
    assert not [row for row in rows if "." in row.split()[1]]


def test_every_rule_of_what_is_withheld_still_finds_something():
    names = admitted_lists.registered()
    for reason, rule in admitted_lists.WITHHELD.items():
        assert any(admitted_lists.re.fullmatch(rule, name) for name in names), reason
