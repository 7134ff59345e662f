# gorun: everything a developer does is a target here. A machine needs Go, a C compiler, make, and python3 with pip.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:

GO       ?= go
# NVIDIA's Go package for its driver has functions that its header calls deprecated, and a compiler would tell of each.
export CGO_CFLAGS ?= -O2 -g -Wno-deprecated-declarations
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TOOLS    := .cache/bin
# Pinned: another version finds other things.
GOLANGCI_VERSION := v2.15.0
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
TESTSUM  := $(TOOLS)/testsum
SKIPS    := .cache/skipped.txt
ORACLE   := .cache/oracle
# Packages with goroutines or shared state: their tests run under the race detector too.
RACE_PACKAGES := ./cmd/... ./csrc/... ./collective/... ./fsdp/... ./model ./model/hub/... ./model/infer/... ./model/tokenizer/... ./launcher/... ./rank/...
DEMO_MODEL := demo:smollm2-135m
DEMO_RUN   ?= runs/demo
FUZZTIME ?= 20s
TESTTIME ?= 20m

.PHONY: help setup build demo test matrix vet race lint unit oracle readers bench peers fuzz gpu rewrite kills cover clean
.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/gorun
	CGO_ENABLED=1 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/gorun ./cmd/gorun

setup: build ## fetch the XLA plugin for the CPU into the cache
	@bin/gorun setup

demo: build ## fetch a real model, fine-tune it on question answering, and show what it learnt
	bin/gorun setup --demo
	@echo; echo "== before"
	bin/gorun eval --task squad --base $(DEMO_MODEL) --data demo:squad
	@echo; echo "== fine-tuning"
	bin/gorun configs/demo.toml --set checkpoint.dir=$(DEMO_RUN) --set checkpoint.resume=never
	@echo; echo "== after"
	bin/gorun eval --task squad --base $(DEMO_MODEL) --data demo:squad --adapter $(DEMO_RUN)/LATEST

test: build vet lint unit race ## everything that must hold: vet, lint, layers, tests, races, leaks
	@echo; echo "skipped and why:"; if [ -s $(SKIPS) ]; then sort -u $(SKIPS) | sed 's/^/  /'; else echo "  nothing"; fi

matrix: installed ## every mesh of CPU ranks against one rank, for many minutes
	$(TEST_ENV) GORUN_TEST_MATRIX=1 $(GO) test -count=1 -v -timeout 120m -run '^TestMatrix$$' ./rank

vet:
	$(GO) vet ./...

lint: $(GOLANGCI) ## golangci-lint, pinned, with the linters of .golangci.yml
	$(GOLANGCI) run ./...

# What the tests find in their environment: the plugin (unless one is named already) and the demo model.
INSTALLED := .cache/installed.txt
installed = $$(sed -n 's/^$(1)[[:space:]]//p' $(INSTALLED))
# What XLA has compiled for tests: a program costs most of the time that its test takes, and is the same in both passes and
# in all packages. Outside of this folder, whose files go test would count among what a result depends on.
EXECUTABLES := $${GORUN_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/gorun}/tests
TEST_ENV = GORUN_TEST_EXECUTABLES="$(EXECUTABLES)" PJRT_PLUGIN_LIBRARY_PATH="$${PJRT_PLUGIN_LIBRARY_PATH:-$(call installed,cpu)}" GORUN_DEMO_GGUF="$(call installed,demo:smollm2-135m)"

.PHONY: installed
installed: build
	@mkdir -p .cache
	@bin/gorun setup --demo >$(INSTALLED)

# The packages that take longest come first, for the others to run beside them.
unit: installed $(TESTSUM) ## all tests; they begin without compiled programs
	@rm -f $(SKIPS)
	-@rm -rf "$(EXECUTABLES)"
	$(TEST_ENV) $(GO) test -json -timeout $(TESTTIME) ./model ./rank ./... | $(TESTSUM) -skips $(SKIPS)

race: installed $(TESTSUM) ## the tests of packages with goroutines, under the race detector; with what unit has compiled
	$(TEST_ENV) $(GO) test -race -short -json -timeout $(TESTTIME) $(call present,$(RACE_PACKAGES)) | $(TESTSUM) -skips $(SKIPS)

# present drops patterns of folders that are not there.
present = $(foreach p,$(1),$(if $(wildcard $(patsubst %/...,%,$(p))/.),$(p)))

SLURM_TEST := .cache/slurm.test

.PHONY: test-slurm
test-slurm: installed ## train on a Slurm of two nodes on this machine (needs root, slurmctld, slurmd, slurm-client, munge)
	$(GO) test -c -o $(SLURM_TEST) ./cmd/gorun
	cd cmd/gorun && $(subst $(INSTALLED),../../$(INSTALLED),$(TEST_ENV)) ../../tools/slurm/cluster.sh ../../$(SLURM_TEST) -test.run '^TestSlurm' -test.v

$(GOLANGCI):
	@mkdir -p $(TOOLS)
	GOBIN=$(CURDIR)/$(TOOLS)/tmp $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(TOOLS)/tmp/golangci-lint $@ && rmdir $(TOOLS)/tmp

$(TESTSUM): $(wildcard tools/testsum/*.go tools/skip/*.go)
	$(GO) build -o $@ ./tools/testsum

.PHONY: oracle-tools
oracle-tools:
	@mkdir -p .cache
	test -x $(ORACLE)/bin/python || python3 -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install --quiet --disable-pip-version-check -r tools/oracle/requirements.txt

oracle: oracle-tools installed ## regenerate the golden values with torch, transformers and PEFT, and compare; share a cache with huggingface_hub; the guide's Python (about 5 GB to download)
	$(ORACLE)/bin/python tools/oracle/golden.py --check
	$(ORACLE)/bin/python tools/oracle/kinds.py --check
	$(ORACLE)/bin/python tools/oracle/dropout.py --check
	$(ORACLE)/bin/python tools/oracle/float8.py --check
	$(ORACLE)/bin/python tools/oracle/schedule.py --check
	$(ORACLE)/bin/python tools/oracle/metrics.py --check
	$(ORACLE)/bin/python tools/oracle/fsdp.py --check
	$(GO) build -o .cache/localhub ./tools/localhub
	$(ORACLE)/bin/python tools/oracle/hub.py bin/gorun .cache/localhub
	$(TEST_ENV) GORUN_GUIDE_PYTHON=$(CURDIR)/$(ORACLE)/bin/python $(GO) test -count=1 -run 'TestGuide$$' ./cmd/gorun

READERS := .cache/readers

readers: oracle-tools installed ## what gorun writes, read by transformers, PEFT, llama.cpp, vLLM's check, lm-eval, TRL, TensorBoard, W&B, Chromium (1 GB more to download, 20 minutes)
	$(ORACLE)/bin/python -m pip install --quiet --disable-pip-version-check -r tools/oracle/requirements-readers.txt
	$(TEST_ENV) $(ORACLE)/bin/python tools/oracle/readers --gorun bin/gorun --gguf "$(call installed,demo:smollm2-135m)" --cache $(READERS)

bench: build ## training speed on this machine
	@bin/gorun setup --demo >/dev/null
	bin/gorun bench

peers: oracle-tools build ## training speed on this machine's CPU beside transformers + PEFT, one table
	@bin/gorun setup --demo >/dev/null
	$(ORACLE)/bin/python bench/cpu.py bin/gorun $(ORACLE)/bin/python

startup: oracle-tools build ## start-up of two nodes on this machine beside torchrun's, one table
	$(ORACLE)/bin/python bench/startup.py bin/gorun $(ORACLE)/bin/torchrun

NETNS_TABLE := .cache/netns.md

.PHONY: startup test-netns
test-netns: installed $(TESTSUM) ## the launcher's faults on several nodes, in network namespaces (needs root and iproute2), as a table
	@rm -f $(NETNS_TABLE) .cache/netns-skipped.txt
	$(TEST_ENV) GORUN_BIN=$(CURDIR)/bin/gorun GORUN_NETNS=1 GORUN_NETNS_TABLE=$(CURDIR)/$(NETNS_TABLE) $(GO) test -count=1 -json -timeout 6m ./launcher/netns | $(TESTSUM) -skips .cache/netns-skipped.txt
	@if [ -s $(NETNS_TABLE) ]; then cat $(NETNS_TABLE); else cat .cache/netns-skipped.txt; fi

# -fuzzminimizetime: by default every input that reaches new code is first made smaller for up to a minute, which where
# coverage varies from run to run (pools, goroutines) leaves no time for anything else.
fuzz: ## each fuzz target for FUZZTIME (20s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$dir; \
		done; \
	done

GPU_BINARIES ?= .cache/gpu
# Packages whose tests run on a GPU.
GPU_PACKAGES := csrc/device model/hlo model rank

.PHONY: gpu-binaries
gpu-binaries: ## what bench/gpu.sh needs, for a machine with a GPU and without Go, in .cache/gpu
	rm -rf $(GPU_BINARIES) && mkdir -p $(GPU_BINARIES)/src
	CGO_ENABLED=1 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(GPU_BINARIES)/gorun ./cmd/gorun
	@for p in $(GPU_PACKAGES); do \
		echo "$$p"; $(GO) test -c -ldflags "-s -w" -o $(GPU_BINARIES)/$$(echo $$p | tr / .).test ./$$p; mkdir -p $(GPU_BINARIES)/src/$$p; \
		if [ -d $$p/testdata ]; then cp -r $$p/testdata $(GPU_BINARIES)/src/$$p/; fi; \
	done
	mkdir -p $(GPU_BINARIES)/src/model/tokenizer/testdata # rank's tests read it
	cp model/tokenizer/testdata/gpt2_tokenizer.json $(GPU_BINARIES)/src/model/tokenizer/testdata/
	cp bench/gpu.sh bench/peer.py bench/peft_gpu.py bench/full_gpu.py bench/fsdp2_gpu.py bench/launch.py $(GPU_BINARIES)/

gpu: gpu-binaries ## the device tests and the benchmarks on this machine's NVIDIA GPU
	@$(GPU_BINARIES)/gorun setup --cuda >/dev/null
	sh bench/gpu.sh $(GPU_BINARIES) $(GPU_BINARIES)/results

rewrite: installed ## write the tests' golden files anew; look at the difference before committing
	@for dir in $$(grep -rlE --include='*_test.go' '"gorun/tools/golden"' . | xargs -n1 dirname | sort -u); do \
		echo "$$dir"; $(TEST_ENV) $(GO) test -count=1 $$dir -rewrite; \
	done

KILLS ?= 50

kills: installed ## a run killed KILLS (50) times at random moments, saves included, ends in the bytes of one that was not
	$(TEST_ENV) GORUN_KILLS=$(KILLS) $(GO) test -count=1 -timeout 1h -v -run '^TestKilled$$' ./rank

cover: installed ## coverage of the tests, in coverage.out
	$(TEST_ENV) $(GO) test -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out | tail -1

clean: ## remove what make made (not the user's cache)
	rm -rf bin .cache coverage.out
