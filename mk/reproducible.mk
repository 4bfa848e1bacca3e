# SPDX-License-Identifier: MIT
# That the image and the archive depend on the sources and the version alone, not on the folder, and that a build writes
# nothing into its source tree.
#: make check-reproducible   the same image and archive from a copy of the tree in another folder, whose path has a blank
# Only what is needed is copied: an export of the working tree, without git, built with the same version text.
REPRODUCIBLE := $(BUILD)/another folder

check-reproducible: $(BUILD)/BOOTX64.EFI dist
	@rm -rf '$(REPRODUCIBLE)'
	@mkdir -p '$(REPRODUCIBLE)/tree'
	@cp -r Makefile VERSION LICENSE CHANGELOG.md mk tools config efi guest-loader hv tests docs '$(REPRODUCIBLE)/tree'
	@find '$(REPRODUCIBLE)/tree' -name __pycache__ -exec rm -rf {} +
	@cd '$(REPRODUCIBLE)' && find tree | sort >before
	@PYTHONDONTWRITEBYTECODE=1 $(MAKE) -s -C '$(REPRODUCIBLE)/tree' BUILD=../build VERSION='$(VERSION)' dist >/dev/null
	@cd '$(REPRODUCIBLE)' && find tree | sort | diff before -
	@for file in BOOTX64.EFI plinth-debug.efi $(DIST_NAME).tar.xz; do \
		cmp $(BUILD)/$$file '$(REPRODUCIBLE)'/build/$$file || exit 1; done
	@printf 'two builds in two folders are identical: %s\n' "$$(sha256sum < $(BUILD)/BOOTX64.EFI)"

.PHONY: check-reproducible
