# What is installed of this folder.

UNITDIR     ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
LOGROTATE    = $(DESTDIR)$(SYSCONFDIR)/logrotate.d

.PHONY: install-systemd uninstall-systemd
install: install-systemd
uninstall: uninstall-systemd

install-systemd:
	install -d '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSUSERSDIR)' '$(DESTDIR)$(TMPFILESDIR)' '$(LOGROTATE)'
	for unit in token.socket token.service; do \
	    $(with_folders) "systemd/$$unit" >'$(DESTDIR)$(UNITDIR)/'"$$unit" && \
	    chmod 644 '$(DESTDIR)$(UNITDIR)/'"$$unit" || exit; done
	install -m 644 systemd/sysusers.conf '$(DESTDIR)$(SYSUSERSDIR)/token.conf'
	install -m 644 systemd/tmpfiles.conf '$(DESTDIR)$(TMPFILESDIR)/token.conf'
	[ -e '$(LOGROTATE)/token' ] || { $(with_folders) systemd/logrotate.conf >'$(LOGROTATE)/token' && \
	    chmod 644 '$(LOGROTATE)/token'; }

uninstall-systemd:
	rm -f '$(DESTDIR)$(UNITDIR)/token.socket' '$(DESTDIR)$(UNITDIR)/token.service' \
	    '$(DESTDIR)$(SYSUSERSDIR)/token.conf' '$(DESTDIR)$(TMPFILESDIR)/token.conf'
	! $(with_folders) systemd/logrotate.conf | cmp -s - '$(LOGROTATE)/token' || rm '$(LOGROTATE)/token'
