import pytest

from fl_server import checks, env


@pytest.fixture(autouse=True)
def problems(monkeypatch):
    noted = []
    monkeypatch.setattr(env, "problems", noted)
    monkeypatch.setattr(env, "effective", {})
    monkeypatch.setattr(env, "declared", {"Tests": []})
    return noted


def declared():
    return [(each.names, each.meaning, each.default) for each in env.declared["Tests"]]


def test_an_unset_or_empty_variable_has_its_default(monkeypatch):
    assert env.text("FL_TEST", "x", "") == "x"
    monkeypatch.setenv("FL_TEST", " ")
    assert env.text("FL_TEST", "x", "") == "x"
    assert env.integer("FL_TEST", 3, "") == 3


def test_lists_are_separated_by_newlines_or_commas(monkeypatch):
    monkeypatch.setenv("FL_TEST", "a\n b ,c\n\n")
    assert env.items("FL_TEST", "") == env.secrets("FL_TEST", "") == ["a", "b", "c"]


def test_a_list_of_secrets_may_stand_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "keys").write_text("a\nb\n")
    monkeypatch.setenv("FL_TEST_FILE", str(tmp_path / "keys"))
    assert env.secrets("FL_TEST", "") == ["a", "b"]


@pytest.mark.parametrize(("value", "truth"), [("on", True), ("TRUE", True), ("0", False)])
def test_truth_values(monkeypatch, value, truth):
    monkeypatch.setenv("FL_TEST", value)
    assert env.boolean("FL_TEST", "", default=not truth) is truth


@pytest.mark.parametrize(
    ("read", "value", "sentence"),
    [
        (lambda: env.integer("FL_TEST", 1, "", minimum=1), "abc", "an integer of at least 1"),
        (lambda: env.integer("FL_TEST", 1, "", minimum=1), "0", "an integer of at least 1"),
        (lambda: env.size("FL_TEST", 1, ""), "0", "an integer of at least 1"),
        (lambda: env.boolean("FL_TEST", "", default=True), "maybe", "true or false"),
        (lambda: env.choice("FL_TEST", "a", ("a", "b"), ""), "c", "one of a, b"),
    ],
)
def test_a_value_that_can_not_be_used_is_reported_by_the_check(monkeypatch, read, value, sentence):
    monkeypatch.setenv("FL_TEST", value)
    read()
    (error,) = checks.check_environment(None)
    assert error.id == "fl_server.E001"
    assert error.msg == f"FL_TEST must be {sentence}, not {value!r}."


def test_a_secret_is_read_from_its_file(monkeypatch, tmp_path, problems):
    path = tmp_path / "secret"
    path.write_text("hidden\n")
    monkeypatch.setenv("FL_TEST_FILE", str(path))
    assert env.secret("FL_TEST", "") == "hidden"
    assert problems == []


def test_a_secret_given_twice_or_not_readable_is_a_problem(monkeypatch, tmp_path, problems):
    monkeypatch.setenv("FL_TEST_FILE", str(tmp_path / "missing"))
    assert env.secret("FL_TEST", "") == ""
    monkeypatch.setenv("FL_TEST", "open")
    assert env.secret("FL_TEST", "") == "open"
    assert [problem.split(" ")[0] for problem in problems] == ["FL_TEST_FILE", "Set"]


def test_a_kept_secret_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "key"
    first = env.kept_secret(path)
    assert len(first) >= 50
    assert env.kept_secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_no_password_in_an_address_is_told(monkeypatch):
    monkeypatch.setenv("FL_X", "https://ann:s3@cret@mlflow.test:5000/a@b")
    assert env.text("FL_X", "", "") == "https://ann:s3@cret@mlflow.test:5000/a@b"
    assert env.effective["FL_X"] == "https://…@mlflow.test:5000/a@b"


def test_what_is_read_says_what_it_means_and_its_default():
    env.text("FL_A", "x", "one", shown="it depends")
    env.text("FL_B", "x", "two")
    env.items("FL_C", "three")
    env.secrets("FL_D", "four")
    assert declared() == [
        (("FL_A",), "one", "it depends"),
        (("FL_B",), "two", "`x`"),
        (("FL_C",), "three", "none"),
        (("FL_D", "FL_D_FILE"), "four", "none"),
    ]


def test_defaults_are_shown_without_the_values(monkeypatch):
    for name in ("FL_A", "FL_B", "FL_C", "FL_D", "FL_E"):
        monkeypatch.setenv(name, "1")
    env.integer("FL_A", 4096, "")
    env.size("FL_B", 4096, "")
    env.size("FL_C", 3 * 1024**3, "")
    env.boolean("FL_D", "", default=False)
    env.choice("FL_E", "0", ("0", "1"), "")
    assert [default for *_, default in declared()] == ["4096", "4 KiB", "3 GiB", "false", "`0`"]


def test_a_section_takes_what_is_read_after_it():
    env.integer("FL_A", 1, "")
    env.section("Others")
    env.networks("FL_B", "", "")
    assert {
        heading: [each.names for each in section] for heading, section in env.declared.items()
    } == {"Tests": [("FL_A",)], "Others": [("FL_B",)]}
