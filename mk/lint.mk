# SPDX-License-Identifier: MIT
# Checks of the source text.
#: make lint          layers, fences, function length, formatting, static analysis: a line each
#: make analyze       clang's static analyzer alone; ANALYZE_NODES=225000 looks at more paths and takes six times as long

lint:
	tools/check-all

# One stamp per source, with the image's flags; a finding is an error.
# States that are looked at in a function.
ANALYZE_NODES ?= 20000
ANALYZE_FLAGS := --analyze -Xclang -analyzer-werror -Xclang -analyzer-output=text \
	-Xclang -analyzer-config -Xclang max-nodes=$(ANALYZE_NODES)
ANALYZE_STAMPS := $(IMAGE_SOURCES:%.c=$(BUILD)/analyze/%.ok)

analyze: $(ANALYZE_STAMPS)

$(BUILD)/analyze/efi/%.ok: efi/%.c
	@mkdir -p $(@D)
	$(CC) $(IMAGE_CFLAGS) $(EFI_CFLAGS) $(ANALYZE_FLAGS) $<
	@$(CC) $(IMAGE_CFLAGS) $(EFI_CFLAGS) -MM -MP -MT $@ -MF $@.d $< && touch $@

$(BUILD)/analyze/%.ok: %.c
	@mkdir -p $(@D)
	$(CC) $(IMAGE_CFLAGS) $(ANALYZE_FLAGS) $<
	@$(CC) $(IMAGE_CFLAGS) -MM -MP -MT $@ -MF $@.d $< && touch $@

# The version has no meaning here, but must be there.
$(BUILD)/analyze/hv/host/version.ok: IMAGE_CFLAGS += -DPLINTH_VERSION='"analyzed"'

-include $(ANALYZE_STAMPS:%=%.d)

.PHONY: lint analyze
