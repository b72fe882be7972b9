# What a person does with this repository; `make help` lists it.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
C_FILES = $(wildcard bpf/*.c bpf/*.h internal/bench/*.c)

# Probing other processes needs root. Root's own HOME keeps its caches apart.
SUDO = $(if $(filter 0,$(shell id -u)),,sudo -H -E env PATH="$$PATH")

.PHONY: help build test test-short bench demo generate lint format image clean
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## Build bin/uspan and bin/fibonacci
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/uspan ./examples/fibonacci

demo: build ## Trace examples/fibonacci in this terminal, for some 20 s
	$(SUDO) bin/uspan run -- bin/fibonacci -n 45

test: ## Run all tests (sudo; the first time Jaeger is built, which takes minutes)
	go test -timeout 30m $(if $(SUDO),-exec '$(SUDO)') ./...

test-short: ## Run the tests that need no root and take seconds
	go test -short ./...

bench: ## Measure what a traced call costs, beside the floor and the usual recipe
	$(SUDO) go run ./internal/bench

generate: tools ## Build the kernel programs anew (clang-19, installed by apt)
	go generate ./bpf ./internal/bench

lint: ## Check style, layers and formatting
	go vet ./...
	go run $(GOLANGCI_LINT) run
	clang-format-19 --dry-run --Werror $(C_FILES)

format: ## Format Go and C
	gofmt -w $(shell git ls-files '*.go')
	clang-format-19 -i $(C_FILES)

image: ## Build the container images
	docker build --target uspan -t uspan .
	docker build --target fibonacci -t uspan-fibonacci .

clean: ## Remove what was built
	rm -rf bin

.PHONY: tools
tools:
	@command -v clang-19 llvm-strip-19 clang-format-19 >/dev/null && test -e /usr/include/bpf/bpf_helpers.h || \
		$(SUDO) apt-get install -y --no-install-recommends clang-19 llvm-19 clang-format-19 libbpf-dev
