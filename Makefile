# make run    build, score the sample tweets with the model that ships, then the API and the dashboard on port 8000
# make test   everything that needs no accelerator: sanitizers, fuzzers, unit, parity, command line
# make help   the other targets
SHELL := /bin/bash
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
PORT ?= 8000
export FINCH_PYTHON := $(CURDIR)/.venv/bin/python
# ctest shows what failed, and one line for what passed.
CTEST := ctest --output-on-failure --no-tests=error

.PHONY: help setup setup-test deps build run gpu test test-release test-asan test-tsan test-fuzz test-llama web test-frontend bench package wheel test-package jupyter test-notebooks model mutants lint clean \
        up down key dev devtools logs ps images test-backend test-containers

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup:
	@tools/setup.sh build

deps: setup
	@tools/deps.sh

build: deps ## build/finch (release) and build/libfinch.so
	@cmake --preset release -DFINCH_PYTHON="$(FINCH_PYTHON)" >build/configure.log || { cat build/configure.log; exit 1; }
	@ninja -C build -j $(JOBS) finch_program libfinch.so

run: build web ## score the sample tweets, then serve API and dashboard on PORT (8000) until Ctrl-C
	@build/finch score --input data/sample/tweets.parquet --output build/scored.parquet
	@build/finch history import --input build/scored.parquet --model finch-mini-5 --state build/run.sqlite
	@echo "The dashboard: http://127.0.0.1:$(PORT)/   the API's documentation: http://127.0.0.1:$(PORT)/docs   (Ctrl-C ends it)"
	@build/finch serve --port $(PORT) --state build/run.sqlite --web web/out --access-log build/access.log

setup-test:
	@tools/setup.sh test

# The release run comes last: its closing lines say what the whole of the tests said.
test: setup-test deps ## everything that needs no accelerator
	@$(MAKE) --no-print-directory test-fuzz
	@$(MAKE) --no-print-directory test-asan
	@$(MAKE) --no-print-directory test-tsan
	@$(MAKE) --no-print-directory test-release

gpu: setup-test deps ## build/libfinch_cuda.so, and its tests on the first GPU where there is one (docs/gpu.md)
	@tools/cuda.sh
	@cmake --preset release -DFINCH_PYTHON="$(FINCH_PYTHON)" >build/configure.log || { cat build/configure.log; exit 1; }
	@ninja -C build -j $(JOBS) finch_cuda gpu_test_module gpu_test_rows gpu_test_attention
	@cd build && $(CTEST) -L gpu --verbose

test-release: setup-test deps
	@tools/cuda.sh
	@cmake --preset release -DFINCH_PYTHON="$(FINCH_PYTHON)" >build/configure.log || { cat build/configure.log; exit 1; }
	@ninja -C build -j $(JOBS)
	@cd build && $(CTEST) -j $(JOBS)

test-asan: setup-test deps
	@cmake --preset asan >build/configure-asan.log || { cat build/configure-asan.log; exit 1; }
	@ninja -C build-asan -j $(JOBS)
	@cd build-asan && $(CTEST) -j $(JOBS)

# clang 14's thread sanitizer does not know the memory map of kernels that randomise addresses by more than 28 bits.
test-tsan: NO_ASLR = $(shell setarch -R true 2>/dev/null && echo setarch -R)
test-tsan: setup-test deps
	@cmake --preset tsan >build/configure-tsan.log || { cat build/configure-tsan.log; exit 1; }
	@ninja -C build-tsan -j $(JOBS) thread_tests
	@cd build-tsan && $(NO_ASLR) $(CTEST) -j $(JOBS) -L threads

# The seed is fixed, so that a run can be repeated; FINCH_FUZZ_SEED=0 searches from a new one.
test-fuzz: setup-test deps
	@cmake --preset fuzz -DFINCH_FUZZ_SECONDS=$(FUZZ_SECONDS) >build/configure-fuzz.log || { cat build/configure-fuzz.log; exit 1; }
	@ninja -C build-fuzz -j $(JOBS) fuzzers
	@cd build-fuzz && $(CTEST) -j $(JOBS) -L fuzz

test-llama: build setup-test ## a Gemma and finch label beside a real llama.cpp (builds it from source: about ten minutes)
	@ninja -C build -j $(JOBS) parity_gemma_run
	@tests/llama/run.sh

web/node_modules/.package-lock.json: web/package-lock.json
	@cd web && npm ci --no-fund --no-audit --loglevel=error
	@touch $@

web: setup web/node_modules/.package-lock.json ## the dashboard as static files in web/out
	@cd web && npm run --silent build

test-frontend: setup-test build web ## the dashboard's tests, in Chromium against a real server, and npm audit
	@cd web && npm run --silent typecheck && npm test --silent && npm run --silent e2e && npm run --silent audit

bench: build setup-test ## the benchmarks of bench/ against their peers (long; prints JSON)
	@bench/run_all.sh

model: build setup-test ## make models/finch-mini-5 again from the base weights (long; prints its time)
	@tools/make_model.sh

package: deps web ## Debian packages of finch and of its C API in build-package
	@cmake --preset package >build/configure-package.log || { cat build/configure-package.log; exit 1; }
	@ninja -C build-package -j $(JOBS) finch_program libfinch.so
	@deploy/debian/package.sh build-package build-package

wheel: setup ## the Python package, with library and model, as a wheel in build-package
	@deploy/wheel.sh build-package

test-package: deps ## two builds with the same bytes, the packages in a clean Debian tree, the wheel in a new environment (long)
	@tests/package/run.sh
	@tests/package/wheel.sh

mutants: setup-test deps ## planted bugs must turn each suite red
	@"$(FINCH_PYTHON)" tests/mutants/run.py

jupyter: build ## the notebooks in JupyterLab on 127.0.0.1, port JUPYTER_PORT (8888), with a token, until Ctrl-C
	@tools/notebooks.sh lab

test-notebooks: build ## the notebooks from start to end, in the environment of their lock file
	@tools/notebooks.sh run

lint: setup-test ## clang-tidy and cppcheck
	@tools/lint.sh

# ---- services (docs/deploy.md): with Docker or Podman, whichever is there ----
COMPOSE := deploy/compose.sh
NAME ?= dashboard
SCOPES ?= read,predict
# By name, because podman-compose knows no --profile '*'.
PROFILES := --profile postgres --profile monitoring --profile devtools --profile gpu

up: ## the services of compose.yaml, built and started; ends when they answer
	@deploy/up.sh

down: ## stop the services and remove their containers; the volumes stay
	@$(COMPOSE) $(PROFILES) down

key: ## an API key for the services: NAME=dashboard SCOPES=read,predict
	@$(COMPOSE) exec -T backend sh -c 'exec finch keys create --state "$$(cat /run/secrets/finch_state)" "$$@"' sh --name $(NAME) --scopes $(SCOPES)

dev: ## the services with the checkout mounted: rebuilt and reloaded on change, until Ctrl-C
	@deploy/secrets.sh
	@$(COMPOSE) -f compose.yaml -f compose.dev.yaml up --build

devtools: ## JupyterLab, compilers and debuggers in a container, on this machine's port 8888
	@deploy/secrets.sh
	@$(COMPOSE) --profile devtools up -d --build --no-deps devtools
	@echo "JupyterLab: http://127.0.0.1:$${JUPYTER_PORT:-8888}/lab?token=$$(cat secrets/jupyter_token)   (finch is built inside first: make logs)"

logs: ## what the services say, until Ctrl-C
	@$(COMPOSE) logs -f

ps: ## the services and how they are
	@$(COMPOSE) ps

images: ## the images of backend and frontend
	@deploy/secrets.sh
	@$(COMPOSE) build backend frontend

test-backend: test-release ## the C suites, parity and the command line, without sanitizers

test-containers: ## images and services for real: built, run, limited, killed (long; says what it skips)
	@tests/containers/run.sh

BUILT := build build-debug build-asan build-tsan build-fuzz build-package notebooks/work web/out web/.next
clean: ## remove what was built; VOLUMES=1: the services' data too; .venv and node_modules stay
	@echo "removing $(wildcard $(BUILT))"
	@rm -rf $(BUILT)
ifeq ($(VOLUMES),1)
	@echo "removing the services' containers and volumes, with all that is in the store"
	@$(COMPOSE) $(PROFILES) down --volumes
else
	@echo "kept: .venv, web/node_modules, secrets, and the services' volumes (make clean VOLUMES=1 removes those)"
endif
