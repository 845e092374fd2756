# make run    set up and run the examples; needs Go alone
# make test   set up and run every test
# make check  format, lint (vet is a part of it) and unit tests: a minute and a half after a change of host/agent, five where all is to be built
# make bench  the benchmarks

GOLANGCI_LINT := v2.15.0

BUILD := .build
BIN := bin/hexdag
EXAMPLE := examples/support-triage
COMPLAINTS := examples/complaints
MODULES := $(EXAMPLE)/modules
GUESTS := $(MODULES)/redact.wasm $(MODULES)/orders.wasm $(MODULES)/refund.wasm
SDK := $(shell find guests/sdk/go -name '*.go' -not -name '*_test.go')
# The Go modules of this repository beside the one at its root.
GO_MODULES := guests guests/sdk/go $(EXAMPLE)/guests

.DEFAULT_GOAL := run
.PHONY: complaints cluster soak enforcement run build guests test unit full race bus-long wasmtime guest-test checked-in sdk-test sdk-table check fmt lint toolchains bench clean FORCE

run: guests
	@echo "running $(EXAMPLE)"
	@$(BIN) run $(EXAMPLE)/pipeline.yaml --each $(EXAMPLE)/tickets.jsonl --tolerate-failures
	@$(MAKE) -s complaints

# The second act: a central agent sees to complaints. With a real model: make complaints CONFIG=hexdag.openai.yaml
CONFIG ?= hexdag.yaml
GOALS = --config $(COMPLAINTS)/$(CONFIG)
complaints: $(BIN)
	@echo && echo "running $(COMPLAINTS)"
	@$(BIN) goal submit complaint --each $(COMPLAINTS)/complaints.jsonl $(GOALS) >/dev/null
	@$(BIN) goal serve --until-idle $(GOALS)
	@echo && echo "a person is asked, and agrees:" && $(BIN) approvals list $(GOALS)
	@for id in $$($(BIN) approvals list $(GOALS) | awk '$$2 == "pending" {print $$1}'); do $(BIN) approvals approve $$id --as "$${USER:-somebody}" $(GOALS) >/dev/null || exit 1; done
	@echo && $(BIN) goal serve --until-idle $(GOALS)
	@echo && $(BIN) goal list --limit 4 $(GOALS)
	@echo && echo "what the agent did about the complaint that tells it to pay a stranger, and what was refused:" && echo
	@$(BIN) goal show $$($(BIN) goal list --limit 4 $(GOALS) | awk '/payout|A-300/ {print $$1; exit}') $(GOALS) || true

build: $(BIN)

# Go knows best what is out of date.
$(BIN): FORCE
	@mkdir -p $(@D)
	@echo "building $@ (the first time, this downloads and compiles its libraries: a few minutes)"
	@go build -trimpath -o $@ ./host/cmd/hexdag

guests: $(GUESTS)

$(MODULES)/redact.wasm: $(wildcard guests/redact/*) $(SDK) | $(BIN)
	@mkdir -p $(@D)
	@echo "building guests/redact"
	@$(BIN) build guests/redact -o $@ >/dev/null

$(MODULES)/%.wasm: $(EXAMPLE)/guests/%/main.go $(EXAMPLE)/guests/%/manifest.json $(SDK) | $(BIN)
	@mkdir -p $(@D)
	@echo "building $(EXAMPLE)/guests/$*"
	@$(BIN) build $(EXAMPLE)/guests/$* -o $@ >/dev/null

test: toolchains fmt lint full race wasmtime guest-test checked-in sdk-test

# What is too slow under the race detector runs here. What lint has vetted is not vetted by go test again.
full:
	go test -vet=off -timeout 30m ./...

race:
	go test -vet=off -race -timeout 30m ./...

# The second engine, which needs cgo: the sandbox's tests on it, and both engines side by side.
wasmtime: export CGO_ENABLED = 1
wasmtime: export HEXDAG_TEST_ENGINE = wasmtime
wasmtime:
	go vet -tags wasmtime ./host/sandbox/... ./host/cmd/hexdag
	go test -tags wasmtime -timeout 30m ./host/sandbox
	go test -tags wasmtime -timeout 30m -run Wasmtime ./host/sandbox/rewrite
	go test -tags wasmtime -timeout 30m -run Engine ./host/cmd/hexdag
	go test -tags wasmtime -timeout 30m -run 'SDKs/c$$' ./host/conform

# The event bus under kill -9 for longer than the other tests take together: 100,000 events with every write on
# the disk, on one node and on three, a million without, and watermill's suite as watermill runs it.
bus-long: export HEXDAG_TEST_LONG = 1
bus-long:
	go test -timeout 180m -v -run 'Crash|Watermill' ./host/ports/eventbus/...

# Three hosts on a NATS cluster, PostgreSQL and Temporal, of which one each is killed under 10,000 runs: examples/cluster.
cluster: export HEXDAG_CLUSTER_RUNS ?= 10000
cluster: toolchains
	go test -timeout 120m -v -count 1 -run Cluster ./examples/cluster

# A server with clients that do all they can for half an hour: nothing of it is left in memory, goroutines or files.
soak: export HEXDAG_SOAK ?= 30m
soak:
	go test -timeout 120m -v -count 1 -run Soak ./host/server

unit:
	go test -vet=off -short ./...

guest-test:
	@for dir in $(GO_MODULES); do echo "testing $$dir" && (cd $$dir && go vet ./... && go test ./...) || exit 1; done

# The modules that are checked in for benchmarks and the sandbox's tests are what their source gives. Those
# of guests/, of the red team and of the other tests are compared by Go tests.
checked-in: FROM := $(abspath $(BUILD))/checked-in
checked-in: | toolchains
	@mkdir -p $(FROM) && sh host/bench/guests/build.sh $(FROM)
	@clang-14 --target=wasm32-wasi -mexec-model=reactor -O3 -mbulk-memory -mmutable-globals -Wl,--strip-all host/sandbox/rewrite/testdata/kernels.c -o $(FROM)/rewrite-kernels.wasm
	@for f in host/bench/guests/*.wasm; do cmp $$f $(FROM)/$$(basename $$f) || exit 1; done
	@cmp host/sandbox/rewrite/testdata/kernels.wasm $(FROM)/rewrite-kernels.wasm
	@for f in host/sandbox/testdata/dialect/*.wat; do \
		wat2wasm $$f -o $(FROM)/dialect.wasm && cmp $${f%.wat}.wasm $(FROM)/dialect.wasm || exit 1; done

# The SDKs of other languages natively; their probes and examples are built and run by host/conform.
ZIG := $(shell command -v zig || echo python3 -m ziglang)
sdk-test: | toolchains
	@mkdir -p $(BUILD)
	cc -std=c11 -Wall -Wextra -Werror guests/sdk/c/test/hexdag_test.c -o $(BUILD)/hexdag_test && $(BUILD)/hexdag_test
	cd guests/sdk/rust && cargo test -q --features serde
	cd guests/sdk/assemblyscript && npm test --silent
	cd guests/sdk/js && npm test --silent
	cd guests/sdk/zig && $(ZIG) test src/hexdag_test.zig --cache-dir .zig-cache

# The table of guests/README.md.
sdk-table: toolchains
	go run ./host/conform/table

# The table of README.md, Labels, and which injections get through.
enforcement:
	go run ./host/enforcement/table

check: fmt lint unit

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not gofmt clean:"; echo "$$out"; exit 1; }

# Vet is one of its linters.
lint: $(BUILD)/bin/golangci-lint-$(GOLANGCI_LINT)
	$< run ./...
	@cd host/bench && go list -deps . >/dev/null # its go.mod follows the root's

$(BUILD)/bin/golangci-lint-$(GOLANGCI_LINT):
	@mkdir -p $(@D)
	@echo "installing golangci-lint $(GOLANGCI_LINT)"
	@GOBIN=$(CURDIR)/$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	@mv $(@D)/golangci-lint $@

# What the tests need beside Go.
toolchains:
	@sh .ci/toolchains

# A module of its own keeps what it compares with out of the host's dependencies.
bench:
	go test -run '^$$' -bench . -benchmem -benchtime 100ms -count 3 ./host ./host/sandbox/... ./host/ports/governance/... ./host/extension/... ./host/expr/... ./host/engine ./host/pipeline ./host/ports/eventbus ./host/journal ./host/server/...
	cd host/bench && go test -run '^$$' -bench . -benchmem -benchtime 100ms -count 3 . | go run ./table

clean:
	rm -rf bin $(BUILD) $(MODULES) $(EXAMPLE)/out $(COMPLAINTS)/out
