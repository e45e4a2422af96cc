# Everything is installed into .venv by these targets; nothing has to be installed by hand.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test pytest-quick pytest-slow quick page-tests install dev web page web-check chromium lint types layers docs docs-check engines pytest fmt lock chaos endurance canary soak page-shots bench-page bench-page-peers bench-overload bench-bulk bench-bulk-frontier bench bench-gateway bench-real bench-engines clean

BIN := .venv/bin
INPUTS := pyproject.toml scripts/setup.sh
QUICK := tests/unit tests/property tests/contract
SLOW := tests/integration tests/chaos tests/acceptance
PAGE := $(addprefix tests/acceptance/test_page_,chats.py doors.py exchange.py corpus.py)
DEMO_FLAGS ?=

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.venv/.installed: requirements/lock.txt $(INPUTS)
	@if [ -f .venv/.dev-installed ]; then $(MAKE) --no-print-directory .venv/.dev-installed; \
	else scripts/setup.sh requirements/lock.txt; fi
	@touch $@

.venv/.dev-installed: requirements/dev-lock.txt $(INPUTS)
	@scripts/setup.sh requirements/dev-lock.txt
	@touch $@ .venv/.installed

install: .venv/.installed page ## make .venv with what Hubbub needs, and the page

dev: .venv/.dev-installed page ## make .venv with what its tests need, too, and the page

page: .venv/.installed
	@$(BIN)/python scripts/web.py >.make/web.log 2>&1 || \
	  { tail -n 3 .make/web.log; echo "web: goes on without the page; again with: make web"; }

web: .venv/.installed ## build the page into src/hubbub/web (nothing to do where it is of these sources)
	@$(BIN)/python scripts/web.py

demo: install ## 200 chats of 2 turns on one real model (more: make demo DEMO_FLAGS="--chats 50 --keep")
	@$(BIN)/hubbub demo $(DEMO_FLAGS)

# What only the slow tests need is fetched meanwhile: that waits for the network, the checks for the cores.
test: .venv/.dev-installed ## every check there is
	@mkdir -p .make; $(MAKE) --no-print-directory engines chromium >.make/fetched.log 2>&1 & fetched=$$!; \
	$(MAKE) --no-print-directory lint types layers docs-check web-check pytest-quick || { kill $$fetched; exit 1; }; \
	wait $$fetched || { tail -n 20 .make/fetched.log; exit 1; }
	@$(MAKE) --no-print-directory pytest-slow

lint: .venv/.dev-installed ## style
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet || { echo "run: make fmt"; exit 1; }

types: .venv/.dev-installed ## types, strictly
	@$(BIN)/mypy

layers: .venv/.dev-installed ## imports point one way
	@$(BIN)/lint-imports

docs: .venv/.dev-installed ## write the generated pages of docs/
	@$(BIN)/python scripts/docs.py
	@$(BIN)/python -m hubbub.gateway.reference docs

docs-check: .venv/.dev-installed ## are they up to date?
	@$(BIN)/python scripts/docs.py --check

web-check: .venv/.dev-installed ## the page's types and the tests of its logic
	@$(BIN)/python scripts/web.py --test

# PATH: the uv that scripts/setup.sh may have brought along.
.make/engines/%/.installed: .venv/.dev-installed src/hubbub/engines/recipes.py $(wildcard src/hubbub/engines/locks/*.txt)
	@PATH="$$PWD/.make/tools/bin:$$PATH" $(BIN)/hubbub engine install $* --yes --folder .make/engines
	@touch $@

engines: .make/engines/vllm/.installed .make/engines/transformers/.installed ## environments of the engines that the tests run for real

chromium: ## a browser for the tests of the page
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } || \
	  { echo "the tests of the page need Chromium; on Debian: apt-get install chromium"; exit 1; }

pytest: pytest-quick pytest-slow ## tests, tier by tier (plain pytest looks less long: tests/conftest.py)

pytest-quick: .venv/.dev-installed
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-thorough} $(BIN)/pytest -m 'not large' $(QUICK)

pytest-slow: dev engines chromium
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-thorough} $(BIN)/pytest -m large $(QUICK)
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-thorough} $(BIN)/pytest -n 2 --dist loadfile $(SLOW)

page-tests: dev chromium ## of these, the longer ones of the page in a browser
	@$(BIN)/pytest -n 2 --dist loadfile $(PAGE)

quick: .venv/.dev-installed ## the quick tiers alone
	@$(BIN)/pytest -m 'not large' $(QUICK)

chaos: .venv/.dev-installed ## the runtime on virtual time with faults (FAULTS=10000 SEED=7)
	@$(BIN)/python -m tests.chaos --faults $(or $(FAULTS),10000) --seed $(or $(SEED),7)

endurance: .venv/.dev-installed ## real kills under chats of the real model (CHATS=200 KILLS=10)
	@ENDURANCE_CHATS=$(or $(CHATS),200) ENDURANCE_KILLS=$(or $(KILLS),10) $(BIN)/pytest tests/acceptance/test_endurance.py

canary: .venv/.dev-installed ## no chat says the secret of another, under kills (CHATS=200)
	@CANARY_CHATS=$(or $(CHATS),200) $(BIN)/pytest tests/acceptance/test_canary.py

soak: .venv/.installed ## 200 chats for an hour on the simulated engine: does anything grow? (MINUTES=60)
	@$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),60)

bench-overload: .venv/.installed ## 2,000 clients at a server sized for 200
	@$(BIN)/python -m benchmarks.overload

bench-bulk-frontier: .venv/.installed ## what bulk can get beside chats, and what the steering reaches: simulated
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.bulk_frontier

bench-bulk: .venv/.installed ## bulk beside 50 chats on the real engine, some 8 minutes on a quiet machine
	@$(BIN)/python -m benchmarks.bulk_beside_chats

page-shots: dev chromium ## pictures of the page for docs/ (docs/img/page), light and dark
	@PAGE_SHOTS=docs/img/page $(BIN)/pytest tests/acceptance/test_page_doors.py tests/acceptance/test_page_exchange.py tests/acceptance/test_page_corpus.py

bench-page: .venv/.dev-installed ## the page in a browser: bytes, first paint, frames of the wall, memory (MINUTES=3)
	@$(BIN)/python -m benchmarks.page --minutes $(or $(MINUTES),3)

bench-page-peers: .venv/.dev-installed ## llama.cpp's page and Open WebUI (WEBUI=/path/to/open-webui) beside the page
	@$(BIN)/python -m benchmarks.page_peers --open-webui "$(WEBUI)"

fmt: .venv/.dev-installed ## put the style right
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

lock: ## write requirements/ anew from pyproject.toml (needs uv)
	@for lock in "lock.txt" "dev-lock.txt --extra dev"; do \
	  uv pip compile -q --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links \
	    --no-annotate pyproject.toml -o requirements/$$lock; \
	done

bench: bench-gateway bench-real ## both benchmarks: on a quiet machine, some 15 minutes

bench-gateway: .venv/.installed ## what the gateway costs, beside others (results in benchmarks/results/)
	@$(BIN)/python -m benchmarks.gateway

bench-real: .venv/.installed ## 200 chats through Hubbub against the same straight at the engine
	@$(BIN)/python -m benchmarks.real_engine

bench-engines: .venv/.installed ## each engine beside itself, own defaults and Hubbub's settings, 5 minutes an engine (ONLY=vllm)
	@$(BIN)/python -m benchmarks.engines --environments .make/engines --only "$(ONLY)"

clean: ## remove what was made here, data apart
	rm -rf .venv .make src/hubbub/web web/node_modules .benchmarks .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find src tests benchmarks scripts -name __pycache__ -prune -exec rm -rf {} +
