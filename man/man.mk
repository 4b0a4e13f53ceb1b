# The completion of tokenctl, and what is installed of this folder.

all: $(BUILD)/completion/tokenctl.bash $(BUILD)/completion/tokenctl.zsh

$(BUILD)/completion/%: man/% man/completion.awk $(BUILD)/tokenctl
	@mkdir -p $(@D)
	@echo '  GEN $@'
	@$(BUILD)/tokenctl --help | awk -f man/completion.awk - $< >$@.new && mv $@.new $@

MAN = $(DESTDIR)$(PREFIX)/share/man
MAN_PAGES = $(wildcard man/*.[158])
COMPLETIONS = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
SBIN = $(DESTDIR)$(PREFIX)/sbin

.PHONY: install-man uninstall-man
install: install-man
uninstall: uninstall-man

# Pages name the folders that they are installed for.
install-man: all
	install -d '$(MAN)/man1' '$(MAN)/man5' '$(MAN)/man8' '$(SBIN)' '$(COMPLETIONS)' '$(DESTDIR)$(ZSHDIR)'
	for page in $(MAN_PAGES); do file='$(MAN)'/man"$${page##*.}/$${page#man/}" && \
	    $(with_folders) "$$page" >"$$file" && \
	    chmod 644 "$$file" || exit; done
	ln -sf ../lib/token/spawn.sh '$(SBIN)/token-spawn'
	install -m 644 $(BUILD)/completion/tokenctl.bash '$(COMPLETIONS)/tokenctl'
	ln -sf tokenctl '$(COMPLETIONS)/token-spawn'
	install -m 644 $(BUILD)/completion/tokenctl.zsh '$(DESTDIR)$(ZSHDIR)/_tokenctl'

uninstall-man:
	for page in $(MAN_PAGES); do rm -f '$(MAN)'/man"$${page##*.}/$${page#man/}"; done
	rm -f '$(SBIN)/token-spawn' '$(COMPLETIONS)/tokenctl' '$(COMPLETIONS)/token-spawn' '$(DESTDIR)$(ZSHDIR)/_tokenctl'
