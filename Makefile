# What a person does with this repository; `make help` lists it.
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
C_FILES = $(wildcard bpf/*.c bpf/*.h internal/bench/*.c)

# Probing other processes needs root. Root's own HOME keeps its caches apart.
SUDO = $(if $(filter 0,$(shell id -u)),,sudo -H -E env "PATH=$$PATH")

.PHONY: help build demo demo-shop test test-short test-all test-kernel test-kernels support bench bench-recipe bench-start generate offsets lint format picture image clean
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: go ## Build bin/uspan and bin/fibonacci
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/uspan ./examples/fibonacci

demo: build ## Trace examples/fibonacci in this terminal, for some 20 s
	$(SUDO) bin/uspan run -- bin/fibonacci -n 45

demo-shop: build go ## Trace examples/shop into Jaeger until Ctrl-C, without Docker (builds a Jaeger where there is none, once)
	cd examples/shop && CGO_ENABLED=0 go build -trimpath -o ../../bin/ ./front ./stock ./load
	$(SUDO) go run ./internal/demoshop -bin bin $(if $(FOR),-for $(FOR))

test: go ## Run all tests (as root; the first time a Jaeger and a Collector are built, which takes minutes)
	go test -timeout $(TIMEOUT) $(if $(SUDO),-exec "$(subst ",',$(SUDO))") ./...

test-short: go ## Run the tests that need no root and take seconds
	go test -short ./...

test-all: export TEST_ALL = 1
test-all: TIMEOUT = 2h
test-all: test ## Run all tests, with programs of every supported release of Go

TIMEOUT = 30m

# The tests of the kernel side, which internal/support runs, too.
KERNEL_TESTS = ./bpf ./instrument/attach ./instrument/doctor ./instrument
KERNEL = 6.1
ARCH = amd64
RUN = .
FLAGS =
GUEST_FLAGS =

test-kernel: machines ## Run the tests of the kernel side in a virtual machine: KERNEL=6.1 ARCH=amd64 RUN=.
	CGO_ENABLED=0 GOARCH=$(ARCH) go test $(FLAGS) -p 1 -short -count 1 -timeout $(TIMEOUT) -run '$(RUN)' \
		-exec "$(CURDIR)/bin/guest -kernel $(KERNEL) $(GUEST_FLAGS)" $(KERNEL_TESTS)

test-kernels: machines ## Run them here and on all kernels, for hours, and write docs/support.md: KERNELS=6.1,7 ARCHES=arm64
	$(SUDO) go run ./internal/support $(if $(KERNELS),-kernels $(KERNELS)) $(if $(ARCHES),-arch $(ARCHES))

support: ## Write docs/support.md anew, from what is kept of the runs and the tests that there are
	go run ./internal/support -kernels ''

bench: ## Measure what a traced call costs, beside the floor and the usual recipe
	$(SUDO) go run ./internal/bench

bench-recipe: ## Write into docs/hist.md what hist and the usual recipe make of one program
	$(SUDO) go run ./internal/bench -recipe docs/hist.md

bench-start: ## Write into README.md what start and end take, and memory, with 10,000 functions (builds a program of 110 MB, once)
	$(SUDO) go run ./internal/bench/start -rclone -write README.md

generate: tools ## Build the kernel programs anew (clang-19, installed by apt)
	go generate ./bpf ./internal/bench

offsets: go ## Write the table of the Go runtime's structs anew (fetches the releases of Go)
	go generate ./instrument/gobin

lint: tools ## Check style, layers and formatting
	go vet ./...
	go run $(GOLANGCI_LINT) run
	cd examples/shop && go run $(GOLANGCI_LINT) run -c ../../.golangci.yml
	clang-format-19 --dry-run --Werror $(C_FILES)

format: tools ## Format Go and C
	gofmt -w $(shell git ls-files '*.go')
	clang-format-19 -i $(C_FILES)

LIST = list ./fibonacci 'main.*' 'os.(*File).w*' runtime.gogo
HIST = hist -f main.fibonacciRecursive -f main.fibonacciLoop -- ./fibonacci -n 60 >/dev/null
STACKS = stacks -f 'main.fib*' -- ./fibonacci -n 60 >/dev/null
PICTURE = $(SUDO) go run ../internal/picture

picture: build browser ## Draw the README's pictures anew, for two minutes
	cd bin && $(PICTURE) -lines 18-23 -with ✗ 'sudo uspan run -- ./fibonacci -n 3' ./uspan run -- ./fibonacci -n 3 >tree.svg
	cd bin && $(PICTURE) "uspan $(LIST)" sh -c "./uspan $(LIST)" >list.svg
	cd bin && $(PICTURE) "sudo uspan $(HIST)" sh -c "./uspan $(HIST)" >hist.svg
	cd bin && $(PICTURE) "sudo uspan $(STACKS)" sh -c "./uspan $(STACKS)" >stacks.svg
	cd bin && $(SUDO) ./uspan $(subst -f,-o pprof=calls.pprof -f,$(STACKS)) && $(PICTURE) -flame calls.pprof >flame.png
	mv bin/*.svg bin/flame.png docs/

image: ## Build the image of uspan; PLATFORM=linux/arm64 for another architecture
	docker build --target uspan -t uspan $(if $(PLATFORM),--platform $(PLATFORM)) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) .

VERSION = $(shell git describe --tags --always --dirty)
REVISION = $(shell git rev-parse HEAD)
PLATFORM =

clean: ## Remove what was built
	rm -rf bin

# What Debian has; of Go, 1.21 and later fetch the release that go.mod asks for.
.PHONY: go tools machines browser
go:
	@command -v go >/dev/null || $(SUDO) apt-get install -y --no-install-recommends golang-go ca-certificates

tools:
	@{ clang-19 --version && llvm-strip-19 --version && clang-format-19 --version && \
		test -e /usr/include/bpf/bpf_helpers.h; } >/dev/null 2>&1 || \
		$(SUDO) apt-get install -y --no-install-recommends clang-19 llvm-19 clang-format-19 libbpf-dev

machines: go
	@{ command -v qemu-system-x86_64 && command -v qemu-system-aarch64 && command -v aarch64-linux-gnu-gcc && \
		command -v gcc; } >/dev/null || $(SUDO) apt-get install -y --no-install-recommends \
		qemu-system-x86 qemu-system-arm gcc gcc-aarch64-linux-gnu libc6-dev libc6-dev-arm64-cross
	go build -o bin/guest ./internal/guest

browser:
	@command -v chromium >/dev/null || $(SUDO) apt-get install -y --no-install-recommends chromium
