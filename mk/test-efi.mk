# SPDX-License-Identifier: MIT
# For boot tests: hypervisors with a few files compiled behind tests/boot/efi_NAME.h, which plays a CPU, a firmware or a
# mistake that no emulator has. build/efi-NAME/BOOTX64.EFI.
TEST_EFI_bare := hv/vmx/features
TEST_EFI_locked := hv/vmx/features hv/svm/features
TEST_EFI_refused := hv/vmx/setup hv/svm/run
TEST_EFI_screen := efi/efi_screen

define TEST_EFI_RULES
$(BUILD)/efi-$(1)/%.o: %.c tests/boot/efi_$(1).h
	@mkdir -p $$(@D)
	$$(Q)printf '  CC  %s\n' $$@
	$$(Q)$$(CC) $$(IMAGE_CFLAGS) $$(EFI_CFLAGS) -include tests/boot/efi_$(1).h -MMD -MP -c -o $$@ $$<

$(BUILD)/efi-$(1)/BOOTX64.EFI: $$(TEST_EFI_$(1):%=$(BUILD)/efi-$(1)/%.o) \
		$$(filter-out $$(TEST_EFI_$(1):%=$(BUILD)/image/%.o),$$(IMAGE_OBJECTS)) $(BUILD)/image/gen/console_font.o
	$$(Q)lld-link /subsystem:efi_application /entry:efi_main /nodefaultlib /out:$$@ /opt:ref /opt:icf $$^

guests: $(BUILD)/efi-$(1)/BOOTX64.EFI

-include $$(TEST_EFI_$(1):%=$(BUILD)/efi-$(1)/%.d)
endef

$(foreach name,bare locked refused screen,$(eval $(call TEST_EFI_RULES,$(name))))
