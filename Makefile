# One word per chore. `make check` is what CI runs; the commands are those of the environment in PYTHON.
PYTHON ?= python

.PHONY: install check lint types test docs

install:
	$(PYTHON) -m pip install -e '.[dev]'

check: lint types test

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

# The link gives mypy the package's true module names, whatever the checkout folder is called.
types:
	mkdir -p .links && ln -sfn .. .links/memaudit
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest

docs:
	COLUMNS=100 $(PYTHON) -m typer memaudit.audit.cli.main utils docs --name memaudit --output docs/cli.md
	$(PYTHON) -c "from memaudit.audit.cli.main import main; main()" schema > docs/report-schema.json
