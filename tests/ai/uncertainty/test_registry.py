import subprocess
import sys

import pytest

from fl_server_ai.inference.jobs.predicting import find_method
from fl_server_ai.trainer.phases import PHASES
from fl_server_ai.uncertainty.registry import METHODS
from fl_server_core.models.training import UncertaintyMethod
from tests.compose import ROOT


def test_the_contracts_names_come_first():
    assert list(METHODS) == UncertaintyMethod.values


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_function_and_its_phase(name):
    method = METHODS[name]
    assert callable(find_method(method.function))
    assert not method.phase or method.phase in PHASES


def test_the_functions_need_no_django_and_the_registry_no_torch():
    paths = [method.function for method in METHODS.values()]
    runner = (
        "import sys; from fl_server_ai.inference.jobs.predicting import find_method;"
        f"[find_method(path) for path in {paths}]; assert 'django' not in sys.modules"
    )
    web = (
        "import sys, django; django.setup();"
        "import fl_server_ai.uncertainty.registry; assert 'torch' not in sys.modules"
    )
    for code in (runner, web):
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
