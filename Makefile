.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What speaks to the database; where PostgreSQL is installed it has to pass there too.
ON_POSTGRES := tests/api tests/ai tests/core --ignore tests/ai/aggregation \
	--ignore tests/api/test_schemathesis.py

.PHONY: help install demo serve test docs tables bench screenshots soak fuzz check check-tests lint audit format clean

help:
	@echo "make install what the server, the demo and the example need, into $(VENV)"
	@echo "make demo   five clients train one model, live in this terminal"
	@echo "make serve  the server on http://127.0.0.1:8000, data in var/"
	@echo "make test   the tests that need nothing else, with one whole training: some minutes"
	@echo "make docs   the documentation as a site, in build/site/"
	@echo "make tables writes anew what the docs have from the code"
	@echo "make bench  what the server takes for its work, as a table: half an hour; SMOKE=1 only sees that it works,"
	@echo "            ROWS='merging lists' measures these alone, ROWS=large gigabytes, ROWS=scaling PLOT=FILE curves"
	@echo "make screenshots  pictures of all pages into docs/images/pages, by Chromium"
	@echo "make soak   20 trainings while a process is killed every few seconds; needs PostgreSQL, Redis, nginx"
	@echo "make fuzz   an hour of calling what models may call with arguments that no model has"
	@echo "make check  format, lint, types, import direction, missing migrations, known vulnerabilities of"
	@echo "            the packages, and all tests:"
	@echo "            those of PostgreSQL, Redis and nginx where they are installed"
	@echo "make format rewrites the code in the project's format"

# One marker for each set of packages, and those of the sets that it holds.
$(VENV)/installed: EXTRA := [dev]
$(VENV)/installed: HOLDS := installed-docs installed-demo installed-server
$(VENV)/installed-docs: EXTRA := [docs]
$(VENV)/installed-demo: EXTRA := [demo]
$(VENV)/installed-docs $(VENV)/installed-demo: HOLDS := installed-server
$(VENV)/installed-server: EXTRA :=
$(VENV)/installed $(VENV)/installed-docs $(VENV)/installed-demo $(VENV)/installed-server: \
		pyproject.toml constraints.txt
	@echo "Installing fl-server$(EXTRA) into $(VENV); this may take some minutes ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$(EXTRA)"
	@touch $(addprefix $(VENV)/,$(HOLDS)) $@

install: $(VENV)/installed-demo

demo: install
	$(BIN)/python manage.py demo $(ARGS)

serve: $(VENV)/installed-server
	$(BIN)/python manage.py serve $(ARGS)

test: $(VENV)/installed
	$(BIN)/pytest $(or $(ARGS),-n 2 -m "not e2e or smoke")

# A warning, such as of a link that leads nowhere, is an error.
docs: $(VENV)/installed-docs
	@$(BIN)/python -m sphinx -q -W --keep-going -c docs -d build/trees . build/site
	@cp build/site/README.html build/site/index.html
	@echo "The site is in build/site/index.html."

tables: $(VENV)/installed
	$(BIN)/pytest -q --write-docs $$(grep -rl --include="test_*.py" 'getoption("--write-docs")' tests)

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.bench $(if $(SMOKE),--smoke) $(if $(PLOT),--plot $(PLOT)) $(ROWS)

screenshots: $(VENV)/installed
	$(BIN)/python -m tests.screenshots $(ARGS)

soak: $(VENV)/installed
	$(BIN)/python -m tests.faults.soak $(ARGS)

fuzz: $(VENV)/installed
	$(BIN)/python -m tests.fuzz $(ARGS)

check: lint audit check-tests

# Those that share servers stay in one process.
check-tests: $(VENV)/installed
	$(BIN)/pytest -n 2 -m "not e2e"
	$(BIN)/pytest -n 4 --dist loadgroup -m e2e
	$(BIN)/python -m tests.on_postgres -n 2 $(ON_POSTGRES)

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

# Goes on where nobody answers.
audit: $(VENV)/installed
	$(BIN)/python -m tests.audit

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
