# Two commands set everything up and may come in either order:
#   make demo   the whole story on bundled market data
#   make test   every test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RENDER := grafana/render
ANSWERS := $(RENDER)/out/results.json
DASHBOARD := grafana/dashboards/atra-dashboard.json
BENCH := .venv-bench

.PHONY: demo live test test-oracle test-thorough test-soak test-oldest lint types docs check-docs screenshots leak-image bench bench-report check-grafana check-grafana-types check-grafana-panels check-compose grafana-images lock clean

demo: $(READY)
	$(BIN)/skatra demo

# Trades bundled data fast and serves metrics on 127.0.0.1:9464; see grafana/README.md.
live: $(READY)
	$(BIN)/skatra demo --live

test: $(READY)
	$(BIN)/python -m pytest -n 2 -q -k "not check_array_api_input"
	SCIPY_ARRAY_API=1 $(BIN)/python -m pytest -q -k check_array_api_input tests/sizing tests/sample_weight tests/features tests/retraining/test_early_stopping.py

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
	$(BIN)/codespell

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# The site built twice, byte for byte the same; links, anchors and spelling.
check-docs: $(READY)
	PYTHON=$(BIN)/python .ci/check_site

# Pictures of the main pages at 1280 and 390 pixels, for looking at; needs chromium.
screenshots: docs
	$(BIN)/python docs/screenshots.py

# The README's picture, from the report of the demo; needs chromium.
leak-image: demo
	$(BIN)/python docs/leak_picture.py skatra-demo/report.html docs/images/leak.png

# All benchmarks beside their peers, in an environment of its own. Half an hour.
bench: $(BENCH)/.ready
	for file in benchmarks/bench_*.py; do $(BENCH)/bin/python $$file || exit 1; done
	$(BENCH)/bin/python benchmarks/report.py --record

# What was promised, what was measured, and what is slower than it used to be.
bench-report: $(READY)
	$(BIN)/python benchmarks/report.py

# Needs Debian's prometheus package; starts it on loopback and leaves nothing running.
check-grafana: $(READY)
	$(BIN)/python grafana/build_dashboard.py --check
	$(BIN)/python .ci/check_dashboard.py --results $(ANSWERS)

# Needs npm: the dashboard against the TypeScript types that Grafana publishes.
check-grafana-types: $(READY)
	$(BIN)/python .ci/check_types.py

# Needs npm and Debian's chromium: what check-grafana was answered, drawn with the
# components that Grafana publishes. A blank panel or a hidden legend is an error.
check-grafana-panels: $(RENDER)/node_modules/.ready
	test $(ANSWERS) -nt $(DASHBOARD) || $(MAKE) check-grafana
	node $(RENDER)/draw.mjs $(DASHBOARD) $(ANSWERS)

# Five minutes of the live demo as the pictures of docs/images; see grafana/README.md.
grafana-images: $(READY) $(RENDER)/node_modules/.ready
	$(BIN)/python .ci/check_dashboard.py --seconds 300 --ticks 4 --results $(ANSWERS)
	node $(RENDER)/draw.mjs $(DASHBOARD) $(ANSWERS) docs/images

$(RENDER)/node_modules/.ready: $(RENDER)/package.json
	npm install --prefix $(RENDER) --silent --no-audit --no-fund --no-package-lock --ignore-scripts
	@touch $@

# The compose file against the schema that the Compose specification publishes.
check-compose:
	$(PYTHON) -m venv .schema
	.schema/bin/python -m pip install -q --disable-pip-version-check check-jsonschema==0.39.0
	.schema/bin/check-jsonschema --builtin-schema vendor.compose-spec grafana/docker-compose.yml

# The one rule that makes the environment: hashed versions first, then skatra itself.
$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Its lock is complete, and mlfinpy is run beyond the versions that it declares.
$(BENCH)/.ready: pyproject.toml requirements-bench.lock
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock
	$(BENCH)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Versions and hashes for every platform; no address of any index goes into the file.
lock:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install -q --disable-pip-version-check uv
	.uv/bin/uv pip compile --universal --generate-hashes --no-header --no-annotate -q \
		--python-version 3.11 --all-extras --group build --group grafana pyproject.toml -o requirements.lock
	# mlfinpy caps numpy, pandas and numba; what is timed of it runs beyond.
	printf 'numpy>=2\npandas>=3\nnumba>=0.61\n' >.uv/overrides.txt
	.uv/bin/uv pip compile --universal --generate-hashes --no-header --no-annotate -q \
		--python-version 3.11 --extra dask --extra parquet --group bench --group build \
		--constraint requirements.lock --override .uv/overrides.txt pyproject.toml -o requirements-bench.lock
	@! grep -n '://' requirements.lock requirements-bench.lock

clean:
	rm -rf $(VENV) $(BENCH) .uv .schema $(RENDER)/node_modules $(RENDER)/out docs/_build docs/gallery skatra-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
