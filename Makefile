# Needs Python 3.11 or newer (with venv) and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
SYNCED := .venv/.synced
# Apache Kafka and Redis for what needs the real ones: those that are named, else some that are started (and installed).
REAL := if [[ -z "$$GROUNDSWELL_TEST_KAFKA" || -z "$$GROUNDSWELL_TEST_REDIS" ]]; then source .ci/services; fi

.DEFAULT_GOAL := help
.PHONY: help setup demo test check style types layers house format integration bench bench-latency bench-scale bench-models learn models faults storm soak fuzz audit simulate lock clean

help: ## Show what there is to do
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(SYNCED): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or newer is needed, $(PYTHON) is {sys.version.split()[0]}; name another: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
		rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv sync --locked --quiet --python $(BIN)/python
	@touch $@

setup: $(SYNCED) ## Install everything into .venv

demo: $(SYNCED) ## Broker, Redis, worker and a seeded electorate on this machine, checked at the end
	@# In a process group of its own, so that Ctrl-C ends the demo alone and make still gives its exit status.
	@if [ -t 0 ]; then set -m; fi; $(BIN)/groundswell demo

test: $(SYNCED) ## All tests that need no installed Kafka or Redis, by a process for each processor up to 4 (WORKERS)
	@# Where models are trained, threads of OpenMP that wait would keep the processors from the other tests.
	@OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m "not kafka" --numprocesses $(or $(WORKERS),logical) --maxprocesses 4 --dist worksteal

check: style types layers house ## Style, types, import layers, house rules

style: $(SYNCED)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(SYNCED)
	@$(BIN)/mypy

layers: $(SYNCED)
	@$(BIN)/lint-imports

house: $(SYNCED)
	@$(BIN)/python -m pytest tests/house

format: $(SYNCED) ## Put the style right
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

integration: $(SYNCED) ## The tests on Apache Kafka and Redis
	@bash -c '$(REAL); $(BIN)/python -m pytest -m kafka'

bench: $(SYNCED) ## Throughput beside scripts, Faust, quixstreams, bytewax, Kafka Streams; steady load, start, memory (PARTS, EVENTS, ROUNDS, WORKLOADS, CONTENDERS; QUICK=1: only what needs nothing else, and no goals)
	@bash -c '$(REAL); status=0; for part in $(or $(PARTS),throughput steady start memory); do \
		flags=($(if $(ROUNDS),--rounds $(ROUNDS))); \
		if [[ $$part == throughput ]]; then flags+=($(if $(EVENTS),--events $(EVENTS)) $(if $(WORKLOADS),--workloads $(WORKLOADS)) \
			$(if $(CONTENDERS),--contenders $(CONTENDERS)) $(if $(QUICK),--quick)); fi; \
		if [[ $$part == dataset ]]; then flags+=($(if $(EVENTS),--events $(EVENTS))); fi; \
		$(BIN)/python -m load_tests.$$part "$${flags[@]}" || status=$$?; done; exit $$status'

bench-latency: $(SYNCED) ## Event to trigger in an open loop, beside a bare echo and Kafka Streams (ROUNDS, RATES, HIGHEST: events/s)
	@bash -c '$(REAL); $(BIN)/python -m load_tests.latency $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(RATES),--rates $(RATES)) $(if $(HIGHEST),--highest $(HIGHEST))'

bench-scale: $(SYNCED) ## 1, 2 and 4 workers; what an event costs by voters, partitions, campaigns and models (PARTS, ROUNDS, EVENTS)
	@bash -c '$(REAL); $(BIN)/python -m load_tests.scale $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(PARTS),--parts $(PARTS)) $(if $(EVENTS),--events $(EVENTS) --worker-events $(EVENTS))'

bench-models: $(SYNCED) ## Models of trees beside LightGBM, lleaves, ONNX Runtime, treelite; eight of them end to end (PARTS, ROUNDS, EVENTS)
	@bash -c 'status=0; for part in $(or $(PARTS),models tree_models); do \
		flags=($(if $(ROUNDS),--rounds $(ROUNDS))); \
		if [[ $$part == tree_models ]]; then $(REAL); flags+=($(if $(EVENTS),--events $(EVENTS))); fi; \
		$(BIN)/python -m load_tests.$$part "$${flags[@]}" || status=$$?; done; exit $$status'

learn: $(SYNCED) ## Trains every recipe from weeks of the electorate, and compares with its truth (RECIPES, VOTERS, DAYS, OUT; LIVE=1: by the commands on a live broker, LIVE=kafka: on Apache Kafka)
	@bash -c '$(if $(filter kafka,$(LIVE)),$(REAL);) $(BIN)/python -m load_tests.learning $(RECIPES) $(if $(LIVE),--live) \
		$(if $(VOTERS),--voters $(VOTERS)) $(if $(DAYS),--days $(DAYS)) $(if $(OUT),--out $(OUT))'

models: $(SYNCED) ## Makes the models that the demo uses, with their cards, from weeks of the electorate
	@$(BIN)/python -m load_tests.learning support gives_online volunteers --out configs/models --command "make models"

faults: $(SYNCED) ## Brokers, Redis, workers and wires broken under load, and checked from outside: ROUNDS=200 SEED=1
	@bash -c 'source .ci/bring; $(BIN)/python -m load_tests.faults --rounds $${ROUNDS:-200} --seed $${SEED:-1}'

storm: $(SYNCED) ## Workers join and leave every two seconds under load, and are checked from outside: MINUTES=5 SEED=1
	@bash -c '$(REAL); $(BIN)/python -m load_tests.storm --minutes $${MINUTES:-5} --seed $${SEED:-1}'

soak: $(SYNCED) ## Hours at half of what the machine bears: memory, p99, backlog over time, checked: HOURS=1 (RATE=1000)
	@bash -c '$(REAL); $(BIN)/python -m load_tests.soak --hours $${HOURS:-1} $${RATE:+--rate $$RATE}'

fuzz: $(SYNCED) ## 1,000,000 mutated inputs through everything that reads bytes (INPUTS, SEED)
	@$(BIN)/python -m load_tests.fuzz --inputs $(or $(INPUTS),1000000) --seed $(or $(SEED),1)

audit: $(SYNCED) ## Known vulnerabilities, licences and a CycloneDX list of the dependencies (STRICT=1: no look, no pass)
	@$(BIN)/python -m tests.house.audit $(if $(STRICT),--strict)

simulate: $(SYNCED) ## 10,000 seeded runs of the real code with everything breaking, in virtual time (SEEDS, FIRST, SEED; PLANTED=1: finds each planted bug)
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation.run $(if $(PLANTED),--planted) \
		$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),$(if $(PLANTED),2000,10000)) --first $(or $(FIRST),0))

lock: $(SYNCED) ## Raise every dependency to its newest fitting version
	@$(BIN)/uv lock --upgrade

clean: ## Remove everything that the other targets made
	rm -rf .venv .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
