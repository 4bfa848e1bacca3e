# SPDX-License-Identifier: MIT
# The test build with faults: the image's own objects, but for the few files that include hv/host/fault.h, which are compiled
# with tests/faults/hv/host/fault.h in its place. tests/boot/faults.py is the table.
#: make faults        every named fault in QEMU and Bochs: each gives its code on two channels, none is silent

FAULTS_OUT := $(BUILD)/faults
FAULTS_ENTRY := hv/vmx/run hv/svm/run hv/vmx/quick hv/svm/quick hv/vmx/setup hv/vmx/real_mode
# Behind a header that plays a second CPU which is not as the first.
FAULTS_OTHER_CPU := hv/host/smp hv/host/tsc_sync hv/host/host_cpuid hv/vmx/features hv/svm/features
FAULTS_HOOKED := efi/efi_main efi/efi_handover hv/hv_main hv/run/cpu_loop hv/guest/create $(FAULTS_ENTRY) $(FAULTS_OTHER_CPU)
$(FAULTS_ENTRY:%=$(FAULTS_OUT)/%.o): FAULTS_CFLAGS := -include tests/faults/fault_entry.h
$(FAULTS_ENTRY:%=$(FAULTS_OUT)/%.o): tests/faults/fault_entry.h
$(FAULTS_OTHER_CPU:%=$(FAULTS_OUT)/%.o): FAULTS_CFLAGS := -include tests/faults/other_cpu.h
$(FAULTS_OTHER_CPU:%=$(FAULTS_OUT)/%.o): tests/faults/other_cpu.h
$(FAULTS_OUT)/efi/efi_main.o: FAULTS_CFLAGS := -Defi_main=hypervisor_efi_main
FAULTS_OBJECTS := $(addprefix $(FAULTS_OUT)/,$(FAULTS_HOOKED:=.o) tests/faults/attack_device.o tests/faults/faults.o tests/faults/faults_efi.o \
	tests/faults/faults_series.o tests/faults/measure.o tests/faults/shadow_audit.o)
$(FAULTS_OBJECTS): mk/faults.mk # which says what is defined for some

$(FAULTS_OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)printf '  CC  %s\n' $@
	$(Q)$(CC) -Itests/faults $(IMAGE_CFLAGS) $(EFI_CFLAGS) $(FAULTS_CFLAGS) -MMD -MP -c -o $@ $<

# The rest of the objects is the image's own: a recipe knows them all, whichever file of mk/ adds them.
$(FAULTS_OUT)/BOOTX64.EFI: $(FAULTS_OBJECTS) $(BUILD)/BOOTX64.EFI
	$(Q)lld-link /subsystem:efi_application /entry:efi_main /nodefaultlib /out:$@ /opt:ref $(FAULTS_OBJECTS) \
		$(filter-out $(FAULTS_HOOKED:%=$(BUILD)/image/%.o),$(IMAGE_OBJECTS)) $(BUILD)/image/gen/console_font.o

fault-image: $(FAULTS_OUT)/BOOTX64.EFI

faults: fault-image guests
	tests/boot/sweep.py

-include $(FAULTS_OBJECTS:.o=.d)

.PHONY: faults fault-image
