import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

import admitted_lists
import pytest

from fl_archive.admitted.torchscript import words
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


@pytest.mark.parametrize("reason", admitted_lists.NOT_ADMITTED)
def test_every_rule_against_operators_still_finds_one_that_a_family_needs(reason):
    rule = re.compile(admitted_lists.NOT_ADMITTED[reason])
    assert any(rule.fullmatch(name) for name in admitted_lists.needed())


def test_every_name_written_by_hand_is_an_operator_of_torch():
    assert admitted_lists.by_hand() <= admitted_lists.registered()


def test_no_internal_of_torch_is_admitted_that_no_family_needs():
    private = {name for name in admitted_lists.by_hand() if re.match("_(?!_)", name)}
    assert private == {"_set_item", "_unique2", "_unwrap_optional"}  # x[i] = y, unique, an Optional


def test_dtypes_and_formats_are_guarded_wherever_an_operator_takes_them():
    found = admitted_lists.enumerations()
    assert {name for _, name, _ in found} == words.NUMBERED
    for table, names in (
        (words.DTYPES, {"dtype", "out_dtype"}),
        (words.FORMATS, {"memory_format"}),
    ):
        places = {(path, place) for path, name, place in found if place >= 0 and name in names}
        assert places == {(path, place) for path, all_of in table.items() for place in all_of}


def test_no_operator_is_given_what_it_writes_into():
    assert admitted_lists.outputs() <= words.OUTPUTS
