# The fuzz targets: tests/fuzz/NAME.c becomes $(BUILD)/fuzz/NAME, by clang with libFuzzer,
# AddressSanitizer and UBSan, whatever the rest is built with.
#
# make fuzz-programs                          builds them
# make fuzz-short  [FUZZ='json request']      seeds, regressions, and a fixed number of runs each
# make fuzz        [SECONDS=600] [FUZZ=…]     as many seconds each, one a processor at a time; what
#                                             it learns stays in $(BUILD)/fuzz/corpus
# make fuzz-seeds                             writes the seeds that are not text anew

FUZZ_CC     ?= clang
SECONDS     ?= 600
FUZZ_SOURCES = $(wildcard tests/fuzz/*.c)
FUZZ        ?= $(patsubst tests/fuzz/%.c,%,$(filter-out tests/fuzz/planted.c,$(FUZZ_SOURCES)))
FUZZ_SANITIZE = address,undefined -fno-sanitize-recover=all
FUZZ_CFLAGS  = $(DIALECT) -Wall -Wextra -Werror -Wno-gnu-folding-constant -pthread \
               -O1 -g -fno-omit-frame-pointer

.PHONY: fuzz fuzz-short fuzz-programs fuzz-seeds

fuzz-programs: $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SOURCES))

$(BUILD)/fuzz/%: $(BUILD)/fuzz/obj/tests/fuzz/%.o $(BUILD)/fuzz/product.a
	@echo '  LD  $@'
	@$(FUZZ_CC) -pthread -fsanitize=fuzzer,$(FUZZ_SANITIZE) -o $@ $^ $(LDLIBS)

# An archive: a target gets what it calls, and its coverage counts only that.
$(BUILD)/fuzz/product.a: $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(COMMON) $(filter-out fcgi/main.c,$(WORKER)))
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/fuzz/obj/%.o: %.c tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	@echo '  CC  $<'
	@$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,$(FUZZ_SANITIZE) -MMD -MP -c -o $@ $<

$(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(wildcard store/postgresql/*.c)): $(BUILD)/gen/sql.h

-include $(shell find $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)

fuzz-short: fuzz-programs
	@$(PYTHON) tests/fuzz/run.py '$(BUILD)/fuzz' short $(FUZZ)

fuzz: fuzz-programs
	@$(PYTHON) tests/fuzz/run.py '$(BUILD)/fuzz' '$(SECONDS)' $(FUZZ)

fuzz-seeds:
	@$(PYTHON) tests/fuzz/make_seeds.py

SOURCES += $(FUZZ_SOURCES)
HEADERS += $(wildcard tests/*.h tests/fuzz/*.h)
