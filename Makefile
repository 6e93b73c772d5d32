# Everything here needs Go 1.26, make, git and sh; nothing is installed by hand.
# Tools are built from the pinned versions in tools/go.mod into .tools/.

GO       := go
BIN      := bin/staddle
TOOLS    := .tools
LINT     := $(TOOLS)/golangci-lint
GOFUMPT  := $(TOOLS)/gofumpt
DEADCODE := $(TOOLS)/deadcode

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GOBUILD  := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
LDFLAGS  := -s -w -X main.version=$(VERSION)

# Packages under test; PKG=./trie narrows test, bench and cover.
PKG      ?= ./...
# Extra arguments for go test, for instance ARGS='-run TestG3 -count=1'.
ARGS     ?=
TIMEOUT  ?= 10m
# Time each fuzz function gets.
FUZZTIME ?= 30s
# The demo's folder (empty: a part of the Go distribution and a generated film)
# and whether its network stays up afterwards.
DIR      ?=
KEEP     ?=
# What the moments of `make chaos` are drawn from.
SEED     ?= 1
# File that receives a copy of the closing count line of `make test` and `make e2e`.
SUMMARY  ?=

# Go files of the product: not a nested module, not planted offences.
GOFILES = find . -name '*.go' ! -path './$(TOOLS)/*' ! -path '*/testdata/*' ! -path './bench/*' ! -path './tools/*'

.DEFAULT_GOAL := build
.PHONY: build check vet fmt lint arch tidy dead test engine e2e browser chaos race fuzz bench demo cover clean

build:
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/staddle

## check: everything that can be said about the code without running its suites
check: build vet fmt lint arch tidy

vet:
	$(GO) vet ./...

fmt: $(GOFUMPT)
	@bad=$$($(GOFUMPT) -l .) || exit 1; \
	if [ -n "$$bad" ]; then $(GOFUMPT) -d .; echo "not formatted by gofumpt:"; echo "$$bad"; exit 1; fi

# A package that does not compile silences depguard, so this comes after build
# and vet; the arch test is the authority on imports.
lint: $(LINT)
	$(LINT) run ./...

arch:
	$(GO) test -count=1 ./internal/arch

tidy:
	$(GO) mod tidy -diff
	cd tools && $(GO) mod tidy -diff
	$(GO) mod verify

## dead: functions that no program reaches; for reading, not part of check
dead: $(DEADCODE)
	$(DEADCODE) -test ./...

## test: all suites; the last line is the count of executed tests
test:
	@$(GO) run ./internal/testcount -summary '$(SUMMARY)' -- -timeout $(TIMEOUT) $(ARGS) $(PKG)

## engine: what runs daemons as processes: the suite, then the demo under chaos
engine: e2e chaos

e2e:
	@$(GO) run ./internal/testcount -summary '$(SUMMARY)' -- -tags engine -count=1 -timeout 20m $(ARGS) ./internal/e2e

## browser: films of another node in a headless Chromium; skips without it or ffmpeg
browser:
	@$(GO) run ./internal/testcount -summary '$(SUMMARY)' -- -tags browser -count=1 -timeout 10m $(ARGS) -run TestBrowser ./internal/e2e

## chaos: the demo while nodes of each role are killed; SEED=0 draws another one
chaos: build
	$(BIN) sim --chaos $(SEED)

## race: the packages that start goroutines or share memory, under the race detector
race:
	@pkgs=$$($(GOFILES) ! -name '*_test.go' -exec grep -lE '^[[:space:]]*go [a-zA-Z_(]|"sync(/atomic)?"|"golang.org/x/sync/' {} + \
		| xargs -n1 dirname | sort -u); \
	if [ -z "$$pkgs" ]; then echo "no package starts a goroutine"; exit 0; fi; \
	CGO_ENABLED=1 $(GO) run ./internal/testcount -- -race -timeout $(TIMEOUT) $(ARGS) $$pkgs

## fuzz: every Fuzz function for FUZZTIME, found by name
fuzz:
	@ok=0; bad=0; \
	for at in $$($(GOFILES) -name '*_test.go' -exec grep -oE '^func Fuzz[A-Za-z0-9_]*' /dev/null {} + | sed 's/:func /:/'); do \
		file=$${at%%:*}; name=$${at##*:}; dir=$$(dirname "$$file"); \
		echo "== $$dir $$name"; \
		if $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir"; \
		then ok=$$((ok+1)); else bad=$$((bad+1)); fi; \
	done; \
	echo "$$ok passed, $$bad failed, 0 skipped"; [ $$bad -eq 0 ]

## bench: benchmarks of the product, then those against other programs
bench:
	$(GO) test -run '^$$' -bench . -benchmem $(ARGS) $(PKG)
	@if [ -f bench/go.mod ]; then cd bench && $(GO) test -run '^$$' -bench . -benchmem ./...; fi

## demo: a real network of processes on this machine; DIR=folder KEEP=1
demo: build
	$(BIN) sim $(if $(DIR),--dir '$(DIR)') $(if $(KEEP),--keep)

cover:
	$(GO) test -coverprofile=cover.out -covermode=atomic $(ARGS) $(PKG)
	$(GO) tool cover -func=cover.out | tail -n 1

# The tools stay: building them takes minutes.
clean:
	rm -rf bin cover.out

$(LINT): tools/go.mod tools/go.sum
	cd tools && CGO_ENABLED=0 $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(GOFUMPT): tools/go.mod tools/go.sum
	cd tools && CGO_ENABLED=0 $(GO) build -o ../$@ mvdan.cc/gofumpt

$(DEADCODE): tools/go.mod tools/go.sum
	cd tools && CGO_ENABLED=0 $(GO) build -o ../$@ golang.org/x/tools/cmd/deadcode
