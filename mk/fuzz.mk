# SPDX-License-Identifier: MIT
# libFuzzer targets of the memory map, the guest walk, shadow paging, the config, devices, the
# IOMMUs' tables and units, and gzip (zlib is its judge), with ASan and UBSan; package
# libclang-rt-14-dev.
# fuzz-shadow is on request: its model does not know walks that change their own way yet.
# Each runs for FUZZ_SECONDS and keeps its corpus in $(BUILD)/fuzz, so that the next run goes on where this one ended.
#
#: make fuzz          every fuzzer there is; fuzz-config: one of them; FUZZ_SECONDS=600: so long

FUZZ_SECONDS ?= 20
FUZZ_MORE ?= # further options of libFuzzer
FUZZ_NAMES := memory_map guest_walk config gzip console devices assigned dmar ivrs iommu
FUZZ_SOURCES := tests/unit/support.c $(foreach d,hv/base hv/mm hv/plan config,$(wildcard $(d)/*.c))
FUZZ_HEADERS := $(foreach d,hv/base hv/mm hv/plan config,$(wildcard $(d)/*.h))
FUZZ_OUT := $(BUILD)/fuzz

$(FUZZ_OUT)/%: tests/fuzz/fuzz_%.c $(FUZZ_SOURCES) $(FUZZ_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(NATIVE_CFLAGS) -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $< $(FUZZ_SOURCES) \
		$(FUZZ_MORE_SOURCES)

$(FUZZ_OUT)/gzip: guest-loader/gzip.c guest-loader/gzip.h tests/unit/zlib_oracle.h
$(FUZZ_OUT)/gzip: FUZZ_MORE_SOURCES := guest-loader/gzip.c -lz

$(FUZZ_OUT)/devices: FUZZ_MORE_SOURCES := $(foreach d,hv/dev hv/dev/pci hv/dev/virtio hv/share,$(wildcard $(d)/*.c))
$(FUZZ_OUT)/devices: $(foreach d,hv/dev hv/dev/pci hv/dev/virtio hv/share,$(wildcard $(d)/*.[ch]))
$(FUZZ_OUT)/assigned: $(foreach d,hv/dev hv/dev/pci,$(wildcard $(d)/*.[ch])) hv/host/pci_device.c hv/host/pci_device.h
$(FUZZ_OUT)/assigned: FUZZ_MORE_SOURCES := hv/host/pci_device.c $(foreach d,hv/dev hv/dev/pci hv/dev/virtio hv/share,$(wildcard $(d)/*.c))
$(FUZZ_OUT)/dmar $(FUZZ_OUT)/ivrs: hv/iommu/iommu_table.c hv/iommu/iommu_table.h
$(FUZZ_OUT)/dmar: hv/iommu/dmar.c hv/iommu/dmar.h hv/host/pci_scan.c hv/host/pci_scan.h
$(FUZZ_OUT)/dmar: FUZZ_MORE_SOURCES := hv/iommu/dmar.c hv/iommu/iommu_table.c hv/host/pci_scan.c
$(FUZZ_OUT)/ivrs: hv/iommu/ivrs.c hv/iommu/ivrs.h
$(FUZZ_OUT)/ivrs: FUZZ_MORE_SOURCES := hv/iommu/ivrs.c hv/iommu/iommu_table.c
$(FUZZ_OUT)/iommu: hv/iommu/vtd.c hv/iommu/amdvi.c hv/iommu/iommu_unit.h tests/unit/iommu_model.h
$(FUZZ_OUT)/iommu: FUZZ_MORE_SOURCES := hv/iommu/vtd.c hv/iommu/amdvi.c
FUZZ_CONSOLE_SOURCES := $(filter hv/console/%.c,$(PURE))
$(FUZZ_OUT)/console: $(FUZZ_CONSOLE_SOURCES) $(wildcard hv/console/*.h) tests/unit/console_promises.h tests/unit/terminal_model.h
$(FUZZ_OUT)/console: FUZZ_MORE_SOURCES := $(FUZZ_CONSOLE_SOURCES)

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

.PHONY: fuzz fuzz-figures fuzz-shadow fuzz-total $(FUZZ_RUNS)
