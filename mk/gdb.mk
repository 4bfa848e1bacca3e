# SPDX-License-Identifier: MIT
# Debugging: docs/debugging.md.
#: make gdb           the demo in QEMU under gdb, stopped at efi_main; GUEST=FILE.elf: with a guest's symbols; IMAGE=FILE.img
gdb: image
	tools/run-gdb $(if $(GUEST),--guest '$(GUEST)') $(if $(IMAGE),'$(IMAGE)')

.PHONY: gdb
