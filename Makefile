# make         build the programs into build/    [CC=clang]
# make run     a demo: store, pool and nginx on this machine   [PORT=8080] [STORE=postgresql]
# make test    all tests; the last line is "N passed, N failed"
# CONTRIBUTING.md names the other targets.

VERSION = 1.0.0
BUILD  ?= build
PORT   ?= 8080
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
PYTHON ?= /usr/bin/python3

STORE  ?= lmdb

# The engine for TOKEN_STORE=postgresql://…, unless POSTGRESQL=no or libpq is missing.
POSTGRESQL ?= $(shell pkg-config --exists libpq && echo yes || echo no)
WITH_POSTGRESQL := $(filter-out no,$(POSTGRESQL))

# A layer uses only those before it.
LAYERS    = base token seal settings sandbox counters store store/lmdb $(if $(WITH_POSTGRESQL),store/postgresql) api
LIBRARIES = fcgi json-c libseccomp libsodium lmdb zlib $(if $(WITH_POSTGRESQL),libpq)

CFLAGS  ?= -O2 -g
# _FORTIFY_SOURCE has an effect, and no warning, in optimized code only.
HARDENING ?= -fstack-protector-strong -fstack-clash-protection \
             $(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
WARNINGS  = -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual \
            -Wwrite-strings -Wvla -Wformat=2 -Wnull-dereference -Wundef \
            -Wno-format-truncation -Wno-unknown-warning-option
DIALECT   = -std=gnu11 -D_GNU_SOURCE -DVERSION=\"$(VERSION)\" -DSYSCONFDIR=\"$(SYSCONFDIR)\" $(if $(WITH_POSTGRESQL),-DSTORE_POSTGRESQL) -I. -I$(BUILD)/gen $(shell pkg-config --cflags $(LIBRARIES))
ALL_CFLAGS  = $(DIALECT) $(WARNINGS) -pthread -fno-common -fPIE $(HARDENING) $(CPPFLAGS) $(CFLAGS) $(SANITIZE)
ALL_LDFLAGS = -pthread -pie -Wl,-z,relro,-z,now,--as-needed $(LDFLAGS) $(SANITIZE)
LDLIBS      = $(shell pkg-config --libs $(LIBRARIES))

COMMON     = $(wildcard $(LAYERS:=/*.c))
WORKER     = $(wildcard fcgi/*.c)
TOKENCTL   = $(wildcard ctl/*.c)
UNIT_TESTS = $(wildcard tests/unit/test_*.c)
SOURCES    = $(COMMON) $(WORKER) $(TOKENCTL) $(UNIT_TESTS) $(wildcard dev/*.c)
HEADERS    = $(wildcard $(patsubst %,%/*.h,$(LAYERS) fcgi ctl tests/unit))

object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
define link
@mkdir -p $(@D)
@echo '  LD  $@'
@$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(LDLIBS)
endef

.PHONY: all always unit-tests run test test-asan test-tsan coverage lint format release-check deps install uninstall deb \
        clean libfcgi
.SECONDARY:

# The console's files as they are, and the API's reference.
CONSOLE = $(patsubst %,$(BUILD)/%,$(wildcard console/*) console/api.html)

all: $(BUILD)/token.fcgi $(BUILD)/tokenctl $(CONSOLE)

$(BUILD)/console/%: console/%
	@mkdir -p $(@D)
	@cp $< $@

$(BUILD)/console/api.html: dev/api_html.py openapi.yaml
	@mkdir -p $(@D)
	@echo '  GEN $@'
	@$(PYTHON) $^ >$@.new; case $$? in 0) mv $@.new $@ ;; 3) echo 'api.html is left out: python3-yaml is missing (make deps)' ;; *) exit 1 ;; esac

$(BUILD)/token.fcgi: $(call object,$(COMMON) $(WORKER)) | libfcgi
	$(link)

$(BUILD)/tokenctl: $(call object,$(COMMON) $(TOKENCTL))
	$(link)

# A unit test may use each layer, and the worker without its main.
$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(call object,$(COMMON) $(filter-out fcgi/main.c,$(WORKER)))
	$(link)

$(BUILD)/tests/%: LDLIBS += -lcmocka
$(BUILD)/tests/test_no_memory: ALL_LDFLAGS += $(foreach name,malloc calloc realloc free strdup,-Wl,--wrap=$(name))
$(BUILD)/tests/test_no_memory: LDLIBS := $(patsubst -ljson-c,-l:libjson-c.a,$(LDLIBS)) -lcmocka

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo '  CC  $<'
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The SQL of store/postgresql, as C.
SQL = $(wildcard store/postgresql/*.sql)
$(call object,$(wildcard store/postgresql/*.c)): $(BUILD)/gen/sql.h
$(BUILD)/gen/sql.h: store/postgresql/sql.awk $(SQL)
	@mkdir -p $(@D)
	@awk -f $^ >$@

# Remade if SYSCONFDIR or the engines are others than before.
$(BUILD)/obj/settings/settings.o $(BUILD)/obj/store/store.o: $(BUILD)/options
$(BUILD)/options: always
	@mkdir -p $(@D)
	@echo '$(SYSCONFDIR) $(WITH_POSTGRESQL)' | cmp -s - $@ || echo '$(SYSCONFDIR) $(WITH_POSTGRESQL)' >$@

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# Older ones overflow a buffer (CVE-2025-23016); Debian 12 has patched its own. (pkg-config does not
# know: the fcgi.pc of 2.4.5 may still say 2.4.2.)
libfcgi:
	@case $$(dpkg-query -W -f='$${Version}' libfcgi-dev 2>/dev/null || pkg-config --modversion fcgi) in \
	2.4.2-2+deb12u* | 2.4.[5-9]* | 2.4.[1-9][0-9]* | 2.[5-9]* | [3-9].*) ;; \
	*) echo 'libfcgi 2.4.5 or later is needed, or 2.4.2-2+deb12u1 (make deps)' >&2; exit 1 ;; \
	esac

unit-tests: $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_TESTS))

deps:
	./dev/deps.sh all

run:
	@./dev/deps.sh build run $(filter postgresql,$(STORE))
	@$(MAKE) --no-print-directory -s all
	@BUILD='$(BUILD)' STORE='$(STORE)' exec ./dev/run.sh '$(PORT)'

# Tests wait much, for processes and for the disk: twice as many at once as there are processors.
RUN_TESTS = $(PYTHON) -m pytest -n "$$((2 * $$(nproc)))" --dist loadfile $(PYTEST) tests

test:
	@./dev/deps.sh test
	@$(MAKE) --no-print-directory all unit-tests
	@./dev/axe.sh '$(BUILD)/axe'
	@BUILD='$(BUILD)' $(RUN_TESTS) --timeout=900

# The same tests on programs that check themselves; under ThreadSanitizer those marked "threads".
ASAN = BUILD=build/asan HARDENING= CFLAGS='-O1 -g -fno-omit-frame-pointer' \
       SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all'
TSAN = BUILD=build/tsan HARDENING= CFLAGS='-O1 -g' SANITIZE=-fsanitize=thread \
       UNIT_TESTS='$(patsubst %,tests/unit/test_%.c,commit_thread work_queue)'

test-asan:
	@$(MAKE) --no-print-directory test $(ASAN)

test-tsan:
	@$(MAKE) --no-print-directory test $(TSAN)

# The same tests, without fuzzing, on programs that count which lines and branches run. Prints a
# table, and writes pages into $(COVERAGE)/html. The workers' user must have access to that folder.
COVERAGE ?= build/coverage
COVERED   = BUILD='$(COVERAGE)' HARDENING= CFLAGS='-O0 -g -fprofile-update=atomic' SANITIZE=--coverage \
            LDFLAGS='-Wl,--wrap=open,--wrap=_exit,--wrap=closefrom $(COVERAGE)/obj/dev/coverage.o'

coverage:
	@./dev/deps.sh test coverage
	@./dev/coverage.sh ready '$(COVERAGE)'
	@$(MAKE) --no-print-directory '$(COVERAGE)/obj/dev/coverage.o' BUILD='$(COVERAGE)' HARDENING= CFLAGS=-O1
	@$(MAKE) --no-print-directory all unit-tests $(COVERED)
	@./dev/coverage.sh count '$(COVERAGE)' $(RUN_TESTS); status=$$?; \
	    ./dev/coverage.sh report '$(COVERAGE)' $(filter-out store/%,$(LAYERS)) fcgi ctl && exit $$status

lint:
	@./dev/deps.sh lint
	@clang-format --dry-run -Werror $(SOURCES) $(HEADERS)
	@$(MAKE) --no-print-directory $(BUILD)/gen/sql.h
	@printf '%s\n' $(SOURCES) | xargs -P "$$(nproc)" -n 2 sh -c 'clang-tidy --quiet "$$@" -- $(DIALECT)' lint
	@shellcheck spawn.sh dev/*.sh examples/*.sh man/tokenctl.bash tests/deb/chroot.sh .ci/run

format:
	clang-format -i $(SOURCES) $(HEADERS)

release-check:
	@./dev/release-check.sh $(STEPS)

LIB  = $(DESTDIR)$(PREFIX)/lib/token
BIN  = $(DESTDIR)$(PREFIX)/bin
SHARE = $(DESTDIR)$(PREFIX)/share/token
DOCDIR ?= $(PREFIX)/share/doc/token
DOC  = $(DESTDIR)$(DOCDIR)
CONF = $(DESTDIR)$(SYSCONFDIR)/token
# Scripts, examples and documents name the folders that they are installed for.
with_folders = sed -E 's,/etc/token,$(SYSCONFDIR)/token,g; s,/usr/local/share/doc/token,$(DOCDIR),g; s,/usr/local/(bin|lib|share)/(token|systemd|sysusers),$(PREFIX)/\1/\2,g'

# The workers' account, which nobody else has: only on this machine, not in a package's folder.
install: all
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" -eq 0 ] && ! getent passwd token >/dev/null; then \
	    useradd --system $$(getent group token >/dev/null && echo --gid token || echo --user-group) \
	        --home-dir /nonexistent --shell /usr/sbin/nologin token; fi
	install -d '$(LIB)' '$(BIN)' '$(DOC)/docs' '$(DOC)/bench' '$(DOC)/examples' '$(CONF)' '$(SHARE)/console'
	install -m 755 $(BUILD)/token.fcgi '$(LIB)'
	$(with_folders) spawn.sh >'$(LIB)/spawn.sh' && chmod 755 '$(LIB)/spawn.sh'
	install -m 755 $(BUILD)/tokenctl '$(BIN)'
	for file in *.md *.example openapi.yaml docs/*.md bench/results.md; do \
	    $(with_folders) "$$file" >'$(DOC)/'"$$file" && chmod 644 '$(DOC)/'"$$file" || exit; done
	install -m 644 $(wildcard console/*) $(wildcard $(BUILD)/console/api.html) '$(SHARE)/console'
	install -m 644 docs/*.webp '$(DOC)/docs'
	install -m 644 examples/* '$(DOC)/examples'
	[ -e '$(CONF)/token.conf' ] || install -m 644 '$(DOC)/token.conf.example' '$(CONF)/token.conf'

# Store, secret, account, and files of settings with changes stay.
uninstall:
	rm -f '$(LIB)/token.fcgi' '$(LIB)/spawn.sh' '$(BIN)/tokenctl'
	! cmp -s '$(DOC)/token.conf.example' '$(CONF)/token.conf' || rm '$(CONF)/token.conf'
	rm -rf '$(DOC)' '$(SHARE)/console'
	-rmdir --ignore-fail-on-non-empty '$(LIB)' '$(CONF)' '$(SHARE)' 2>/dev/null

# The Debian package, in build/deb, from a copy of this folder. The package's make must not inherit this one's variables.
deb:
	@./dev/deps.sh deb
	rm -rf build/deb
	install -d build/deb/token-fcgi
	tar -c --exclude-vcs --exclude=./build --exclude=./var . | tar -x -C build/deb/token-fcgi
	cd build/deb/token-fcgi && env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES dpkg-buildpackage -b -us -uc -Jauto
	rm -r build/deb/token-fcgi

clean:
	rm -rf build

include $(wildcard bench/bench.mk man/man.mk systemd/systemd.mk tests/*/*.mk)
