# Short names for the scripts; no logic lives here.
.PHONY: help run test check bench lock
help: ## what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## / \t/'
run: ## a whole instance on this machine
	scripts/run
test: ## the whole suite
	scripts/test
check: ## what must hold before a change goes in
	.ci/run
bench: ## speed of a check beside a bare echo
	scripts/bench check
lock: ## the locked environments, made anew from pyproject.toml
	scripts/lock
