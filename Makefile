# `make demo` shows it, `make test` proves it. Nothing is downloaded except through cargo, apt-get, npm and pip, by package name.

TARGET := $(or $(CARGO_TARGET_DIR),target)
# promtool may have been unpacked here, see scripts/install-missing.
export PATH := $(CURDIR)/target/tools:$(PATH)

.PHONY: help demo test fuzz check bench side-by-side edge soak advisories
help:
	@echo "make demo          build, then a guided tour on loopback        (ARGS='--port 8081')"
	@echo "make test          everything, with a third-party identity provider"
	@echo "make fuzz          a million damaged requests, some ten minutes"
	@echo "make check         format, lints, licences"
	@echo "make bench         micro-benchmarks"
	@echo "make side-by-side  the same job on bare pingora, nginx, HAProxy and Envoy"
	@echo "make edge          TLS, HTTP/2, large bodies, many clients: the same others as plain proxies"
	@echo "make soak          slow clients, floods and overload, with figures (ARGS='slow --connections 10000')"
	@echo "make advisories    known vulnerabilities; needs the open internet"

demo:
	scripts/install-missing build
	cargo build --release --locked --bin tollgate
	@$(TARGET)/release/tollgate demo $(ARGS)

test:
	scripts/install-missing build
	scripts/install-missing test
	npm ci --prefix tests/e2e/provider --no-fund --no-audit
	npm ci --prefix tests/e2e/browser --no-fund --no-audit
	npm ci --prefix tests/gateway/peers --no-fund --no-audit
	cargo test --locked

fuzz:
	scripts/install-missing build
	TOLLGATE_FUZZ_REQUESTS=1000000 cargo test --locked --test fuzz -- --nocapture

check:
	scripts/install-missing build
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

bench:
	scripts/install-missing build
	cargo bench --locked

side-by-side:
	scripts/install-missing build
	scripts/install-missing side-by-side
	python3 benches/side_by_side/run.py $(ARGS)

edge:
	scripts/install-missing build
	scripts/install-missing side-by-side
	python3 benches/side_by_side/edge.py $(ARGS)

soak:
	scripts/install-missing build
	scripts/install-missing soak
	cargo build --release --locked --bin tollgate
	tests/soak/run.py $(ARGS)

advisories:
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check advisories
