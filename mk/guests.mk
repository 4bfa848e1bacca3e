# SPDX-License-Identifier: MIT
# Guests of our own, in $(BUILD)/guests: `make guests` builds them all, `make guests-oracle` runs those that plain QEMU
# can boot (its firmware does multiboot 1 and PVH), because a PC must behave as they say.
#
# A guest is tests/guests/NAME.c. The lists below say how it is compiled, linked and entered; the kit is
# tests/guests/lib. docs/write-a-guest.md shows how to add one.

GUEST_LIB := tests/guests/lib
GUEST_OUT := $(BUILD)/guests

# Entered in long mode by ELF64 and in protected mode by the PVH note.
GUESTS_64 := hello direct ps2 screen bench-exit bench-shadow bench-ticks bench-restart entry-elf64 entry-pvh entry-vmlinux ports apic-timer pic-timer exceptions reserved mmio fpu cpuid msr dump-machine walk-oracle state smp nmi-shared smp-x2apic
# Entered in protected mode by multiboot 1; NAME-32.elf comes from NAME.c.
GUESTS_32 := ports-32 apic-timer-32 pic-timer-32 exceptions-32 reserved-32 mmio-32 fpu-32 cpuid-32 msr-32 walk-oracle-32 \
	state-32 smp-32 nmi-shared-32 task-32 paging-32 hostile-ac-32
# What a PC does in its corners: pc-NAME.c, for both.
GUESTS_PC := $(patsubst tests/guests/%.c,%,$(wildcard tests/guests/pc-*.c))
GUESTS_64 += $(GUESTS_PC)
GUESTS_32 += $(GUESTS_PC:=-32)

GUEST_FLAGS := -std=c17 -O2 -g -ffreestanding -fno-pic -fno-stack-protector -mno-red-zone -mgeneral-regs-only -I. \
	-fno-asynchronous-unwind-tables -fno-omit-frame-pointer $(WARNINGS)
GUEST_FLAGS_64 := --target=x86_64-unknown-none-elf -mcmodel=small $(GUEST_FLAGS)
GUEST_FLAGS_32 := --target=i386-unknown-none-elf -march=i686 $(GUEST_FLAGS)
GUEST_FLAGS_16 := --target=i386-unknown-none-elf -march=i686 -m16 $(filter-out -g,$(GUEST_FLAGS))
GUEST_LINK := ld.lld -static --no-dynamic-linker --build-id=none -z noexecstack -z max-page-size=4096

GUEST_LIB_C := console traps devices entry
GUEST_LIB_64 := $(addprefix $(GUEST_OUT)/64/lib/,start64.S.o traps_entry.S.o $(GUEST_LIB_C:=.o))
GUEST_LIB_32 := $(addprefix $(GUEST_OUT)/32/lib/,traps_entry.S.o $(GUEST_LIB_C:=.o))
GUEST_LIB_16 := $(addprefix $(GUEST_OUT)/16/lib/,start16.S.o console.o run16.o devices.o)

# Entry states: files that differ in header, form and address.
GUEST_ENTRY_FILES := entry-elf32.elf entry-multiboot.elf entry-multiboot2.elf entry-flat16.bin entry-flat32.bin \
	entry-flat64.bin entry-linux32.bzimage entry-linux64.bzimage realmode.bin realmode.boot
# Kernels that are compressed with gzip, one of each kind.
GUEST_PACKED_FILES := hello.elf.gz entry-elf32.elf.gz entry-multiboot2.elf.gz entry-flat32.bin.gz entry-linux32.bzimage.gz
GUEST_FILES := $(addprefix $(GUEST_OUT)/,$(GUESTS_64:=.elf) $(GUESTS_32:=.elf) $(GUEST_ENTRY_FILES) $(GUEST_PACKED_FILES) \
	module.txt)

guests: $(GUEST_FILES)

$(GUEST_OUT)/64/%.o: tests/guests/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_64) -MMD -MP -c -o $@ $<
$(GUEST_OUT)/32/%.o: tests/guests/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_32) -MMD -MP -c -o $@ $<
$(GUEST_OUT)/16/%.o: tests/guests/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_16) -MMD -MP -c -o $@ $<
$(GUEST_OUT)/64/%.S.o: tests/guests/%.S
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_64) -MMD -MP -c -o $@ $<
$(GUEST_OUT)/32/%.S.o: tests/guests/%.S
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_32) -MMD -MP -c -o $@ $<
$(GUEST_OUT)/16/%.S.o: tests/guests/%.S
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_32) -MMD -MP -c -o $@ $<

# 32-bit start code, once for each kind of header.
$(GUEST_OUT)/32/start-%.o: $(GUEST_LIB)/start32.S
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_32) $(START_FLAGS) -c -o $@ $<
$(GUEST_OUT)/32/start-plain.o: START_FLAGS := -DMULTIBOOT=0 -DPVH=0
$(GUEST_OUT)/32/start-multiboot.o: START_FLAGS := -DMULTIBOOT=1 -DPVH=0
$(GUEST_OUT)/32/start-multiboot2.o: START_FLAGS := -DMULTIBOOT=2 -DPVH=0
$(GUEST_OUT)/32/start-pvh.o: START_FLAGS := -DMULTIBOOT=0 -DPVH=1

$(GUESTS_64:%=$(GUEST_OUT)/%.elf): $(GUEST_OUT)/%.elf: $(GUEST_OUT)/64/%.o $(GUEST_LIB_64) $(GUEST_LIB)/elf.ld
	$(GUEST_LINK) -T $(GUEST_LIB)/elf.ld -o $@ $(filter %.o,$^)
$(GUEST_OUT)/hello.elf: $(GUEST_OUT)/64/lib/pong.o
$(GUESTS_32:%=$(GUEST_OUT)/%.elf): $(GUEST_OUT)/%-32.elf: $(GUEST_OUT)/32/%.o $(GUEST_OUT)/32/start-multiboot.o \
		$(GUEST_LIB_32) $(GUEST_LIB)/elf.ld
	$(GUEST_LINK) -T $(GUEST_LIB)/elf.ld -o $@ $(filter %.o,$^)

$(GUEST_OUT)/entry-elf32.elf: $(GUEST_OUT)/32/entry-elf32.o $(GUEST_OUT)/32/start-plain.o $(GUEST_LIB_32) $(GUEST_LIB)/elf.ld
	$(GUEST_LINK) -T $(GUEST_LIB)/elf.ld -o $@ $(filter %.o,$^)
$(GUEST_OUT)/entry-multiboot.elf: $(GUEST_OUT)/32/entry-multiboot.o $(GUEST_OUT)/32/start-multiboot.o $(GUEST_LIB_32) $(GUEST_LIB)/elf.ld
	$(GUEST_LINK) -T $(GUEST_LIB)/elf.ld -o $@ $(filter %.o,$^)
$(GUEST_OUT)/entry-multiboot2.elf: $(GUEST_OUT)/32/entry-multiboot2.o $(GUEST_OUT)/32/start-multiboot2.o $(GUEST_LIB_32) $(GUEST_LIB)/elf.ld
	$(GUEST_LINK) -T $(GUEST_LIB)/elf.ld -o $@ $(filter %.o,$^)

GUEST_LINK_FLAT = $(GUEST_LINK) --oformat=binary -T $(GUEST_LIB)/flat.ld -o $@ $(filter %.o,$^)
$(GUEST_OUT)/entry-flat16.bin: $(GUEST_OUT)/16/entry-flat16.o $(GUEST_LIB_16) $(GUEST_LIB)/flat.ld
	$(GUEST_LINK_FLAT) -Ttext=0x7c00
$(GUEST_OUT)/entry-flat32.bin: $(GUEST_OUT)/32/entry-flat32.o $(GUEST_OUT)/32/start-plain.o $(GUEST_LIB_32) $(GUEST_LIB)/flat.ld
	$(GUEST_LINK_FLAT) -Ttext=0x8000
$(GUEST_OUT)/entry-flat64.bin: $(GUEST_OUT)/64/entry-flat64.o $(GUEST_LIB_64) $(GUEST_LIB)/flat.ld
	$(GUEST_LINK_FLAT) -Ttext=0x200000
$(GUEST_OUT)/32/linux32.bin: $(GUEST_OUT)/32/entry-linux32.o $(GUEST_OUT)/32/start-plain.o $(GUEST_LIB_32) $(GUEST_LIB)/flat.ld
	$(GUEST_LINK_FLAT) -Ttext=0x100000
$(GUEST_OUT)/64/linux64.bin: $(GUEST_OUT)/64/lib/linux64_head.S.o $(GUEST_OUT)/64/entry-linux64.o $(GUEST_LIB_64) $(GUEST_LIB)/flat.ld
	$(GUEST_LINK_FLAT) -Ttext=0x100000

$(GUEST_OUT)/entry-linux32.bzimage: $(GUEST_OUT)/32/linux32.bin
$(GUEST_OUT)/entry-linux64.bzimage: $(GUEST_OUT)/64/linux64.bin
$(GUEST_OUT)/entry-linux%.bzimage: $(GUEST_LIB)/bzimage.S
	$(CC) $(GUEST_FLAGS_32) -DKERNEL='"$(filter %.bin,$^)"' -DENTRY_64=$(if $(filter 64,$*),1,0) -c -o $@.o $<
	llvm-objcopy -O binary -j .text $@.o $@

$(GUEST_OUT)/realmode.bin: $(GUEST_OUT)/16/realmode.o $(GUEST_LIB_16) $(GUEST_LIB)/flat.ld
	$(GUEST_LINK_FLAT) -Ttext=0x7c00

# The same as a disk that a PC's BIOS starts, for the oracle: a boot sector that reads the guest to 0x7c00 + 512.
$(GUEST_OUT)/realmode.boot: $(GUEST_OUT)/16/realmode.o $(GUEST_OUT)/16/lib/boot_sector.S.o $(GUEST_LIB_16) $(GUEST_LIB)/flat.ld
	$(GUEST_LINK_FLAT) -Ttext=0x7c00
	truncate -s 1M $@

$(addprefix $(GUEST_OUT)/,$(GUEST_PACKED_FILES)): %.gz: %
	gzip -9nc $< > $@

# What the entry guests expect as their module, and its length.
$(GUEST_OUT)/module.txt:
	@mkdir -p $(@D)
	printf 'plinth module\n' > $@

-include $(wildcard $(GUEST_OUT)/*/*.d $(GUEST_OUT)/*/lib/*.d)

.PHONY: guests

guests-oracle: guests
	tests/guests/guests.py oracle

.PHONY: guests-oracle

# The guest walk-oracle has the hypervisor's guest walk in it, to compare it with the MMU.
WALK_ORACLE_CODE := hv/mm/guest_walk.o hv/mm/guest_memory.o
$(BUILD)/guests/walk-oracle.elf: $(WALK_ORACLE_CODE:%=$(BUILD)/guests/64/%)
$(BUILD)/guests/walk-oracle-32.elf: $(WALK_ORACLE_CODE:%=$(BUILD)/guests/32/%)

$(BUILD)/guests/64/hv/%.o: hv/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_64) -MMD -MP -c -o $@ $<
# 32-bit code: pointers are smaller than addresses, and the guest does 64-bit atomic accesses itself.
$(BUILD)/guests/32/hv/%.o: hv/%.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_FLAGS_32) -Wno-atomic-alignment -MMD -MP -c -o $@ $<
