# `make run` and `make test` set everything up on a fresh machine with Python 3.11+.
.DEFAULT_GOAL := help
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(shell \
	command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $(p))))
BIN := .venv/bin
STAMP := .venv/.set-up

.PHONY: help setup run test test-fast test-kafka kafka check bench bench-quick lock diagrams screenshots clean simulate fuzz-http fuzz-records

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 12

setup: $(STAMP) ## set everything up in .venv

$(STAMP): dev/requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r dev/requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP) ## the demo: broker, Items service and takedown in one go
	@$(BIN)/takedown demo

test: $(STAMP) ## the whole test suite (COVERAGE=1: print line and branch coverage of its first part)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not apache and not browser" $(if $(COVERAGE),--cov --cov-report=term)
	$(BIN)/python -m pytest -m "apache or browser"

test-fast: $(STAMP) ## the unit tests alone, within a minute of CPU
	$(BIN)/python -m pytest -n 2 --dist worksteal --fast -m "not slow" --hypothesis-profile fast

test-kafka: $(STAMP) ## the part of it that runs on a real Apache Kafka, which must not be missing
	REQUIRE_APACHE_KAFKA=1 REQUIRE_FAKETIME=1 $(BIN)/python -m pytest -m apache

kafka: $(STAMP) ## a real Apache Kafka broker, in the foreground (needs Java and Maven)
	$(BIN)/python -m dev.apache_kafka

simulate: $(STAMP) ## the service in SEEDS simulated worlds (SEED: the first one; none: fresh ones)
	$(BIN)/python -m dev.simulation --seeds $(or $(SEEDS),1000) $(if $(SEED),--from $(SEED))

fuzz-http: $(STAMP) ## both HTTP servers over raw sockets for FUZZ_SECONDS (SEED: the first one; none: fresh ones)
	PYTHONPATH=tests $(BIN)/python -m fuzz.http_fuzzer --seconds $(or $(FUZZ_SECONDS),120) $(if $(SEED),--seed $(SEED))

fuzz-records: $(STAMP) ## record batches from a broker, for FUZZ_SECONDS (SEED: the first one; none: fresh ones)
	PYTHONPATH=tests $(BIN)/python -m fuzz.record_fuzzer --seconds $(or $(FUZZ_SECONDS),120) $(if $(SEED),--seed $(SEED))

check: $(STAMP) ## lint, format, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## every figure of docs/performance.md, in minutes
	$(BIN)/python -m dev.bench.suite

bench-quick: $(STAMP) ## the service against the minimal bridge, under a minute
	$(BIN)/python -m dev.bench --quick

diagrams: $(STAMP) ## draw every state machine into docs/
	$(BIN)/python dev/draw_machines.py

screenshots: $(STAMP) ## take the pictures of the dashboard in docs/pictures/ (needs Chromium)
	$(BIN)/python dev/screenshots.py

lock: $(STAMP) ## pin the requirements by hash again
	$(BIN)/python dev/lock.py

clean: ## remove what setup and the tests made
	rm -rf .venv .kafka build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*
