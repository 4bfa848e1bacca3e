# SPDX-License-Identifier: MIT
# The real build, out of tree under $(BUILD). build.sh installs what is missing and calls this.
#
# `make help` prints every line that starts with `#:`, here and in mk/*.mk.
#: make               build/BOOTX64.EFI and the host tools
#: make image         the demo image build/plinth.img
#: make unit          native unit tests of the pure code
#: make clean         remove build/

# A folder, relative to this one or absolute. The tools are told of it by the environment.
BUILD ?= build
export BUILD
ifneq ($(words $(BUILD)),1)
$(error BUILD is "$(BUILD)": make takes a blank for the end of a name, so this folder's path must have none. The path of the \
	source tree may: a relative BUILD, like the default, does not contain it)
endif
Q ?= @
CC := clang
EFI_TARGET := --target=x86_64-unknown-windows

WARNINGS := -Wall -Wextra -Werror -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wcast-qual -Wswitch-enum -Wvla -Wundef -Wimplicit-fallthrough
VERSION := $(shell tools/version)

OPTIMIZE := -Oz -fno-jump-tables
IMAGE_CFLAGS = $(EFI_TARGET) -std=c17 $(OPTIMIZE) -g -gdwarf-4 -fdebug-compilation-dir=. -fdebug-prefix-map=$(BUILD)/=build/ \
	-ffreestanding -fno-builtin-printf -mno-red-zone \
	-ffunction-sections -fdata-sections -mgeneral-regs-only -mno-stack-arg-probe -fno-stack-protector -fno-strict-aliasing \
	-fasynchronous-unwind-tables \
	-I. $(WARNINGS)
NATIVE_CFLAGS := -std=c17 -O2 -g -fno-strict-aliasing -I. -DPLINTH_DEBUG_CHECKS $(WARNINGS)
EFI_CFLAGS := -isystem /usr/include/efi -isystem /usr/include/efi/x86_64

# Pure code, by tools/pure.list: compiled for the image and, unchanged, natively.
PURE := $(shell sed '/^#/d' tools/pure.list)
PURE_SOURCES := $(sort $(filter %.c,$(PURE)) $(foreach d,$(filter-out %.c,$(PURE)),$(wildcard $(d)/*.c)))

IMAGE_SOURCES := $(sort $(wildcard efi/*.c hv/*.c hv/*/*.c hv/dev/*/*.c config/*.c guest-loader/*.c))
IMAGE_ASM := $(wildcard efi/*.S hv/*/*.S)
IMAGE_OBJECTS := $(IMAGE_SOURCES:%.c=$(BUILD)/image/%.o) $(IMAGE_ASM:%.S=$(BUILD)/image/%.S.o)
NATIVE_OBJECTS := $(PURE_SOURCES:%.c=$(BUILD)/native/%.o)

UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
UNIT_PROGRAMS := $(UNIT_SOURCES:tests/unit/%.c=$(BUILD)/unit/%)

all: $(BUILD)/BOOTX64.EFI $(BUILD)/plinth-check

# plinth-debug.efi has DWARF and symbols, for gdb and llvm-symbolizer; what is shipped is the same file without them, so that
# every address is the same in both (a link of its own moved what lies behind the constants by a page, at some sizes). Neither names the folder that was built in: `make check-reproducible`
LINK_IMAGE = lld-link /subsystem:efi_application /entry:efi_main /nodefaultlib /Brepro /opt:ref /opt:icf
$(BUILD)/BOOTX64.EFI: $(IMAGE_OBJECTS)
	$(Q)$(LINK_IMAGE) /out:$(BUILD)/plinth-debug.efi /debug:dwarf /map:$(BUILD)/plinth.map \
		/lldmap:$(BUILD)/plinth-sections.map $^
	$(Q)llvm-objcopy --strip-all $(BUILD)/plinth-debug.efi $@
	@printf '%s: %s bytes\n' $@ $$(stat -c %s $@)

# What runs at every exit is made fast; the rest, which is most of the image, small. Measured by `make bench-exit`: what is
# in SMALLER_SOURCES costs an exit no more at -Os, or a hundredth of the 3,000 instructions of an emulated one; three
# files of the emulation give those back at -O2. Jump tables make code larger, and no exit cheaper.
HOT_SOURCES := hv/host/cpu_watch.c hv/core/event.c hv/dev/lapic.c hv/dev/lapic_timer.c hv/run/cpu_loop.c hv/base/due_set.c $(foreach v,svm vmx,hv/$(v)/run.c hv/$(v)/events.c hv/$(v)/quick.c hv/$(v)/decode.c) \
	$(foreach v,svm vmx,hv/$(v)/shadow.c) hv/mm/shadow.c \
	hv/exit/dispatch.c hv/policy/msr_policy.c hv/dev/bus.c hv/dev/pit.c \
	hv/emulate/emulate_fetch.c hv/emulate/emulate_memory.c hv/mm/guest_memory.c hv/mm/guest_walk.c \
	hv/core/guest_mmio.c hv/core/guest_unknown.c hv/core/guest_io.c hv/core/guest_devices.c hv/dev/pci/msi.c hv/core/guest_irq.c $(foreach f,queue net block disk_image device pci,hv/dev/virtio/$(f).c) hv/share/net_transfer.c hv/share/net_switch.c
SMALLER_SOURCES := \
	hv/dev/uart.c hv/vmx/apic.c hv/vmx/timer.c hv/emulate/emulate_port.c hv/emulate/emulate_string.c \
	hv/dev/pci/function.c
$(HOT_SOURCES:%.c=$(BUILD)/image/%.o): OPTIMIZE := -O2
$(foreach v,svm vmx,$(BUILD)/image/hv/$(v)/quick.o): OPTIMIZE := -O2 -fno-jump-tables
$(SMALLER_SOURCES:%.c=$(BUILD)/image/%.o): OPTIMIZE := -Os -fno-jump-tables

# How everything is compiled, as a file that is written when that changes: objects depend on it.
FLAGS = $(CC) | $(IMAGE_CFLAGS) | $(NATIVE_CFLAGS) | $(HOT_SOURCES) | $(SMALLER_SOURCES)
ifneq ($(file <$(BUILD)/flags),$(FLAGS))
$(shell mkdir -p $(BUILD))
$(file >$(BUILD)/flags,$(FLAGS))
endif

$(BUILD)/image/efi/%.o: efi/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)printf '  CC  %s\n' $@
	$(Q)$(CC) $(IMAGE_CFLAGS) $(EFI_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/image/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)printf '  CC  %s\n' $@
	$(Q)$(CC) $(IMAGE_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/image/%.S.o: %.S $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)printf '  CC  %s\n' $@
	$(Q)$(CC) $(EFI_TARGET) -I. -MMD -MP -c -o $@ $<

$(BUILD)/native/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)printf '  CC  %s\n' $@
	$(Q)$(CC) $(NATIVE_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libplinth.a: $(NATIVE_OBJECTS)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

# One program per file of tests/unit, with cmocka; tests/unit/support.c gives log_line and check_failed. Compiled apart
# from the linking: a change of the library links them all again, which lld does in no time.
$(BUILD)/unit/%: $(BUILD)/native/tests/unit/%.o $(BUILD)/native/tests/unit/support.o $(BUILD)/libplinth.a
	@mkdir -p $(@D)
	$(Q)printf '  LD  %s\n' $@
	$(Q)$(CC) -fuse-ld=lld -o $@ $< $(BUILD)/native/tests/unit/support.o $(BUILD)/libplinth.a -lcmocka $(UNIT_LIBS)

.SECONDARY: $(BUILD)/native/tests/unit/support.o $(UNIT_PROGRAMS:$(BUILD)/unit/%=$(BUILD)/native/tests/unit/%.o)

$(BUILD)/unit/test_decode%: UNIT_LIBS := -lcapstone
$(BUILD)/unit/test_gzip: UNIT_LIBS := -lz
$(BUILD)/unit/test_turn_lock: UNIT_LIBS := -lpthread
$(BUILD)/unit/test_virtio_device: UNIT_LIBS := -lpthread
$(BUILD)/unit/test_due_set: UNIT_LIBS := -lpthread

unit-programs: $(UNIT_PROGRAMS)

unit: $(UNIT_PROGRAMS)
	tools/run-unit $(UNIT_PROGRAMS)

$(BUILD)/plinth-check: tools/plinth-check.c $(wildcard tools/check/*.c) tests/unit/support.c $(BUILD)/libplinth.a
	@mkdir -p $(@D)
	$(Q)printf '  CC  %s\n' $@
	$(Q)$(CC) $(NATIVE_CFLAGS) -o $@ $(filter %.c %.a,$^)

$(BUILD)/plinth-check: $(wildcard tools/*.h tools/check/*.h config/*.h guest-loader/*.h hv/base/*.h hv/mm/*.h hv/plan/*.h hv/boot_info.h)

clean:
	rm -rf $(BUILD)

help:
	@sed -n 's/^#:/ /p' $(MAKEFILE_LIST)

-include $(IMAGE_OBJECTS:.o=.d) $(NATIVE_OBJECTS:.o=.d) $(UNIT_PROGRAMS:$(BUILD)/unit/%=$(BUILD)/native/tests/unit/%.d)
-include $(wildcard mk/*.mk)

.PHONY: all unit unit-programs clean help
.DELETE_ON_ERROR:
