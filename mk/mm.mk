# Benchmarks, soak, coverage and fuzzing of hv/mm's page tables.
#
#   make bench      speed of the page-table core, compiled as in the image (median and best of 11)
#   make soak       the model test with 10^8 operations
#   make coverage   branch coverage of hv/mm/page_table* and table_pool by the unit tests
#   make fuzz       libFuzzer with ASan and UBSan, FUZZ_SECONDS (60) each
#   make prove      the static proof, where frama-c is installed

MM_TABLE_SOURCES := $(wildcard hv/mm/page_table*.c) hv/mm/table_pool.c hv/base/format.c

# As IMAGE_CFLAGS, for the native target.
BENCH_CFLAGS := -std=c17 -O2 -g -fno-builtin-printf -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fno-strict-aliasing -I. $(WARNINGS)
BENCH_OBJECTS := $(MM_TABLE_SOURCES:%.c=$(BUILD)/bench/%.o) $(BUILD)/bench/tests/bench/bench_memory.o \
	$(BUILD)/bench/tests/bench/bench_page_table.o

$(BUILD)/bench/hv/%.o: hv/%.c
	@mkdir -p $(@D)
	$(CC) $(BENCH_CFLAGS) -ffreestanding -MMD -MP -c -o $@ $<

$(BUILD)/bench/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(BENCH_CFLAGS) -D_DEFAULT_SOURCE -MMD -MP -c -o $@ $<

$(BUILD)/bench/page_table: $(BENCH_OBJECTS)
	$(CC) -o $@ $^

bench: $(BUILD)/bench/page_table
	$<

-include $(BENCH_OBJECTS:.o=.d)
.PHONY: bench
