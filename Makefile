.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/ready
DEMO := demo
# Three on two cores: the tests that take longest wait for FLARE most of the time.
TESTS := $(BIN)/python -m pytest -q --numprocesses 3 --dist loadgroup --no-loadscope-reorder
COMPARISONS := headline gain_by_noise right_labels lighter_alignment rivals rivals_by_noise extreme_noise morphological_noise \
  four_hospitals weight_sharing homogeneous_models public_sets many_sites pretrained choosing refinements ablation \
  group_normalisation cost even_statistics larger_images other_forms symmetric_loss alignment
export OMP_NUM_THREADS ?= 1
# Hospitals have certificates of their own: let uv trust the system's (two names, for newer and older versions).
export UV_SYSTEM_CERTS ?= true
export UV_NATIVE_TLS ?= true

.PHONY: help setup demo test fast fuzz faults wheel offline lint format type check bench results app bundles tables browser clean

help: ## list these verbs
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(READY) ## create .venv and install everything into it

# Compiled at once: where Python is told to write no bytecode, every process would compile PyTorch and MONAI anew.
$(READY): pyproject.toml
	@echo "installing mdhfl into .venv: 6 GB, once. 5 GB of them are PyTorch with NVIDIA's libraries: PyPI's wheels for"
	@echo "Linux bring them along, with or without a GPU. Where PyTorch's own index can be reached, UV_TORCH_BACKEND=cpu"
	@echo "make setup takes the build for CPUs, without them. uv reuses what it has downloaded before."
	@test -x $(BIN)/python || python3 -m venv .venv || { echo "python3 -m venv failed: install it (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --editable '.[dev]' --compile-bytecode
	@touch $@

demo: $(READY) ## prepare drawn cells, run MDH-FL+ on 4 sites in FLARE's simulator and local training beside it, write a report
	@rm -rf $(DEMO)/run $(DEMO)/local $(DEMO)/report
	$(BIN)/mdhfl prepare synthetic --name demo --sites 4 --per-site 200 --public synthetic --public-count 128 \
	  --classes eosinophil,erythroblast,lymphocyte_typical,monocyte,neutrophil_segmented \
	  --split dirichlet --noise symmetric --noise-rate 0.3 --seed 0 --out $(DEMO)/fed
	$(BIN)/mdhfl run mdhfl_plus --federation $(DEMO)/fed --rounds 5 --out $(DEMO)/run
	@echo "the baseline trains for 11 rounds: as many gradient steps as those 5 rounds with their alignment take"
	$(BIN)/mdhfl run local_plus --federation $(DEMO)/fed --engine inprocess --rounds 11 --out $(DEMO)/local
	$(BIN)/mdhfl report $(DEMO)/run $(DEMO)/local --out $(DEMO)/report

test: $(READY) browser ## the whole test suite, in three processes
	$(TESTS) --durations=15

fast: $(READY) ## the tests that take seconds, in three processes
	$(TESTS) -m "not slow"

fuzz: $(READY) ## a million mutated messages of all methods (a quarter of an hour on one core); the suite has a sample
	PYTHONPATH=tests $(BIN)/python -m fuzz --count 1000000

faults: $(READY) ## make processes fail in FLARE's POC mode, and write what was measured into docs/reliability.md (half an hour)
	rm -f experiments/faults.csv
	MDHFL_FAULTS=experiments/faults.csv $(BIN)/python -m pytest -q --timeout 1800 tests/flare/test_faults.py
	$(BIN)/python -m experiments.faults

wheel: $(READY) ## build dist/mdhfl-*.whl, the one file that a site and the server install
	rm -rf dist
	$(BIN)/uv build --quiet --wheel --out-dir dist

offline: wheel ## collect what a machine without a network needs, in dist/offline (several GB)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --dest dist/offline "$$(echo dist/mdhfl-*.whl)[all]"

lint: $(READY) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## let ruff put everything in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(READY) ## mypy, on the package laid out as in the wheel
	@rm -rf build/types && mkdir -p build/types/mdhfl
	@ln -s $(CURDIR)/custom/mdhfl/* $(CURDIR)/preprocessing $(CURDIR)/jobs build/types/mdhfl/
	@ln -s $(CURDIR)/benchmarks $(CURDIR)/experiments $(CURDIR)/tools build/types/
	$(BIN)/mypy

check: lint type test ## lint, type, test

bench: $(READY) ## measure speed, memory and bytes; writes benchmarks/README.md
	$(BIN)/python -m benchmarks

results: $(READY) ## repeat all comparisons of docs/results.md on real images (hours on 2 cores; resumable)
	$(BIN)/python -m experiments.photographs ../shared/data/photographs.zip
	for file in $(COMPARISONS); do \
	  $(BIN)/mdhfl compare experiments/$$file.yaml --data ../shared/data --out experiments/results/$$file || exit 1; \
	done
	$(BIN)/python -m experiments.networks --data ../shared/data
	$(BIN)/python -m experiments.privacy --data ../shared/data
	$(BIN)/python -m experiments.document
	$(BIN)/python -m experiments.tables

tables: $(READY) ## write the comparisons' tables and figures again from their committed CSV
	$(BIN)/python -m experiments.tables

app: $(READY) ## compile jobs/ into app/config and meta/meta.json
	$(BIN)/python tools/compile_app.py

bundles: $(READY) ## write bundles/ from the template and the network definitions in tools/bundles
	$(BIN)/python tools/write_bundles.py

browser: ## a browser for the report's test, where it can be installed
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } \
	|| echo "NO BROWSER: the report's browser test will be skipped; install chromium to run it"

clean: ## remove what can be made again
	rm -rf .venv build dist *.egg-info $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis
