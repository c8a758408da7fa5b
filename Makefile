# Everything that a person types. The first run on a bare machine installs or builds what is
# missing and says so; see hack/prerequisites.

# Where rustup and Go's own installer put their programs, for shells that were not told.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/local/go/bin

TARGET := $(or $(CARGO_TARGET_DIR),target)
CRDS := directive fleet
METRICS := docs/metrics.md

# Most tests wait most of the time, but a control plane is two busy processes while it starts: many at a time
# on two cores only turn the waiting of one into the time-out of another. hack/test runs two binaries at a time.
export RUST_TEST_THREADS ?= 2

# Always built together: cargo gives a dependency the features that the chosen packages ask for, and would
# build the large ones anew for each other choice.
PROGRAMS := --workspace --bins --examples

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what there is to type
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: programs ## Watch a directive go through real servers into three proxies, and end
	@$(TARGET)/debug/demo --operator $(TARGET)/debug/osproxy-directives --proxy $(TARGET)/debug/examples/proxy

.PHONY: playground
playground: programs ## Start the same system and leave it up until Ctrl-C
	@$(TARGET)/debug/playground --operator $(TARGET)/debug/osproxy-directives --proxy $(TARGET)/debug/examples/proxy

.PHONY: test
test: servers old-servers test-tools before instructions ## Run every test, against real servers (ONLY=part-of-a-file's-name)
	@hack/test $(ONLY)

.PHONY: upgrade
upgrade: servers before ## Roll the operator of the last tag into this one and back, with stores of both
	cargo test --test upgrade -- --nocapture

.PHONY: instructions
instructions: prerequisites ## Count the instructions of a request, and hold them under their ceilings
	cargo run --quiet --profile bench --package instructions

.PHONY: lint
lint: built ## Check format, lints, documentation, dependencies and generated files
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo clippy --lib --no-default-features --features store -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps
	hack/deny
	hack/book
	@for of in $(CRDS); do \
		$(TARGET)/debug/osproxy-directives crd $$of | diff --unified crds/diagnostics$$of.yaml - \
			|| { echo "crds/diagnostics$$of.yaml is not what the code says; \`make crd\` writes it anew" >&2; exit 1; }; \
	done
	@$(TARGET)/debug/osproxy-directives metrics | diff --unified $(METRICS) - \
		|| { echo '$(METRICS) is not what the code says; `make metrics` writes it anew' >&2; exit 1; }
	@hack/chart lint

.PHONY: book
book: prerequisites ## Build the book in docs/, and follow its links
	@hack/book

.PHONY: reference
reference: built ## Write the book's reference from the code
	OSPROXY_WRITE_REFERENCE=1 cargo test --quiet --test book -- is_what_the

.PHONY: faults
faults: servers old-servers ## Show what store and operator do about each fault, and the reference beside it (ONLY=name for one)
	@hack/faults $(ONLY)

.PHONY: soak
soak: servers old-servers ## The long forms: fifty restarts of the operator, ten minutes of quiet at both ends
	SOAK_RESTARTS=50 SOAK_QUIET_SECS=600 cargo test --test never_blank --test never_silent -- rolling quiet
	OSPROXY_QUIET_SECS=600 cargo test --test faults -- --nocapture a_quiet_minute

# `make test` runs on the default pin; this is the newest Kubernetes that the chart supports.
SKEW := 1.37

.PHONY: skew
skew: servers old-servers ## Run every test on the newest Kubernetes, too (ONLY=part-of-a-file's-name)
	@$(TARGET)/debug/servers kubernetes-$(SKEW) > /dev/null
	@TESTBED_KUBERNETES=$(SKEW) hack/test $(ONLY)

.PHONY: bench
bench: servers instructions ## Measure, beside the reference
	cargo bench --bench store
	cargo bench --bench apply
	REPORTING=1000 cargo bench --bench reporting
	cargo test --test on_call -- --ignored --nocapture a_thousand

.PHONY: scale
scale: servers ## Ten thousand stores on a cluster of three that loses a member; as many that report; as many resources
	cargo bench --bench fleet
	cargo bench --bench reporting
	cargo bench --bench resources

.PHONY: static
static: prerequisites ## Build the static binary that the image carries
	@hack/static

.PHONY: image
image: ## Build the image with the container engine that is here (IMAGE=name, ENGINE=podman, PLATFORM=linux/arm64)
	@hack/image $(IMAGE)

.PHONY: image-check
image-check: servers ## Check the static binary on an empty root, and run the main job's test with it
	@hack/image-check

.PHONY: crd
crd: built ## Write the CustomResourceDefinitions from their Rust types
	@for of in $(CRDS); do \
		file=crds/diagnostics$$of.yaml; \
		$(TARGET)/debug/osproxy-directives crd $$of > $$file.new || { rm -f $$file.new; exit 1; }; \
		mv $$file.new $$file && cp $$file charts/osproxy-directives/files/ || exit 1; \
	done

.PHONY: chart
chart: built ## Write the pages about the chart's values, and deploy/install.yaml
	@hack/chart write

.PHONY: schemas
schemas: built ## Write the schemas that the chart is checked with from Kubernetes' own descriptions
	@hack/chart schemas

.PHONY: metrics
metrics: built ## Write the page about the operator's metrics from its registry
	@$(TARGET)/debug/osproxy-directives metrics > $(METRICS).new || { rm -f $(METRICS).new; exit 1; }
	@mv $(METRICS).new $(METRICS)

.PHONY: model
model: prerequisites ## Explore the model of the key within wide bounds, and its mutants
	cargo test --config 'profile.dev.opt-level=3' --test model -- --include-ignored --nocapture --test-threads=1

.PHONY: mutants
mutants: servers old-servers ## Take each defence out and see its test notice (ONLY=name for one)
	@hack/mutants $(ONLY)

# What the demo and the playground run, and the servers that they run against.
.PHONY: programs
programs: servers built

# Built once for this user, from the Go modules pinned in testbed/servers.
.PHONY: servers
servers: built
	@$(TARGET)/debug/servers > /dev/null

# The older etcd versions that proxies meet in the field. Ahead of the tests, so that no build
# distorts a test's time; a test that is run alone builds what it asks for.
.PHONY: old-servers
old-servers: built
	@$(TARGET)/debug/servers etcd-3.5 etcd-3.6 > /dev/null

# What looks at the chart beside Helm.
.PHONY: test-tools
test-tools: built
	@$(TARGET)/debug/servers prometheus-0.313 > /dev/null

# What upgrades are tested against: the last tag's operator and proxy. Where they cannot be built, the one test that needs them says why.
.PHONY: before
before: built
	-@hack/before > /dev/null

.PHONY: built
built: prerequisites
	@cargo build $(PROGRAMS)

.PHONY: prerequisites
prerequisites:
	@hack/prerequisites
