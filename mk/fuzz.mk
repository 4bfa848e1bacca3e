# SPDX-License-Identifier: MIT
# libFuzzer targets of the memory map, the guest walk, shadow paging, the config, devices, the IOMMUs' tables and units,
# the guest loader, and gzip (zlib is its judge), with ASan and UBSan; package libclang-rt-14-dev.
# fuzz-shadow is on request: its model does not know walks that change their own way yet.
# Each runs for FUZZ_SECONDS and keeps its corpus in $(BUILD)/fuzz, so that the next run goes on where this one ended.
#
#: make fuzz          every fuzzer there is; fuzz-config: one of them; FUZZ_SECONDS=600: so long

FUZZ_SECONDS ?= 20
FUZZ_MORE ?= # further options of libFuzzer
FUZZ_NAMES := memory_map guest_walk config gzip console devices assigned dmar ivrs iommu
FUZZ_OUT := $(BUILD)/fuzz
FUZZ_PROGRAMS := $(patsubst %,$(FUZZ_OUT)/%,$(FUZZ_NAMES) page_table shadow)
FUZZ_CFLAGS := $(NATIVE_CFLAGS) -O1 -fno-sanitize-recover=all
c_files = $(foreach d,$(1),$(wildcard $(d)/*.c))

# Each source is compiled once for all targets; which of them a target is made of is said below.
$(FUZZ_OUT)/objects/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c -o $@ $<

.PRECIOUS: $(FUZZ_OUT)/objects/%.o $(BUILD)/fuzz-loader/%.o

fuzz_objects = $(patsubst %.c,$(FUZZ_OUT)/objects/%.o,$(1))
FUZZ_OBJECTS := $(call fuzz_objects,tests/unit/support.c $(call c_files,hv/base hv/mm hv/plan config))
FUZZ_BUS := $(call c_files,hv/dev hv/dev/pci hv/dev/virtio hv/share)

$(FUZZ_OUT)/gzip: $(call fuzz_objects,guest-loader/gzip.c)
$(FUZZ_OUT)/gzip: private FUZZ_LIBS := -lz
$(FUZZ_OUT)/devices: $(call fuzz_objects,$(FUZZ_BUS))
$(FUZZ_OUT)/assigned: $(call fuzz_objects,$(FUZZ_BUS) hv/host/pci_device.c)
$(FUZZ_OUT)/dmar: $(call fuzz_objects,hv/iommu/dmar.c hv/iommu/iommu_table.c hv/host/pci_scan.c)
$(FUZZ_OUT)/ivrs: $(call fuzz_objects,hv/iommu/ivrs.c hv/iommu/iommu_table.c)
$(FUZZ_OUT)/iommu: $(call fuzz_objects,hv/iommu/vtd.c hv/iommu/amdvi.c)
$(FUZZ_OUT)/console: $(call fuzz_objects,$(filter hv/console/%.c,$(PURE)))

$(FUZZ_PROGRAMS): $(FUZZ_OUT)/%: $(FUZZ_OUT)/objects/tests/fuzz/fuzz_%.o $(FUZZ_OBJECTS)
	$(Q)$(CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(FUZZ_LIBS)

-include $(shell find $(FUZZ_OUT)/objects -name '*.d' 2>/dev/null)

# A run starts from the corpus it left, and from the seeds in tests/fuzz/seeds/NAME where there are any.
FUZZ_RUNS := $(FUZZ_NAMES:%=fuzz-%)
$(FUZZ_RUNS) fuzz-shadow: fuzz-%: $(FUZZ_OUT)/%
	@mkdir -p $(FUZZ_OUT)/corpus-$*
	@$(FUZZ_OUT)/$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=16384 -print_final_stats=1 $(FUZZ_MORE) \
		-artifact_prefix=$(FUZZ_OUT)/$*- $(FUZZ_OUT)/corpus-$* $(wildcard tests/fuzz/seeds/$*) \
		>$(FUZZ_OUT)/$*.log 2>&1 || { tail -40 $(FUZZ_OUT)/$*.log; printf 'FAILED fuzz-$*\n'; exit 1; }
	@printf 'ok fuzz-$*: %s executions in %s s, no finding\n' \
		"$$(sed -n 's/^stat::number_of_executed_units: *//p' $(FUZZ_OUT)/$*.log)" $(FUZZ_SECONDS)

fuzz: $(FUZZ_RUNS)
fuzz-programs: $(FUZZ_NAMES:%=$(FUZZ_OUT)/%)

# The guest loader: one program per boot protocol, started from well-formed images that the program itself writes.
FUZZ_LOADER_OUT := $(BUILD)/fuzz-loader
FUZZ_LOADER_PROTOCOLS := linux multiboot multiboot2 pvh elf flat
FUZZ_LOADER_OBJECTS := $(call fuzz_objects,$(wildcard guest-loader/*.c) hv/mm/guest_layout.c hv/base/format.c hv/base/text.c \
	hv/base/status.c tests/unit/support.c)

$(FUZZ_LOADER_PROTOCOLS:%=$(FUZZ_LOADER_OUT)/%.o): $(FUZZ_LOADER_OUT)/%.o: tests/fuzz/fuzz_loader.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined \
		-DFUZZ_PROTOCOL=PROTOCOL_$(shell echo $* | tr a-z A-Z) -MMD -MP -c -o $@ $<

$(FUZZ_LOADER_PROTOCOLS:%=$(FUZZ_LOADER_OUT)/%): %: %.o $(FUZZ_LOADER_OBJECTS)
	$(Q)$(CC) -fsanitize=fuzzer,address,undefined -o $@ $^

-include $(wildcard $(FUZZ_LOADER_OUT)/*.d)

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
fuzz-programs: $(FUZZ_LOADER_PROTOCOLS:%=$(FUZZ_LOADER_OUT)/%)

.PHONY: fuzz-loader $(FUZZ_LOADER_RUNS)

#: make fuzz-figures  every fuzzer for FUZZ_SECONDS, and a table of executions, seconds and findings per target
fuzz-figures:
	@$(MAKE) -k BUILD=$(BUILD) FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz; tests/fuzz/figures $(BUILD)

# Days of work for a processor, most of all for devices and console; each time it goes on where it ended.
#: make fuzz-total    every fuzzer until it has executed 10,000,000 inputs (FUZZ_GOAL); FUZZ_LIMIT=3600: an hour of it; resumes
FUZZ_GOAL ?= 10000000
FUZZ_LIMIT ?= inf
FUZZ_TOTAL ?= $(FUZZ_NAMES) $(FUZZ_LOADER_PROTOCOLS:%=loader-%) # or some of them
fuzz-total: $(patsubst loader-%,$(FUZZ_LOADER_OUT)/%,$(filter loader-%,$(FUZZ_TOTAL))) \
		$(patsubst %,$(FUZZ_OUT)/%,$(filter-out loader-%,$(FUZZ_TOTAL)))
	tests/fuzz/total $(BUILD) --goal $(FUZZ_GOAL) --seconds $(FUZZ_LIMIT) $(FUZZ_TOTAL)

.PHONY: fuzz fuzz-figures fuzz-programs fuzz-shadow fuzz-total $(FUZZ_RUNS)
