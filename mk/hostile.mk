# SPDX-License-Identifier: MIT
# Hostile guests beside a well-behaved one: docs/isolation.md.
#: make hostile       every attack on the hypervisor, in QEMU and Bochs, the table of attacks and outcomes, the longest exit

HOSTILE_GUESTS := neighbour spin hostile-sweep hostile-storm hostile-lock hostile-end hostile-random hostile-console life \
	shared ticks virtio hostile-devices edu hostile-edu devices pulled
HOSTILE_FILES := $(HOSTILE_GUESTS:%=$(GUEST_OUT)/%.elf)
HOSTILE_LIB := $(GUEST_OUT)/64/lib/hostile.o

$(HOSTILE_FILES): $(GUEST_OUT)/%.elf: $(GUEST_OUT)/64/%.o $(HOSTILE_LIB) $(GUEST_LIB_64) $(GUEST_LIB)/elf.ld
	$(GUEST_LINK) -T $(GUEST_LIB)/elf.ld -o $@ $(filter %.o,$^)

guests: $(HOSTILE_FILES)

hostile: fault-image $(BUILD)/BOOTX64.EFI $(BUILD)/plinth-check $(HOSTILE_FILES) $(GUEST_OUT)/hostile-ac-32.elf
	tests/guests/hostile.py
	tests/guests/hostile.py --measure --mode shared

-include $(HOSTILE_LIB:.o=.d)

.PHONY: hostile
