"""Which test runs the commands of the README, the tutorial and the how-tos, or why none does."""

import re

import pytest

from tests.compose import ROOT
from tests.docs.pages import PAGES, commands

DOCKER = (
    "docker isn't where tests run; tests/deploy holds the names, tests/e2e/production.py the rest"
)
SERVE = "tests/e2e/conftest.py starts `manage.py serve`, as the Makefile does"

TRIED = {
    "README.md": {
        "make demo": "tests/e2e/test_demo.py::test_two_clients_together_beat_each_alone",
        "source .venv/bin/activate": "tests/e2e/test_readme.py"
        "::test_the_walk_through_pasted_twice_trains_twice",
    },
    "docs/client.md": {
        "pip install ./fl_client": "tests/client/test_imports.py holds what it may bring along",
        "python examples/mnist/client.py": "tests/e2e/test_command.py"
        "::test_the_tutorial_trains_three_clients",
    },
    "docs/logs.md": {"curl -i -H": "needs docker; tests/deploy/test_nginx.py asks such a server"},
    "docs/tracking.md": {
        "metrics=$SERVER": "tests/e2e/test_docs_commands.py"
        "::test_metrics_come_as_tables_and_as_event_files",
    },
    "CONTRIBUTING.md": {"make check": "is what runs this"},
    "docs/tutorial.md": {
        "make install": SERVE,
        **dict.fromkeys(
            (
                "source .venv/bin/activate",
                "python mine/patients.py",
                "source .venv/bin/activate",
                "python - <<'END'",
            ),
            "tests/e2e/test_tutorial.py::test_two_clinics_train_a_model_of_their_own",
        ),
    },
    "docs/deployment.md": {
        "install -d -m 700 secrets": "tests/deploy/test_docs.py::test_the_secrets_are_made",
        "echo FL_DJANGO_ALLOWED_HOSTS=fl.example.org > .env": DOCKER,
        "docker compose up --detach --scale web=2 --scale rounds=4 --scale notify=2": DOCKER,
        "openssl rand -base64 32 > secrets/record_key": "tests/deploy/test_docs.py"
        "::test_the_secrets_are_made",
        "git pull && docker compose up --build --detach --wait": DOCKER,
        "docker compose exec -T web tar c -C /data/models": DOCKER,
    },
    "docs/machines.md": {
        "set -a; . ./settings.env; set +a": "tests/e2e/production.py starts each of these lines;"
        " tests/deploy/test_docs.py::test_every_process_is_started holds their names",
    },
    "docs/backup.md": {
        "copy() {": "tests/e2e/test_backup.py"
        "::test_a_training_restored_from_a_backup_goes_on_to_its_end",
        **dict.fromkeys(
            ("pg_dump", "pg_restore"),
            "tests/e2e/test_backup.py"
            "::test_a_dump_of_postgresql_has_everything_and_goes_into_an_empty_database",
        ),
    },
    "docs/metrics.md": {
        "export FL_METRICS_TOKEN": "tests/server/test_metrics.py"
        "::test_a_server_begins_at_nothing_and_tells_of_all_its_processes asks such a server"
    },
    "docs/files.md": {
        'curl -H "Authorization: Token $TOKEN" -H "Content-Type': "tests/e2e/test_docs_commands.py"
        "::test_an_update_is_sent_as_the_whole_body",
        **dict.fromkeys(
            ("curl -si -X POST", "OFFSET=$(", "curl -s -X POST"),
            "tests/e2e/test_docs_commands.py::test_an_update_is_sent_in_parts",
        ),
        'curl -H "Authorization: Token $TOKEN" -F serving_file': "tests/e2e/test_docs_commands.py"
        "::test_weights_alone_are_given_their_code",
    },
    "examples/lora/README.md": {
        "source .venv/bin/activate": "tests/e2e/test_command.py"
        "::test_adapters_alone_make_a_transformer_learn_what_no_client_knows",
    },
    "examples/curl/README.md": {
        "source .venv/bin/activate": "tests/e2e/test_readme.py"
        "::test_a_walk_through_without_torch_pasted_twice_learns_the_digits",
        **dict.fromkeys(
            (
                'curl -s "$SERVER/api/models/"',
                'curl -s "$SERVER/api/trainings/"',
                'curl -s -X POST "$SERVER/api/trainings/$TRAINING/start/"',
            ),
            "tests/e2e/test_docs_commands.py::test_an_actor_needs_no_more_than_curl",
        ),
    },
    **{
        f"examples/{name}/README.md": {
            "source .venv/bin/activate": "tests/e2e/test_readme.py"
            "::test_a_walk_through_without_torch_pasted_twice_learns_the_digits",
        }
        for name in ("numpy", "sklearn", "javascript")
    },
}
"""By page and the beginning of a block of commands the test that runs it, or a reason."""


def pages_with_commands():
    text = (ROOT / "docs" / "README.md").read_text()
    chapters = re.findall(r"^## (?:Tutorial|How to)\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\((.+?\.md)\)", "".join(chapters))
    inside = [(ROOT / "docs" / path).resolve().relative_to(ROOT) for path in found]
    return ["README.md", "CONTRIBUTING.md", *map(str, inside)]


@pytest.mark.parametrize("page", pages_with_commands())
def test_every_block_is_run_or_is_said_why_not(page):
    blocks, tried = commands(page), TRIED.get(page, {})
    for block in blocks:
        assert any(block.startswith(beginning) for beginning in tried), block
    for beginning in tried:
        assert any(block.startswith(beginning) for block in blocks), beginning


def test_the_tests_that_are_named_exist():
    for page in TRIED.values():
        for said in page.values():
            for path, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", said):
                text = (ROOT / path).read_text()
                assert not name or f"def {name}(" in text, said


def test_every_target_of_make_that_a_page_names_exists():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for page in PAGES:
        named = re.findall(r"(?:`|^    |^)make (\w+)", (ROOT / page).read_text(), re.MULTILINE)
        assert set(named) <= set(targets), page
