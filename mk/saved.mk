# SPDX-License-Identifier: MIT
# For boot tests that go on from a saved machine (tests/boot/saved.py): what the firmware starts where one is saved, and what
# gives Bochs a command to save with.
SAVED := $(BUILD)/saved

$(SAVED)/launcher.efi: tests/boot/launcher.c
	@mkdir -p $(@D)
	$(Q)printf '  CC  %s\n' $@
	$(Q)$(CC) $(IMAGE_CFLAGS) $(EFI_CFLAGS) -c -o $(SAVED)/launcher.o $<
	$(Q)lld-link /subsystem:efi_application /entry:efi_main /nodefaultlib /Brepro /out:$@ $(SAVED)/launcher.o

$(SAVED)/bochs_save.so: tests/boot/bochs_save.c
	@mkdir -p $(@D)
	$(Q)printf '  CC  %s\n' $@
	$(Q)$(CC) -std=c17 -O2 -fPIC -shared $(WARNINGS) -o $@ $< -ldl

saved-tools: $(SAVED)/launcher.efi $(SAVED)/bochs_save.so
guests: saved-tools

.PHONY: saved-tools
