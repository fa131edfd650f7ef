# Clipledger: `make run` to use it, `make test` to prove it. Needs Python 3.11 or later, nothing else.

PORT ?= 8000
HOST ?= 127.0.0.1
PYTEST_ARGS ?=
DRILL_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-requirements-dev
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra embedded
# Lint and types read the settings but touch no server.
OFFLINE := CLIPLEDGER_ENV=test

export UV_PYTHON_DOWNLOADS := never
# Where this is set, each of the hundreds of processes that the tests start would compile all of us anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup run test test-long drill bench lint check format lock clean help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## make .venv with everything locked, nothing else

$(STAMP): requirements-dev.txt requirements-uv.txt scripts/setup
	@scripts/setup $(VENV) requirements-dev.txt
	@touch $@

run: $(STAMP) ## start everything at http://127.0.0.1:8000/ (PORT=8123 moves it)
	@exec $(BIN)/python -m config.stack run --with-parent --host "$(HOST)" --port "$(PORT)"

test: $(STAMP) ## run the tests (PYTEST_ARGS="-k ledger" for some)
	@scripts/browser
	@$(BIN)/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder -m "not long" $(PYTEST_ARGS)

test-long: $(STAMP) ## the tests that take an hour: several hosts, RabbitMQ, ten thousand acts
	@scripts/rabbitmq
	@$(BIN)/python -m pytest -m long $(PYTEST_ARGS)

drill: $(STAMP) ## the long drill: random faults over 3000 generations, then the books (DRILL_ARGS="--seed 7")
	@$(BIN)/python manage.py drill --count 3000 --patience 600 $(DRILL_ARGS)

bench: $(STAMP) ## the benchmarks; writes bench/latest.json
	@$(BIN)/python -m config.stack exec --durable -- $(BIN)/python -m bench

lint: check $(STAMP) ## ruff, format, templates, types, import law
	$(BIN)/python -m pytest -q --noconftest -p no:django -p no:cacheprovider tests/test_architecture.py

check: $(STAMP) ## the same without the import law, which is among the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint --quiet --lint templates
	$(OFFLINE) $(BIN)/mypy

format: $(STAMP) ## let ruff rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## resolve the requirements anew (needs uv)
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) --group dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	echo uv | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - -o requirements-uv.txt

clean: ## forget the environment, the embedded servers' data and all caches
	rm -rf $(VENV) var staticfiles .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
