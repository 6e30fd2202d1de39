# Two commands set everything up and may come in either order:
#   make demo   the whole story on bundled market data
#   make test   every test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo live test test-oracle test-thorough test-soak test-oldest lint types docs bench check-grafana check-grafana-types lock clean

demo: $(READY)
	$(BIN)/skatra demo

# Trades bundled data fast and serves metrics on 127.0.0.1:9464; see grafana/README.md.
live: $(READY)
	$(BIN)/skatra demo --live

test: $(READY)
	$(BIN)/python -m pytest -n 2 -q

# No leak and no row lost: 2,000 drawn data sets for every splitter. Some minutes.
test-oracle: $(READY)
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n 2 --dist worksteal -q -m oracle tests/model_selection

test-thorough: $(READY)
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n 2 -q

# Nothing acknowledged is lost: 32 threads in 4 processes for a minute, 200 kills of
# each kind. About ten minutes.
test-soak: $(READY)
	SKATRA_SOAK=60 SKATRA_KILLS=200 $(BIN)/python -m pytest -q tests/datasets/test_processes.py

# scikit-learn 1.6 and pandas 2.2 in a temporary environment.
test-oldest:
	PYTHON=$(PYTHON) .ci/oldest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(READY)
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

# Needs Debian's prometheus package; starts it on loopback and leaves nothing running.
check-grafana: $(READY)
	$(BIN)/python grafana/build_dashboard.py --check
	$(BIN)/python .ci/check_dashboard.py

# Needs npm: the dashboard against the TypeScript types that Grafana publishes.
check-grafana-types: $(READY)
	$(BIN)/python .ci/check_types.py

# The one rule that makes the environment: hashed versions first, then skatra itself.
$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Versions and hashes for every platform; no address of any index goes into the file.
lock:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install -q --disable-pip-version-check uv
	.uv/bin/uv pip compile --universal --generate-hashes --no-header --no-annotate -q \
		--python-version 3.11 --all-extras --group build --group grafana pyproject.toml -o requirements.lock
	@! grep -n '://' requirements.lock

clean:
	rm -rf $(VENV) .uv docs/_build docs/gallery skatra-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
