# SPDX-License-Identifier: MIT
# That BOOTX64.EFI depends on the sources and the version alone.
#: make check-reproducible   the same image from a copy of the tree in another folder
# Only C files and the Makefile are copied: an export of the working tree, without git, built with the same version text.
REPRODUCIBLE := $(BUILD)/another-folder

check-reproducible: $(BUILD)/BOOTX64.EFI
	@rm -rf $(REPRODUCIBLE)
	@mkdir -p $(REPRODUCIBLE)/tree
	@cp -r Makefile VERSION mk tools config efi guest-loader hv tests $(REPRODUCIBLE)/tree
	@$(MAKE) -s -C $(REPRODUCIBLE)/tree BUILD=../build VERSION='$(VERSION)' ../build/BOOTX64.EFI >/dev/null
	@cmp $(BUILD)/BOOTX64.EFI $(REPRODUCIBLE)/build/BOOTX64.EFI
	@printf 'two builds in two folders are identical: %s\n' "$$(sha256sum < $(BUILD)/BOOTX64.EFI)"

.PHONY: check-reproducible
