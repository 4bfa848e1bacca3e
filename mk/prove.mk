# SPDX-License-Identifier: MIT
# Proofs.
#: make prove         absence of run-time errors by Frama-C's value analysis; each alarm left is listed (docs/proof.md)
# Debian's package frama-c-base. Each proof is tests/prove/prove_NAME.c with the code that it drives; the alarms that
# Frama-C gives must be those of tests/prove/alarms-NAME, which docs/proof.md explains: one more or one less is a failure.

PROVE_OUT := $(BUILD)/prove
PROVE_NAMES := guest_walk shadow page_table audit memory_map config
PROVE_HEADERS := $(wildcard tests/prove/*.h hv/mm/*.h hv/plan/*.h hv/base/*.h config/*.h)

PROVE_guest_walk := hv/mm/guest_walk.c hv/mm/guest_memory.c
PROVE_shadow := $(addprefix hv/mm/,shadow.c guest_memory.c page_table_formats.c)
PROVE_page_table := $(addprefix hv/mm/,page_table.c page_table_edit.c page_table_count.c page_table_formats.c \
	page_table_lookup.c page_table_shape.c page_table_touch.c table_pool.c)
PROVE_audit := hv/plan/audit.c
PROVE_memory_map := hv/plan/memory_map.c
PROVE_config := config/config_text.c config/config_value.c hv/base/text.c

# How finely the analysis tells states apart; the tables lie anywhere below 2^53.
PROVE_OPTIONS_guest_walk := -eva-precision 1 -eva-slevel 30 -eva-split-return full
PROVE_OPTIONS_shadow := -eva-precision 0 -eva-slevel 8 -no-warn-invalid-bool -absolute-valid-range 0-0x1fffffffffffff
PROVE_OPTIONS_page_table := -eva-precision 1 -eva-slevel 8 -eva-split-return full -absolute-valid-range 0-0x1fffffffffffff
PROVE_OPTIONS_audit := -eva-precision 1 -eva-slevel 8 -eva-split-return full -absolute-valid-range 0-0x1fffffffffffff
PROVE_OPTIONS_memory_map := -eva-precision 2
PROVE_OPTIONS_config := -eva-precision 1 -eva-slevel 10 -eva-split-return full

prove: $(PROVE_NAMES:%=prove-%)

$(PROVE_NAMES:%=prove-%): prove-%: tests/prove/prove_%.c tests/prove/prove.c $(PROVE_HEADERS)
	@tests/prove/run $(PROVE_OUT)/$* tests/prove/alarms-$* "$(PROVE_OPTIONS_$*)" $^ $(PROVE_$*)

.PHONY: prove $(PROVE_NAMES:%=prove-%)
