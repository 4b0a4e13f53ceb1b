# make         build the programs into build/
# make run     a demo: store, pool and nginx on this machine   [PORT=8080]
# make test    everything that is tested; the last line is "N passed, N failed"
# CONTRIBUTING.md names the rest.

BUILD  ?= build
PORT   ?= 8080
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3

LIBRARIES = lmdb libsodium zlib libseccomp
TEST_LIBRARIES = json-c # to compare with
WARNINGS  = -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual \
            -Wwrite-strings -Wvla -Wformat=2 -Wno-format-truncation -Wnull-dereference -Wundef
CFLAGS   ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) -pthread -fno-common \
             -fstack-protector-strong -fstack-clash-protection \
             $(HARDENING) $(shell pkg-config --cflags $(LIBRARIES)) $(CFLAGS) $(SANITIZE)
HARDENING ?= -D_FORTIFY_SOURCE=2
ALL_LDFLAGS = -pthread -Wl,-z,relro,-z,now -pie $(LDFLAGS) $(SANITIZE)
ALL_CFLAGS += -fPIE
LDLIBS = $(shell pkg-config --libs $(LIBRARIES))
TEST_CFLAGS = $(shell pkg-config --cflags $(TEST_LIBRARIES))
TEST_LDLIBS = $(shell pkg-config --libs $(TEST_LIBRARIES))

LAYERS     = base token seal settings sandbox store store/lmdb api
COMMON     = $(foreach layer,$(LAYERS),$(wildcard $(layer)/*.c))
WORKER     = $(wildcard fcgi/*.c)
TOKENCTL   = $(wildcard ctl/*.c)
UNIT_TESTS = $(wildcard tests/unit/test_*.c)

object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

.PHONY: all run test test-asan test-tsan coverage lint format deps install clean
.SECONDARY:

all: $(BUILD)/token.fcgi $(BUILD)/tokenctl

$(BUILD)/token.fcgi: $(call object,$(COMMON) $(WORKER))
	@echo '  LD  $@'
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tokenctl: $(call object,$(COMMON) $(TOKENCTL))
	@echo '  LD  $@'
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# A unit test sees every layer but main.
$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(call object,$(COMMON) $(filter-out fcgi/main.c,$(WORKER)))
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(ALL_LDFLAGS) $(WRAP) -o $@ $^ $(LDLIBS) $(TEST_LDLIBS) -lcmocka

$(BUILD)/tests/test_no_memory: WRAP = $(foreach name,malloc calloc realloc free,-Wl,--wrap=$(name))

$(BUILD)/obj/tests/unit/%.o: ALL_CFLAGS += $(TEST_CFLAGS)

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo '  CC  $<'
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

unit-tests: $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_TESTS))

deps:
	./dev/deps.sh all

run:
	@./dev/deps.sh build run
	@$(MAKE) --no-print-directory -s all
	@BUILD='$(BUILD)' exec ./dev/run.sh '$(PORT)'

test:
	@./dev/deps.sh build run test
	@$(MAKE) --no-print-directory all unit-tests
	@BUILD='$(BUILD)' $(PYTHON) -m pytest $(PYTEST) tests

# The same tests on programs that watch themselves.
ASAN = BUILD=build/asan HARDENING= CFLAGS='-O1 -g -fno-omit-frame-pointer' \
       SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all'
TSAN = BUILD=build/tsan HARDENING= CFLAGS='-O1 -g' SANITIZE=-fsanitize=thread

test-asan:
	@$(MAKE) --no-print-directory test $(ASAN)

test-tsan:
	@$(MAKE) --no-print-directory test $(TSAN)

# The same tests on programs that count which lines and branches run. The fuzz targets are built by
# another compiler and are left out. Prints a table, and puts pages with each line into
# $(COVERAGE)/html. The workers' user must have a way into that folder.
COVERAGE ?= build/coverage
COVERED   = BUILD='$(COVERAGE)' HARDENING= CFLAGS='-O0 -g -fprofile-update=atomic' SANITIZE=--coverage \
            LDFLAGS='-Wl,--wrap=open,--wrap=_exit,--wrap=closefrom $(COVERAGE)/obj/dev/coverage.o'

coverage:
	@./dev/deps.sh build run test coverage
	@./dev/coverage.sh ready '$(COVERAGE)'
	@$(MAKE) --no-print-directory '$(COVERAGE)/obj/dev/coverage.o' BUILD='$(COVERAGE)' HARDENING= CFLAGS=-O1
	@$(MAKE) --no-print-directory all unit-tests $(COVERED)
	@./dev/coverage.sh count '$(COVERAGE)' $(PYTHON) -m pytest $(PYTEST) tests; status=$$?; \
	    ./dev/coverage.sh report '$(COVERAGE)' $(LAYERS) fcgi ctl && exit $$status

SOURCES = $(COMMON) $(WORKER) $(TOKENCTL) $(UNIT_TESTS) $(wildcard dev/*.c)
HEADERS = $(foreach layer,$(LAYERS) fcgi ctl,$(wildcard $(layer)/*.h))

lint:
	@./dev/deps.sh build test bench
	clang-format --dry-run -Werror $(SOURCES) $(HEADERS)
	clang-tidy --quiet $(SOURCES) -- -std=gnu11 -D_GNU_SOURCE -I. $(shell pkg-config --cflags $(LIBRARIES)) $(TEST_CFLAGS)
	shellcheck spawn.sh dev/*.sh .ci/run

format:
	clang-format -i $(SOURCES) $(HEADERS)

install: all
	install -d '$(DESTDIR)$(PREFIX)/lib/token' '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/doc/token'
	install -m 755 $(BUILD)/token.fcgi '$(DESTDIR)$(PREFIX)/lib/token/token.fcgi'
	install -m 755 $(BUILD)/tokenctl '$(DESTDIR)$(PREFIX)/bin/tokenctl'
	install -m 755 spawn.sh '$(DESTDIR)$(PREFIX)/lib/token/spawn.sh'
	install -m 644 README.md nginx.conf.example nginx-protect.conf.example openapi.yaml '$(DESTDIR)$(PREFIX)/share/doc/token'

clean:
	rm -rf build

# What a copy may have been made without.
-include bench/bench.mk
-include tests/fuzz/fuzz.mk
-include tests/crash/crash.mk
-include tests/faults/faults.mk
