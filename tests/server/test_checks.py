import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from fl_server.checks import check_model_classes


@pytest.mark.parametrize(
    "entry", ["Net", "my.models.Net", "my:models:Net", ":Net", "my:Net()", "my:"]
)
def test_a_model_class_that_is_none_stops_the_start(settings, entry):
    settings.FL_MODEL_CLASSES = ["my.models:Net", entry]
    with pytest.raises(SystemCheckError, match=r"fl_server\.E002") as refused:
        call_command("check")
    assert f"FL_MODEL_CLASSES takes module:ClassName, not {entry!r}." in str(refused.value)


def test_model_classes_may_be_named(settings):
    settings.FL_MODEL_CLASSES = ["my.models:Net"]
    assert check_model_classes(None) == []
