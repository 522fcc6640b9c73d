# One command per chore. `make check` is what CI runs; the commands are those of the environment in PYTHON.
PYTHON ?= python

# Tests run in a process per core, each file in one of them, and each process, with those that it starts, on one thread.
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: install check fast lint types test docs site

install:
	$(PYTHON) -m pip install -e '.[dev]'

check: lint types test

# Tests that touch every room, chosen by how long they take; those marked slow are left out. A test checks the list.
FAST = \
  $(addprefix tests/laws/, test_docs.py test_laws.py test_readme.py test_rooms.py test_tested.py) \
  $(addprefix tests/attacks/, contract explain firstlayer images layers optimise simulation/test_losses.py \
    simulation/test_updates.py test_spear.py text) \
  $(addprefix tests/audit/, change check exposure checkpoints cli data/test_base.py data/test_folder.py families/test_base.py \
    families/test_mlp.py machine/test_alarm.py recipe/test_known.py report run/test_drive.py run/test_store.py \
    run/test_work.py scan/test_results.py scoring/test_chance.py scoring/test_match.py tasks/test_many.py test_plugins.py test_times.py test_words.py test_printable.py test_request.py \
    test_settings.py trend verdict/test_advice.py verdict/test_findings.py verdict/test_gate.py) \
  $(addprefix tests/reports/, common dpia page test_html.py test_json.py test_junit.py test_markdown.py test_sarif.py)

fast: lint
	$(PYTEST) -q -m "not slow" $(FAST)

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

# The link .links/memaudit gives type checkers the package's true module names, whatever the checkout folder is called.
types:
	$(PYTHON) -m mypy

test:
	$(PYTEST)

docs:
	COLUMNS=100 $(PYTHON) -m typer memaudit.audit.cli.main utils docs --name memaudit --output docs/cli.md
	$(PYTHON) -c "from memaudit.audit.cli.main import main; main()" schema > docs/report-schema.json
	$(PYTHON) docs/site/schema.py > docs/report.md

# Links, anchors and formulas are checked; build/site/index.html is the first page.
site:
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict -q -f docs/site/mkdocs.yml
