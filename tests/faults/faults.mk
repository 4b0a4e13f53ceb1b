# tests/faults: what the programs do when the disk, its bits, the memory or the descriptors fail.

FAULTS = $(BUILD)/faults/fault.so $(BUILD)/faults/flip

$(BUILD)/faults/%.so: tests/faults/%.c tests/faults/faults.mk
	@mkdir -p $(@D)
	@echo '  CC  $<'
	@$(CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) -O2 -g -fPIC -shared -fvisibility=hidden -o $@ $< -ldl

$(BUILD)/faults/%: $(BUILD)/obj/tests/faults/%.o $(call object,$(COMMON))
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

SOURCES += tests/faults/flip.c

fault-tests: $(FAULTS)

unit-tests: fault-tests

.PHONY: fault-tests
