# The words that people and CI share. Everything is built with one profile (--release), so that the
# big dependencies are compiled once; build output goes to CARGO_TARGET_DIR, by default a cache folder
# outside the checkout.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test chaos e2e manifests image lint rules bench bench-large guard setup setup-build setup-kafka clean

help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: setup-build rules ## Start a simulated cluster and Millrace against it
	@tools/run.sh

test: setup rules ## Run every test, those against real servers too
	@tools/test.sh

e2e: setup-build rules ## Run behind a real API server, with a real kubelet (as root)
	@tools/e2e.sh

manifests: setup-build rules ## Check deploy/: overlays, chart, alerts, dashboards
	@tools/manifests.sh

image: setup-build ## Build the container image and try it (as root)
	@tools/image.sh

lint: ## Check format, lints and dependencies
	@tools/lint.sh

rules: ## Build the Wasm rules
	@tools/rules.sh

chaos: setup rules ## Carry out SEEDS=100 plans of faults, from FIRST=1 on; PLAN=1 only shows them (small disks need root)
	@tools/chaos.sh

bench: setup rules ## Measure rules and whole cycles
	@tools/bench.sh

bench-large: setup rules ## Measure large clusters and every sink
	@tools/bench.sh large

guard: setup rules ## Count instructions, and fail at 5 % over the baseline
	@tools/guard.sh

setup: ## Install what building and testing need and is missing
	@tools/setup.sh

setup-kafka: ## Fetch a real Kafka broker for tests, and try it
	@tools/setup-kafka.sh

setup-build:
	@tools/setup.sh build

clean: ## Remove all build output
	@tools/clean.sh
