.PHONY: test-deb

# The package in chroots of both releases, as root: ten minutes.
test-deb:
	@./dev/deps.sh deb
	@for suite in $(or $(SUITE),bookworm trixie); do tests/deb/chroot.sh "$$suite" || exit; done
