import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from fl_server.checks import check_model_classes, check_record_key


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


@pytest.mark.parametrize("key", ["c2hvcnQ=", "short", "*" * 44])
def test_a_record_key_that_is_none_stops_the_start_unseen(settings, key):
    settings.FL_RECORD_KEY = key
    with pytest.raises(SystemCheckError, match=r"fl_server\.E003") as refused:
        call_command("check")
    assert "FL_RECORD_KEY must be 32 bytes in base64" in str(refused.value)
    assert key not in str(refused.value)


def test_a_record_key_may_be_set_or_not(settings):
    for key in ("", "A" * 43 + "="):
        settings.FL_RECORD_KEY = key
        assert check_record_key(None) == []
