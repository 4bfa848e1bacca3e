# SPDX-License-Identifier: MIT
# Fuzzing of the guest loader: one libFuzzer program per boot protocol, with the address and undefined-behaviour
# sanitizers, started from well-formed images that the program itself writes.
#
#   make fuzz-loader FUZZ_SECONDS=600

FUZZ_SECONDS ?= 10
FUZZ_LOADER_OUT := $(BUILD)/fuzz-loader
FUZZ_LOADER_PROTOCOLS := linux multiboot multiboot2 pvh elf flat
FUZZ_LOADER_SOURCES := $(wildcard guest-loader/*.c) hv/mm/guest_layout.c hv/base/format.c hv/base/text.c \
	hv/base/status.c tests/unit/support.c
FUZZ_LOADER_HEADERS := $(wildcard guest-loader/*.h) tests/unit/loader_support.h

$(FUZZ_LOADER_OUT)/%: tests/fuzz/fuzz_loader.c $(FUZZ_LOADER_SOURCES) $(FUZZ_LOADER_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(NATIVE_CFLAGS) -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-DFUZZ_PROTOCOL=PROTOCOL_$(shell echo $* | tr a-z A-Z) -o $@ $< $(FUZZ_LOADER_SOURCES)

FUZZ_LOADER_RUNS := $(FUZZ_LOADER_PROTOCOLS:%=fuzz-loader-%)

$(FUZZ_LOADER_RUNS): fuzz-loader-%: $(FUZZ_LOADER_OUT)/%
	@mkdir -p $(FUZZ_LOADER_OUT)/$*.corpus
	@$< --seeds $(FUZZ_LOADER_OUT)/$*.corpus
	@$< -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 -verbosity=0 -print_final_stats=1 $(FUZZ_MORE) \
		-artifact_prefix=$(FUZZ_LOADER_OUT)/$*- $(FUZZ_LOADER_OUT)/$*.corpus 2> $(FUZZ_LOADER_OUT)/$*.log || \
		{ tail -40 $(FUZZ_LOADER_OUT)/$*.log; printf 'FAILED fuzz-loader-$*\n'; exit 1; }
	@printf 'ok fuzz-loader-$*: %s executions in %s s\n' \
		$$(sed -n 's/stat::number_of_executed_units: *//p' $(FUZZ_LOADER_OUT)/$*.log) $(FUZZ_SECONDS)

fuzz-loader: $(FUZZ_LOADER_RUNS)
fuzz: fuzz-loader

.PHONY: fuzz fuzz-loader $(FUZZ_LOADER_RUNS)
