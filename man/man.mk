# The completion of tokenctl, and what is installed of this folder.

all: $(BUILD)/completion/tokenctl.bash $(BUILD)/completion/tokenctl.zsh

$(BUILD)/completion/%: man/% man/completion.awk $(BUILD)/tokenctl
	@mkdir -p $(@D)
	@echo '  GEN $@'
	@$(BUILD)/tokenctl --help | awk -f man/completion.awk - $< >$@.new && mv $@.new $@

MAN = $(DESTDIR)$(PREFIX)/share/man
MAN_PAGES = $(wildcard man/*.[158])
COMPLETIONS = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
SITE_FUNCTIONS = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
SBIN = $(DESTDIR)$(PREFIX)/sbin

.PHONY: install-man uninstall-man
install: install-man
uninstall: uninstall-man

# Pages name the folders that they are installed for.
install-man: all
	install -d '$(MAN)/man1' '$(MAN)/man5' '$(MAN)/man8' '$(SBIN)' '$(COMPLETIONS)' '$(SITE_FUNCTIONS)'
	for page in $(MAN_PAGES); do file='$(MAN)'/man"$${page##*.}/$${page#man/}" && \
	    sed -e 's|/etc/token|$(SYSCONFDIR)/token|' -e 's|/usr/local/share/doc/token|$(or $(DOCDIR),$(PREFIX)/share/doc/token)|' \
	        -e 's|/usr/local|$(PREFIX)|' "$$page" >"$$file" && \
	    chmod 644 "$$file" || exit; done
	ln -sf ../lib/token/spawn.sh '$(SBIN)/token-spawn'
	install -m 644 $(BUILD)/completion/tokenctl.bash '$(COMPLETIONS)/tokenctl'
	install -m 644 $(BUILD)/completion/tokenctl.zsh '$(SITE_FUNCTIONS)/_tokenctl'

uninstall-man:
	for page in $(MAN_PAGES); do rm -f '$(MAN)'/man"$${page##*.}/$${page#man/}"; done
	rm -f '$(SBIN)/token-spawn' '$(COMPLETIONS)/tokenctl' '$(SITE_FUNCTIONS)/_tokenctl'
