# make bench         bench/run.py: prints a table and writes bench/results.md
#                    [BENCH_BEFORE=DIR BENCH_TOKENS=10000000 BENCH_ROUNDS=5 BENCH_SECONDS=2]
#                    [BENCH_LOADS='get,list,verify,get 256,create,create 1,spend,limit,balance,size,pg get,
#                    pg list,pg verify,pg create,pg spend,pg direct get,pg direct spend']
#                    pg: over a private PostgreSQL, left out without one
#                    BENCH_BEFORE: a checkout of another version; its programs must be built
#                    (make -C DIR all bench-programs)
# make bench-quick   under a minute, with small sizes: shows only that the bench works

BENCH_TOKENS  ?= 10000000
BENCH_ROUNDS  ?= 5
BENCH_SECONDS ?= 2

BENCH          = $(BUILD)/bench
BENCH_PROGRAMS = $(addprefix $(BENCH)/,load parked_libfcgi blocking_peer one_commit $(if $(WITH_POSTGRESQL),direct))
BENCH_RUN      = BUILD='$(BUILD)' $(PYTHON) bench/run.py --before '$(BENCH_BEFORE)' --loads '$(BENCH_LOADS)'

.PHONY: bench bench-programs bench-quick bench-deps

bench: bench-deps
	@$(MAKE) --no-print-directory all bench-programs
	@$(BENCH_RUN) --tokens $(BENCH_TOKENS) --rounds $(BENCH_ROUNDS) --seconds $(BENCH_SECONDS)

bench-quick: bench-deps
	@$(MAKE) --no-print-directory all bench-programs
	@$(BENCH_RUN) --quick

bench-deps:
	@./dev/deps.sh bench

bench-programs: $(BENCH_PROGRAMS)

$(BENCH)/load: $(call object,bench/load.c $(COMMON))
$(BENCH)/direct: $(call object,bench/direct.c $(COMMON))
$(BENCH)/one_commit: $(call object,bench/one_commit.c $(COMMON) $(filter-out fcgi/commit_thread.c,$(WORKER)))
$(BENCH)/parked_libfcgi: $(call object,bench/parked_libfcgi.c bench/fixed_reply.c)
$(BENCH)/blocking_peer: $(call object,bench/blocking_peer.c bench/fixed_reply.c)

$(BENCH_PROGRAMS):
	$(link)

SOURCES += $(filter-out $(if $(WITH_POSTGRESQL),,bench/direct.c),$(wildcard bench/*.c))
HEADERS += $(wildcard bench/*.h)
