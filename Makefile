# Yizheng (一证): what a developer, CI and a curious visitor run.
# `make` alone lists the commands. Each is a short script in deploy/dev that
# says at its top what it does and what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo setup-test build demo test test-long fuzz bench clean

# ONCE=1 ends the demo with exit code 0 or 1 instead of serving.
ONCE ?=
# TIERS="quick race" runs only these tiers of `make test`.
TIERS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: setup-test ## install all that demo and tests need (Debian, Ubuntu), or say what is missing

setup-demo: ## install only what the demo needs: two font packages
	@deploy/dev/setup demo

setup-test: ## install what `make test` needs
	@deploy/dev/setup test

build: ## static binaries in bin/
	@deploy/dev/build

demo: setup-demo build ## the whole system at work on this machine; ONCE=1 verifies and ends
	@bin/gateway demo $(if $(filter-out 0,$(ONCE)),-once)

test: setup-test ## every test tier but the long ones; fails if one could not run
	@deploy/dev/test $(TIERS)

test-long: setup-test ## tests of build tag `long`, then 30 s of fuzzing for each target
	@deploy/dev/test-long

fuzz: ## fuzz each target; FUZZTIME=30s PKG=./identity/...
	@deploy/dev/fuzz

bench: ## every benchmark once: a table, and out/bench.json
	@deploy/dev/bench

clean: ## remove bin/, out/ and var/
	@rm -rf bin out var
