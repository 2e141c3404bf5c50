"""What every test gets: a folder of its own for model files, a fast password hasher, a device.

`FL_DEVICE=cuda` has the tests compute on a GPU instead of the processor.
"""

import os
import tempfile
from collections import Counter

# For the processes that tests start. pytest-django has read this one's settings by now.
os.environ["FL_DATA_DIR"] = tempfile.mkdtemp(prefix="fl-server-tests-")
os.environ.setdefault("FL_DEVICE", "cpu")

import pytest
from django.core.cache import cache
from django.db import connection
from hypothesis import HealthCheck, settings

from fl_server_core import log_context

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("unhurried"), max_examples=1000)
settings.load_profile("unhurried")


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="try all changes instead of a sample")
    parser.addoption("--write-docs", action="store_true", help="write the docs that tests render")


@pytest.fixture(autouse=True)
def _quick_and_apart(settings, tmp_path_factory):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()  # counts nothing of other tests
    log_context.begin()
    settings.FL_DEVICE = os.environ["FL_DEVICE"]
    settings.FL_MODEL_CODE = "any"  # on PostgreSQL it is another
    settings.WHITENOISE_AUTOREFRESH = True  # each test's client would list all static files first
    settings.MODEL_DIR = tmp_path_factory.mktemp("models")
    settings.SCRATCH_DIR = settings.MODEL_DIR / "scratch"
    settings.SCRATCH_DIR.mkdir()
    settings.UPLOAD_DIR = settings.MODEL_DIR / "uploads"
    settings.UPLOAD_DIR.mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = settings.SCRATCH_DIR
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": settings.MODEL_DIR},
        }
    }


@pytest.fixture(scope="session", autouse=True)
def _compiled_queries_are_what_django_makes():
    """Have each compiled query made anew, too, whenever it is asked."""
    from fl_server_core.compiled import CompiledQuery

    ask = CompiledQuery.ask

    def shown(parameters):  # psycopg's JSON has no equality, and its integers look otherwise
        return [int(each) if isinstance(each, int) else repr(each) for each in parameters]

    def compare_and_ask(query, values):
        sql, parameters = query.make(*values).query.get_compiler("default").as_sql()
        assert (query.sql, shown(query.filled(values))) == (sql, shown(parameters))
        return ask(query, values)

    CompiledQuery.ask = compare_and_ask


@pytest.fixture(scope="session")
def django_db_modify_db_settings_parallel_suffix(request):
    """Let test processes share no database; SQLite's is in the memory of each."""
    if connection.vendor != "sqlite":
        request.getfixturevalue("django_db_modify_db_settings_xdist_suffix")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup):
    """Let Django empty the tables after a test, although the audit log's trigger refuses."""
    from fl_server_core.models.act import Act, trigger_lifted

    flush = connection.ops.execute_sql_flush

    def flush_all(statements):
        with trigger_lifted(Act._meta.db_table):
            flush(statements)

    connection.ops.execute_sql_flush = flush_all


def pytest_collection_modifyitems(config, items):
    """Leave out what only PostgreSQL does, where that isn't the database."""
    if connection.vendor == "sqlite":
        others = [item for item in items if item.get_closest_marker("postgres")]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if not item.get_closest_marker("postgres")]


def pytest_sessionfinish(session):
    """Where everything must run, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    required = reporter and os.environ.get("FL_TESTS_REQUIRE_ALL")  # a process of xdist's has none
    if required and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Say in one line what wasn't run, and why."""
    skipped = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    told = [f"{count} ({why.removeprefix('Skipped: ')})" for why, count in skipped.items()]
    if "smoke" in config.option.markexpr:
        told.append("those with PostgreSQL, Redis, nginx and most processes (`make check`)")
    if told:
        terminalreporter.write_line("not run: " + ", ".join(told))
