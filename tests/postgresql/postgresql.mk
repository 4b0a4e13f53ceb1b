# tests/postgresql: the second engine over servers of the tests' own.

ifdef WITH_POSTGRESQL
$(BUILD)/postgresql/%: $(BUILD)/obj/tests/postgresql/%.o $(call object,$(COMMON))
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

SOURCES += tests/postgresql/spender.c

postgresql-tests: $(BUILD)/postgresql/spender

unit-tests: postgresql-tests

.PHONY: postgresql-tests
endif
