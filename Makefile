# Everything starts here: `make help`. Needs python3 (3.11 to 3.14) and make; the rest is installed into .venv.
DATASET ?= walkers
PRESET ?= demo
SEED ?= 0
DATA ?=
GAIT ?=
METHOD ?=
JOBS ?= 2

# Containers often set this; then every process would compile all it imports anew, for longer than it works.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
LOCK := requirements.txt
COVERAGE ?=
PEERS := tonic==1.7.0 importRosbag==1.0.4
RUN := $(VENV)/bin/python
# The stamp's name carries a checksum of what is installed: nothing is done twice, a changed lock is installed again, and an
# installation that was cut off left no stamp.
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml $(LOCK) | cksum | tr ' ' '-')
# A Python that the lock supports: python3 itself where it will do.
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c '$(SUITS)' 2>/dev/null && echo $$p && break; done)
# What a reader types to get the same report; shown on its first page.
named = $(if $($(1)), $(1)=$(if $(word 2,$($(1))),"$($(1))",$($(1))))
COMMAND = make report DATASET=$(DATASET) PRESET=$(PRESET) SEED=$(SEED)$(call named,DATA)$(call named,GAIT)$(call named,METHOD)
REPORT = reports/$(DATASET)$(if $(GAIT),-gait)-$(PRESET)

.DEFAULT_GOAL := help
.PHONY: report test test-full test-oldest test-newest types lab lock notebooks study bench clean help install

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "Settings: DATASET=$(DATASET) PRESET=$(PRESET) SEED=$(SEED) DATA=$(DATA) GAIT=$(GAIT) METHOD=$(METHOD) JOBS=$(JOBS)"

# The lock of the report replaces that of snakemake, which a killed run leaves behind.
report: $(STAMP) ## run the notebooks (what is not up to date) and write reports/<dataset>-<preset>/index.html
	@$(RUN) -m reidlib.locks $(REPORT) $(VENV)/bin/snakemake --nolock --cores $(JOBS) --rerun-incomplete --keep-going --quiet rules --config \
		dataset='$(DATASET)' preset='$(PRESET)' seed='$(SEED)' data='$(DATA)' gait='$(GAIT)' method='$(METHOD)' command='$(COMMAND)' \
		|| { [ $$? -eq 75 ] || echo "The report is incomplete; its first page says what is missing: $(REPORT)/index.html" >&2; exit 1; }
	@echo "Report: $(REPORT)/index.html"

study: ## the report with every ablation row and all seeds (hours; stop and start it as you like)
	@$(MAKE) --no-print-directory report PRESET=study
	@$(RUN) -m reidlib.analysis.study --readme README.md $(if $(METHOD),--method '$(METHOD)')

test: $(STAMP) ## all tests; COVERAGE=90: under coverage, which must reach so many percent of the lines
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(if $(COVERAGE),--cov --cov-fail-under=$(COVERAGE))

# Every direct dependency at its lower bound, or everything at its newest, each in an environment of its own.
test-oldest: RESOLUTION := lowest-direct
test-newest: RESOLUTION := highest
test-oldest test-newest: test-%: $(STAMP) ## all tests with the oldest versions, or the newest, that pyproject.toml allows
	@$(VENV)/bin/uv pip compile --quiet --upgrade --resolution $(RESOLUTION) --python $(RUN) pyproject.toml --extra export --group test \
		--no-header --no-emit-index-url --no-annotate --output-file .venv-$*.txt
	@REIDLIB_LOCK=$(CURDIR)/.venv-$*.txt $(MAKE) --no-print-directory test VENV=.venv-$* LOCK=.venv-$*.txt

test-full: $(STAMP) ## the long form of the tests that have one: 50 kills and more, at random points of every step
	@REIDLIB_FULL=1 OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadfile -m full

types: $(STAMP) ## check the types of reidlib
	@$(VENV)/bin/mypy

lab: $(STAMP) ## JupyterLab on the notebooks
	@$(VENV)/bin/jupyter lab notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

notebooks: $(STAMP) ## run the committed notebooks with the tiny preset and store what they show
	@$(RUN) -m reidlib.reports notebooks

bench: $(STAMP) ## speed and memory against other ways to do it: reports/bench.csv (twenty minutes)
	@# The peers: for the benchmarks alone and without what they depend on, which is in the lock or not needed here.
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --target .bench --no-deps $(PEERS) || \
		echo "$(PEERS) could not be installed; their lines will say so" >&2
	@$(RUN) benchmarks

lock: $(STAMP) ## pin the newest versions that pyproject.toml allows into requirements.txt
	@$(VENV)/bin/uv pip compile --quiet --universal --upgrade --python-version 3.11 pyproject.toml --extra export --group test \
		--no-header --no-emit-index-url --no-annotate --output-file requirements.txt
	@echo "requirements.txt: $$(wc -l < requirements.txt) packages; now run make test"

clean: ## remove generated reports and caches (trained models in runs/ and data stay)
	rm -rf reports/*-*/ .snakemake .pytest_cache .ruff_cache .mypy_cache .hypothesis

install: $(STAMP) ## only create .venv and install into it

$(STAMP):
	@if ! $(RUN) -c '$(SUITS)' 2>/dev/null; then \
		if [ -z "$(PYTHON)" ]; then echo "Python 3.11 to 3.14 is needed; python3 here is: $$(python3 --version 2>&1)." \
			"Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: its venv module is" \
			"missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
		$(PYTHON) -m venv --clear $(VENV); fi
	@if [ ! -x $(VENV)/bin/uv ]; then $(RUN) -m pip --version >/dev/null 2>&1 || $(RUN) -m ensurepip >/dev/null; \
		$(RUN) -m pip install --quiet --disable-pip-version-check uv; fi
	@echo "Installing the packages of $(LOCK) into $(VENV): a minute or two, about 5 GB"
	@# immutables has no wheel for Python 3.14: without its optional C part it needs no compiler there.
	@IMMUTABLES_EXT=0 $(VENV)/bin/uv pip install --quiet --python $(RUN) -r $(LOCK) || { \
		echo "uv could not install them; pip, which is slower but knows this machine's pip settings, tries now" >&2; \
		IMMUTABLES_EXT=0 $(RUN) -m pip install --quiet --disable-pip-version-check -r $(LOCK); }
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps -e . || \
		$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@rm -f $(VENV)/.installed-*
	@touch $@
