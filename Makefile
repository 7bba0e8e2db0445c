# What is typed often. `make` alone shows it.

IMAGE ?= oneclick-login

.DEFAULT_GOAL := help
.PHONY: help run test check bench image sbom

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve on 127.0.0.1:8080 with what development makes by itself
	cargo run --locked

test: ## all tests; they find or start the servers they need
	cargo test --locked --all-features

check: ## what .ci/run asks besides the tests
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	cargo check --locked
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; \
	else echo 'dependencies not checked: cargo install --locked cargo-deny'; fi
	@if command -v promtool >/dev/null; then promtool test rules deploy/prometheus/alerts.test.yaml; \
	else echo 'alert rules not tested: promtool comes with Prometheus'; fi

bench: ## logins per second, and what one costs
	cargo bench --locked

image: ## the container image
	docker build --tag $(IMAGE) .

sbom: ## the release with the list of its dependencies inside, and beside it, as CycloneDX
	@command -v cargo-auditable cargo-cyclonedx rust-audit-info >/dev/null || \
	{ echo 'needs: cargo install --locked cargo-auditable cargo-cyclonedx rust-audit-info'; exit 1; }
	cargo auditable build --locked --release
	release=$${CARGO_TARGET_DIR:-target}/release && deploy/sbom $$release/oneclick-login $$release/oneclick-login.cdx.json
