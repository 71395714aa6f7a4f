# make test proves the tree. Each stage is a target of its own, in the order in
# which a mistake is cheapest to hear about.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

GO      ?= go
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PROTO   := sdk/proto
# npm writes this file last, so it is newer than the lock file it fulfilled.
BUF_READY := $(PROTO)/node_modules/.package-lock.json

TS       := sdk/ts
TS_READY := $(TS)/node_modules/.package-lock.json

# Seeds of the cluster simulation, and the first of them.
SEEDS ?= 3000
SEED  ?= 1

STAGES := generate-check format-check vet lint race typescript simulation mutants retail

# A stage says what it is in the words of its help line.
say = @printf '\n== %s: %s\n' '$@' "$$(sed -n 's/^$@:.*\#\# //p' Makefile)"

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## everything that proves the tree
	@for stage in $(STAGES); do \
		began=$$SECONDS; \
		$(MAKE) --no-print-directory $$stage; \
		printf '   %s took %d s\n' $$stage $$((SECONDS - began)); \
	done; \
	printf '\nall of it holds: %s, in %d s\n' '$(STAGES)' $$SECONDS

.PHONY: build
build: ## the cartwheel binary, in bin/
	$(GO) build -o bin/cartwheel .

$(BUF_READY): $(PROTO)/package.json $(PROTO)/package-lock.json
	cd $(PROTO) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# Nothing here downloads a browser: tests use that of the machine.
$(TS_READY): $(TS)/package.json $(TS)/package-lock.json
	cd $(TS) && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: generate
generate: $(BUF_READY) ## format the contract and write its Go and TypeScript
	cd $(PROTO) && npx --no-install buf format --write && npx --no-install buf generate

# The generated code is compared with a fresh copy beside it, so the check says
# the same in a clean tree and in one with work in it.
.PHONY: generate-check
generate-check: $(BUF_READY) ## the contract is tidy and the committed Go and TypeScript are what it generates
	$(say)
	@cd $(PROTO) && npx --no-install buf format --diff --exit-code && npx --no-install buf lint
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && mkdir "$$fresh/proto" && \
		(cd $(PROTO) && npx --no-install buf generate -o "$$fresh/proto") && \
		for gen in gen ts/src/gen; do \
			diff -r "$$fresh/$$gen" sdk/$$gen || { echo "sdk/$$gen is stale: run make generate" >&2; exit 1; }; \
		done

.PHONY: breaking
breaking: $(BUF_READY) ## the contract still serves clients of AGAINST=<git ref>
	cd $(PROTO) && npx --no-install buf breaking --against '../../.git#ref=$(or $(AGAINST),HEAD),subdir=$(PROTO)'

.PHONY: format-check
format-check: ## gofmt has nothing to say
	$(say)
	@untidy=$$(git ls-files -co --exclude-standard -z '*.go' | \
		while IFS= read -r -d '' file; do [[ ! -f "$$file" ]] || gofmt -l "$$file"; done); \
		[[ -z "$$untidy" ]] || { printf 'gofmt -w these:\n%s\n' "$$untidy" >&2; exit 1; }

.PHONY: vet
vet: ## go vet
	$(say)
	@$(GO) vet ./...

.PHONY: lint
lint: ## golangci-lint, pinned (its first build takes a minute)
	$(say)
	@$(GO) run $(GOLANGCI) run ./...

# The race detector sees the small samples; the full files have their own stage.
.PHONY: race
race: ## every test under the race detector
	$(say)
	@env -u RETAIL -u GROCERIES $(GO) test -race -timeout 8m ./...

.PHONY: typescript
typescript: $(TS_READY) ## the TypeScript client: its types, and its tests against real nodes from Node and from Chromium
	$(say)
	@cd $(TS) && npx --no-install tsc && npx --no-install vitest run

.PHONY: simulation
simulation: ## simulated clusters with faults: SEEDS of them (3000), from SEED (1)
	$(say)
	@$(GO) test -count=1 -timeout 15m ./replica/replicatest -seeds $(SEEDS) -seed $(SEED)

.PHONY: mutants
mutants: ## each mistake that can be planted in package replica is found by the simulation's checkers
	$(say)
	@$(GO) test -count=1 -timeout 15m -tags mutants ./replica ./replica/replicatest -run 'Mutant|LeftOut|NothingIsFound|OrderOfArrivalIsAnAlarm'

.PHONY: retail
retail: ## real orders through three real processes, one of them killed
	$(say)
	@echo "   orders: $${RETAIL:-the sample}; baskets: $${GROCERIES:-the sample}"
	@$(GO) test -count=1 -timeout 8m ./examples/retail

.PHONY: clean
clean: ## what make made
	rm -rf bin coverage.out coverage.html $(PROTO)/node_modules $(TS)/node_modules $(TS)/dist
