# tests/crash: what the programs do when the power, the disk, the memory or a process goes.

CRASH = $(BUILD)/crash/record.so $(BUILD)/crash/replay
CRASH_CFLAGS = $(filter-out -D_FORTIFY_SOURCE=% -fPIE,$(ALL_CFLAGS))

$(BUILD)/crash/%.so: tests/crash/%.c tests/crash/log.h tests/crash/crash.mk
	@mkdir -p $(@D)
	@echo '  CC  $<'
	@$(CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) -O2 -g -fPIC -shared -fvisibility=hidden -o $@ $< -ldl

$(BUILD)/crash/%: $(BUILD)/obj/tests/crash/%.o $(call object,$(COMMON))
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

crash-tests: $(CRASH)

unit-tests: crash-tests

# The long form of all tests, then an hour of fuzzing.
torture:
	@./dev/deps.sh torture
	@$(MAKE) --no-print-directory all unit-tests
	@TORTURE=1 BUILD='$(BUILD)' $(RUN_TESTS)
	@$(MAKE) --no-print-directory fuzz SECONDS=900

SOURCES += $(wildcard tests/crash/*.c)
HEADERS += $(wildcard tests/crash/*.h)

.PHONY: crash-tests torture
