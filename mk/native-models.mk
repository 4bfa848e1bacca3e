# SPDX-License-Identifier: MIT
# Parts of the hypervisor that are not pure, compiled natively on models of what they drive: the start on a model of the
# firmware, drivers on models of their devices.

# The target's own start, compiled natively on a model of the firmware, beside plinth-check's steps: test_mutants.
MUTANT_EFI := efi_main efi_config efi_direct efi_disks efi_images efi_memory efi_store efi_volume
MUTANT_OBJECTS := $(MUTANT_EFI:%=$(BUILD)/native-efi/efi/%.o) $(BUILD)/native-efi/tools/check/check_steps.o \
	$(BUILD)/native-efi/tools/check/check_files.o $(BUILD)/native-efi/tools/check/check_machine.o

$(BUILD)/native-efi/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(NATIVE_CFLAGS) $(EFI_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/test_mutants: NATIVE_CFLAGS += $(EFI_CFLAGS) -D_GNU_SOURCE
$(BUILD)/unit/test_mutants: UNIT_LIBS := $(MUTANT_OBJECTS) $(BUILD)/libplinth.a
$(BUILD)/unit/test_mutants: $(MUTANT_OBJECTS)

-include $(MUTANT_OBJECTS:.o=.d)

# Descriptions of machines, read as plinth-check reads them.
MACHINE_OBJECTS := $(BUILD)/native-efi/tools/check/check_machine.o $(BUILD)/native-efi/tools/check/check_files.o
$(BUILD)/unit/test_machines: UNIT_LIBS := $(MACHINE_OBJECTS) $(BUILD)/libplinth.a
$(BUILD)/unit/test_machines: $(MACHINE_OBJECTS)

# How files are read, on a model of a volume.
$(BUILD)/unit/test_efi_volume: NATIVE_CFLAGS += $(EFI_CFLAGS) -D_GNU_SOURCE
$(BUILD)/unit/test_efi_volume: UNIT_LIBS := $(BUILD)/native-efi/efi/efi_volume.o $(BUILD)/native-efi/efi/efi_store.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_efi_volume: $(BUILD)/native-efi/efi/efi_volume.o $(BUILD)/native-efi/efi/efi_store.o

# Which display is ours, on a model of outputs.
$(BUILD)/unit/test_efi_screen: NATIVE_CFLAGS += $(EFI_CFLAGS)
$(BUILD)/unit/test_efi_screen: UNIT_LIBS := $(BUILD)/native-efi/efi/efi_screen.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_efi_screen: $(BUILD)/native-efi/efi/efi_screen.o

-include $(BUILD)/native-efi/efi/efi_screen.d

#: make mutants-boot  mutants of the example configs in QEMU (COUNT=200): plinth-check and the target agree on each
COUNT ?= 200
mutants-boot: all guests fault-image $(BUILD)/unit/test_mutants
	tests/boot/mutants.py --count $(COUNT)

.PHONY: mutants-boot

# Drivers on models of their devices: tests/model has headers that stand in for those with instructions.
MODEL_OBJECTS := $(patsubst %,$(BUILD)/native-model/%.o,hv/console/console_uart hv/console/console_keyboard \
	$(foreach f,speculation cpu_limits cpu_kind host_cpu host_irq host_apic tsc tsc_reference,hv/host/$(f)) efi/efi_cpus)

$(BUILD)/native-model/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) -Itests/model $(NATIVE_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/test_console_uart: NATIVE_CFLAGS := -Itests/model $(NATIVE_CFLAGS)
$(BUILD)/unit/test_console_uart: UNIT_LIBS := $(BUILD)/native-model/hv/console/console_uart.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_console_uart: $(BUILD)/native-model/hv/console/console_uart.o

$(BUILD)/unit/test_console_keyboard: NATIVE_CFLAGS := -Itests/model $(NATIVE_CFLAGS)
$(BUILD)/unit/test_console_keyboard: UNIT_LIBS := $(BUILD)/native-model/hv/console/console_keyboard.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_console_keyboard: $(BUILD)/native-model/hv/console/console_keyboard.o

$(BUILD)/unit/test_host_irq: NATIVE_CFLAGS := -Itests/model $(NATIVE_CFLAGS)
$(BUILD)/unit/test_host_irq: UNIT_LIBS := $(BUILD)/native-model/hv/host/host_irq.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_host_irq: $(BUILD)/native-model/hv/host/host_irq.o

$(BUILD)/unit/test_tsc: NATIVE_CFLAGS := -Itests/model $(NATIVE_CFLAGS)
$(BUILD)/unit/test_tsc: UNIT_LIBS := $(BUILD)/native-model/hv/host/tsc.o $(BUILD)/native-model/hv/host/tsc_reference.o \
	$(BUILD)/libplinth.a
$(BUILD)/unit/test_tsc: $(BUILD)/native-model/hv/host/tsc.o $(BUILD)/native-model/hv/host/tsc_reference.o
# tests/unit/support.c has the clock of all other tests.
$(BUILD)/native-model/hv/host/tsc.o: NATIVE_CFLAGS := $(NATIVE_CFLAGS) -Dclock_now=model_clock_now

$(BUILD)/unit/test_host_apic: NATIVE_CFLAGS := -Itests/model $(NATIVE_CFLAGS)
$(BUILD)/unit/test_host_apic: UNIT_LIBS := $(BUILD)/native-model/hv/host/host_apic.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_host_apic: $(BUILD)/native-model/hv/host/host_apic.o

$(BUILD)/unit/test_mtrr: NATIVE_CFLAGS := -Itests/model $(NATIVE_CFLAGS)
$(BUILD)/unit/test_mtrr: UNIT_LIBS := $(BUILD)/native-model/hv/host/host_cpu.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_mtrr: $(BUILD)/native-model/hv/host/host_cpu.o

$(BUILD)/unit/test_cpu_speculation: NATIVE_CFLAGS := -Itests/model $(NATIVE_CFLAGS)
$(BUILD)/unit/test_cpu_speculation: UNIT_LIBS := $(BUILD)/native-model/hv/host/speculation.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_cpu_speculation: $(BUILD)/native-model/hv/host/speculation.o

$(BUILD)/unit/test_efi_cpus: NATIVE_CFLAGS := -Itests/model $(NATIVE_CFLAGS) $(EFI_CFLAGS)
$(BUILD)/unit/test_efi_cpus: UNIT_LIBS := $(BUILD)/native-model/efi/efi_cpus.o $(BUILD)/native-model/hv/host/cpu_limits.o \
	$(BUILD)/native-model/hv/host/cpu_kind.o $(BUILD)/libplinth.a
$(BUILD)/unit/test_efi_cpus: $(BUILD)/native-model/efi/efi_cpus.o $(BUILD)/native-model/hv/host/cpu_limits.o \
	$(BUILD)/native-model/hv/host/cpu_kind.o
$(BUILD)/native-model/efi/efi_cpus.o: NATIVE_CFLAGS := $(NATIVE_CFLAGS) $(EFI_CFLAGS)

-include $(MODEL_OBJECTS:.o=.d)
