# One verb each; every target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check oracle fuzz bench soak lab chaos docs clean

demo: .venv/run            ## start real processes and watch a circuit complete
	$(BIN)/circuit-run demo

test: .venv/dev            ## the whole test suite, on every core; one test: .venv/bin/pytest FILE -k NAME
	$(BIN)/pytest -n $$(($$(nproc) * 3 / 2)) --dist worksteal  # half of their time tests wait for processes

check: .venv/dev           ## lint, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

oracle: .venv/dev          ## the verifier against its oracle, 30,000 examples of each property; an hour or two
	VERIFIER_CAMPAIGN=1 $(BIN)/pytest -q -n auto --timeout 0 -o faulthandler_timeout=0 tests/runner/core/verifier/test_oracle.py

fuzz: .venv/fuzz           ## look for bytes that break a reader, FUZZ_SECONDS (60) for each of them
	$(BIN)/python -m tests.fuzz

bench: .venv/bench         ## every performance target, as ratios measured in this run
	$(BIN)/python -m benchmarks

soak: .venv/dev            ## memory of every process of a run over twenty minutes, at 20,000 events a second
	$(BIN)/python -m benchmarks soak

lab: .venv/dev             ## the figures of runs over several hosts; makes the hosts, so it needs root
	$(BIN)/python -m benchmarks lab

chaos: .venv/dev           ## 1,000 processes killed at random; the table of docs/reliability.md
	$(BIN)/python -m tests.chaos

docs: .venv/dev            ## documents that are generated, and the checks that keep them true
	$(BIN)/python -m docs.generate
	$(BIN)/pytest -q tests/docs/test_docs.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e .
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@ .venv/run

.venv/fuzz: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e '.[dev,fuzz]'
	@touch $@ .venv/dev .venv/run

.venv/bench: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e '.[dev,bench]'
	@touch $@ .venv/dev .venv/run
