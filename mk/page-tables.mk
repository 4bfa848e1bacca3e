# SPDX-License-Identifier: MIT
# Benchmarks, soak, coverage and fuzzing of hv/mm's page tables.
#: make bench         speed of the page-table core, compiled as in the image (median and best of 11)
#: make soak          the model tests with 10^8 operations
#: make coverage      branch coverage of hv/mm and hv/plan by the unit tests
#: make fuzz-page_table  libFuzzer with ASan and UBSan over operation strings, FUZZ_SECONDS

MM_TABLE_SOURCES := $(wildcard hv/mm/page_table*.c) hv/mm/table_pool.c hv/base/format.c

# As IMAGE_CFLAGS, for the native target; what the image has small is small here too. valgrind reads DWARF 4.
BENCH_CFLAGS := -std=c17 -gdwarf-4 -fno-builtin-printf -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fno-strict-aliasing -I. $(WARNINGS)
BENCH_OBJECTS := $(MM_TABLE_SOURCES:%.c=$(BUILD)/bench/%.o) $(BUILD)/bench/tests/bench/bench_memory.o \
	$(BUILD)/bench/tests/bench/bench_page_table.o

$(BUILD)/bench/hv/%.o: hv/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_CFLAGS) $(if $(filter $<,$(HOT_SOURCES)),-O2,-Oz) -ffreestanding -MMD -MP -c -o $@ $<

$(BUILD)/bench/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_CFLAGS) -O2 -D_DEFAULT_SOURCE -MMD -MP -c -o $@ $<

$(BUILD)/bench/page_table: $(BENCH_OBJECTS)
	$(Q)$(CC) -o $@ $^

bench: bench-page_table
bench-page_table: $(BUILD)/bench/page_table
	$(Q)$<
	$(Q)tests/bench/count-instructions $< $(BUILD)/bench/callgrind

-include $(BENCH_OBJECTS:.o=.d)

# The model test, ten times as long.
soak: soak-page_table soak-shadow
soak-shadow: $(BUILD)/unit/test_shadow
	PLINTH_MODEL_OPERATIONS=100000000 $<

soak-page_table: $(BUILD)/unit/test_page_table_model
	PLINTH_MODEL_OPERATIONS=100000000 $<

# Branch coverage of all of hv/mm and hv/plan, by a build of its own. It fails where a branch that is not an assertion's
# is left.
MM_COVERAGE := $(BUILD)/coverage
MM_TESTS := page_table page_table_order page_table_mistakes page_table_parts page_table_model page_table_iommu table_pool audit \
	small_code guest_layout guest_memory guest_walk guest_walk_code memory_map planner shadow shadow_order iommu_units
MM_PROGRAMS := $(MM_TESTS:%=$(MM_COVERAGE)/unit/test_%)
MM_FLAGS := $(NATIVE_CFLAGS) -O1 -UPLINTH_DEBUG_CHECKS
MM_FILES := $(wildcard hv/mm/*.[ch] hv/plan/*.[ch])
MM_COV_ARGS = $(firstword $(MM_PROGRAMS)) $(patsubst %,-object %,$(wordlist 2,99,$(MM_PROGRAMS))) -instr-profile=$(MM_COVERAGE)/all.profile

coverage: coverage-mm
coverage-mm:
	@$(MAKE) BUILD=$(MM_COVERAGE) CC='$(CC) -fprofile-instr-generate -fcoverage-mapping' NATIVE_CFLAGS='$(MM_FLAGS)' $(MM_PROGRAMS)
	@for t in $(MM_TESTS); do \
		PLINTH_MODEL_OPERATIONS=300000 LLVM_PROFILE_FILE=$(MM_COVERAGE)/$$t.raw $(MM_COVERAGE)/unit/test_$$t >$(MM_COVERAGE)/$$t.log 2>&1 || \
			{ cat $(MM_COVERAGE)/$$t.log; exit 1; }; \
	done
	@llvm-profdata merge -o $(MM_COVERAGE)/all.profile $(MM_TESTS:%=$(MM_COVERAGE)/%.raw)
	@llvm-cov report $(MM_COV_ARGS) -show-branch-summary -show-region-summary=false -show-instantiation-summary=false $(MM_FILES)
	@llvm-cov export $(MM_COV_ARGS) >$(MM_COVERAGE)/all.json
	@tools/coverage-branches $(MM_COVERAGE)/all.json $(MM_FILES)

# Operation strings for libFuzzer; how the program is built is mk/fuzz.mk's pattern.
fuzz: fuzz-page_table
fuzz-programs: $(BUILD)/fuzz/page_table
fuzz-page_table: $(BUILD)/fuzz/page_table
	@mkdir -p $(BUILD)/fuzz/corpus-page_table
	@$< -max_total_time=$(FUZZ_SECONDS) -timeout=20 -max_len=4096 -print_final_stats=1 $(FUZZ_MORE) \
		-artifact_prefix=$(BUILD)/fuzz/page_table- $(BUILD)/fuzz/corpus-page_table >$(BUILD)/fuzz/page_table.log 2>&1 || \
		{ tail -40 $(BUILD)/fuzz/page_table.log; printf 'FAILED fuzz-page_table\n'; exit 1; }
	@printf 'ok fuzz-page_table: %s executions in %s s, no finding\n' \
		"$$(sed -n 's/^stat::number_of_executed_units: *//p' $(BUILD)/fuzz/page_table.log)" $(FUZZ_SECONDS)

.PHONY: bench bench-page_table soak soak-page_table soak-shadow coverage coverage-mm fuzz-page_table
