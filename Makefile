# Everything a developer needs; the work is done by scripts/ and go.

.PHONY: help build own-image release demo test test-workflow test-nix-versions bench check clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: ## build bin/factory
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/factory

own-image: ## publish the factory's own image as latest, and as REVISION, a commit
	@CGO_ENABLED=0 go run -trimpath ./cmd/ownimage --tag latest $(if $(REVISION),--tag $(REVISION) --revision $(REVISION)) $(ARGS)

release: ## make the files of a release below dist (VERSION=v1.2.3, a tag of this commit)
	@go run ./cmd/release $(VERSION)

demo: ## run the main job for real, against a stand-in upstream (KEEP=1 keeps it and the registry up)
	@KEEP=$(KEEP) scripts/demo

test: ## set up and pass the whole suite
	@scripts/test

test-workflow: ## run publish.yml for real with act, against stand-ins for what is outside
	@scripts/test-workflow

test-nix-versions: ## try what depends on Nix with the versions of several Debian suites
	@scripts/test-nix-versions

bench: ## measure
	@scripts/bench

check: ## all that CI checks
	@.ci/run

clean: ## remove what demo, tests and builds left below this folder
	rm -rf .cache .demo bin dist
