# tests/postgresql: the second engine over servers of the tests' own.

ifdef WITH_POSTGRESQL
DIFFERENTIAL = $(wildcard tests/postgresql/differential*.c)
SOURCES += $(DIFFERENTIAL) tests/postgresql/spender.c
HEADERS += $(wildcard tests/postgresql/*.h)

$(BUILD)/postgresql/spender: $(call object,tests/postgresql/spender.c $(COMMON))
	$(link)

$(BUILD)/postgresql/differential: $(call object,$(DIFFERENTIAL) $(COMMON))
	$(link)

$(BUILD)/postgresql/differential: LDLIBS += -lcmocka

postgresql-tests: $(BUILD)/postgresql/spender $(BUILD)/postgresql/differential

unit-tests: postgresql-tests

.PHONY: postgresql-tests
endif
