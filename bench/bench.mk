# make bench         everything of docs/performance.md: the table, bench/results.md and the plots
#                    [BENCH_TOKENS=10000000 BENCH_ROUNDS=5 BENCH_SECONDS=2 SOAK_S=120]
# make bench-quick   under a minute, small sizes: proves only that the bench works

BENCH_TOKENS  ?= 10000000
BENCH_ROUNDS  ?= 5
BENCH_SECONDS ?= 2
SOAK_S        ?= 120

BENCH          = $(BUILD)/bench
BENCH_PROGRAMS = $(addprefix $(BENCH)/,load ceiling parked_libfcgi blocking_peer one_commit)
BENCH_RUN      = BUILD='$(BUILD)' $(PYTHON) bench/run.py

.PHONY: bench bench-programs bench-quick bench-deps

bench: bench-deps
	@$(MAKE) --no-print-directory all bench-programs
	@$(BENCH_RUN) --tokens $(BENCH_TOKENS) --rounds $(BENCH_ROUNDS) --seconds $(BENCH_SECONDS) \
	    --soak $(SOAK_S)

bench-quick: bench-deps
	@$(MAKE) --no-print-directory all bench-programs
	@$(BENCH_RUN) --quick

bench-deps:
	@./dev/deps.sh bench

bench-programs: $(BENCH_PROGRAMS)

$(BENCH)/load: $(call object,bench/load.c $(filter-out api/%,$(COMMON)))
$(BENCH)/ceiling: $(call object,bench/fixed_api.c base/buffer.c \
                    $(filter-out fcgi/main.c fcgi/cgi.c fcgi/committer.c,$(WORKER)))
$(BENCH)/one_commit: $(call object,bench/one_commit.c $(COMMON) \
                       $(filter-out fcgi/committer.c,$(WORKER)))
$(BENCH)/parked_libfcgi: $(call object,bench/parked_libfcgi.c bench/fixed_reply.c)
$(BENCH)/blocking_peer: $(call object,bench/blocking_peer.c bench/fixed_reply.c)

$(BENCH_PROGRAMS):
	@mkdir -p $(@D)
	@echo '  LD  $@'
	@$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS) -Wl,--as-needed -lfcgi

SOURCES += $(wildcard bench/*.c)
HEADERS += $(wildcard bench/*.h)
