#: make gdb           the demo in QEMU under gdb, stopped at efi_main; GUEST=FILE.elf: with a guest's symbols; IMAGE=FILE.img
gdb: image
	BUILD='$(BUILD)' tools/run-gdb $(if $(GUEST),--guest '$(GUEST)') $(if $(IMAGE),'$(IMAGE)')

.PHONY: gdb
