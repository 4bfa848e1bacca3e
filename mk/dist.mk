# SPDX-License-Identifier: MIT
# The archive for use without a build: docs/archive.md says what is in it, and is its README. `make install` puts the
# same tree under PREFIX. Neither writes into the source tree, and both take paths with blanks.
#: make dist          build/plinth-VERSION.tar.xz: BOOTX64.EFI, plinth-check, tools, docs, examples, SHA256SUMS
#: make install       the same under $(DESTDIR)$(PREFIX), /usr/local by default; make uninstall

PREFIX ?= /usr/local
DIST_NAME := plinth-$(VERSION)
DIST_TREE := $(BUILD)/dist/$(DIST_NAME)
DIST_ARCHIVE := $(BUILD)/$(DIST_NAME).tar.xz
# What the tools need of each other; the test of the archive runs each.
DIST_TOOLS := mkusb mkguest fetch-debian-file run-qemu run-bochs emulator.py examples.py newc.py plinth_tree.py secure_boot.py stick.py version
# Every file has this time: 2024-01-01, as those on the stick that mkusb writes.
SOURCE_DATE_EPOCH ?= 1704067200

# Linked with the C library in it, for any Linux; without what names the folder that it was built in.
$(BUILD)/dist/plinth-check: $(BUILD)/plinth-check
	@mkdir -p $(@D)
	$(Q)$(CC) $(NATIVE_CFLAGS) $(VERSION_DEFINE) -static -Wl,--build-id=none -Wl,--strip-all -o $@ tools/plinth-check.c \
		$(wildcard tools/check/*.c) tests/unit/support.c $(VERSION_SOURCE) $(BUILD)/libplinth.a

dist-tree: $(BUILD)/BOOTX64.EFI $(BUILD)/dist/plinth-check $(BUILD)/guests/hello.elf
	$(Q)rm -rf $(BUILD)/dist/plinth-*/
	$(Q)mkdir -p $(DIST_TREE)/bin $(DIST_TREE)/tools $(DIST_TREE)/docs/decisions $(DIST_TREE)/examples
	$(Q)cp $(BUILD)/BOOTX64.EFI $(BUILD)/plinth-debug.efi LICENSE CHANGELOG.md $(DIST_TREE)
	$(Q)cp docs/archive.md $(DIST_TREE)/README.md
	$(Q)echo '$(VERSION)' >$(DIST_TREE)/VERSION
	$(Q)cp $(BUILD)/dist/plinth-check $(DIST_TREE)/bin
	$(Q)cp $(DIST_TOOLS:%=tools/%) $(DIST_TREE)/tools
	$(Q)cp docs/*.md $(DIST_TREE)/docs
	$(Q)cp docs/decisions/*.md $(DIST_TREE)/docs/decisions
	$(Q)cp config/examples/*.conf $(DIST_TREE)/examples
	$(Q)llvm-strip --strip-debug -o $(DIST_TREE)/examples/hello.elf $(BUILD)/guests/hello.elf
	$(Q)printf '[guest hello]\nmemory = 16M\nkernel = hello.elf\n' >$(DIST_TREE)/examples/hello.conf
	$(Q)cd $(DIST_TREE) && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | xargs -d '\n' sha256sum >SHA256SUMS

dist: dist-tree
	$(Q)tar -C $(BUILD)/dist --format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX \
		--mtime=@$(SOURCE_DATE_EPOCH) -cf - $(DIST_NAME) | xz -9 -T1 >$(DIST_ARCHIVE)
	@printf '%s: %s bytes, %s\n' $(DIST_ARCHIVE) $$(stat -c %s $(DIST_ARCHIVE)) $$(sha256sum <$(DIST_ARCHIVE) | cut -c1-64)

INSTALL_TO = $(DESTDIR)$(PREFIX)

install: dist-tree
	$(Q)rm -rf '$(INSTALL_TO)/lib/plinth'
	$(Q)mkdir -p '$(INSTALL_TO)/bin' '$(INSTALL_TO)/lib' '$(INSTALL_TO)/share/doc'
	$(Q)cp -r $(DIST_TREE) '$(INSTALL_TO)/lib/plinth'
	$(Q)chmod -R u+rw,go=rX '$(INSTALL_TO)/lib/plinth'
	$(Q)ln -sfn ../lib/plinth/bin/plinth-check '$(INSTALL_TO)/bin/plinth-check'
	$(Q)for tool in mkusb mkguest run-qemu run-bochs; do \
		ln -sfn "../lib/plinth/tools/$$tool" '$(INSTALL_TO)'"/bin/plinth-$$tool"; done
	$(Q)ln -sfn ../../lib/plinth/docs '$(INSTALL_TO)/share/doc/plinth'

uninstall:
	$(Q)rm -rf '$(INSTALL_TO)/lib/plinth'
	$(Q)cd '$(INSTALL_TO)' && rm -f bin/plinth-check bin/plinth-mkusb bin/plinth-mkguest bin/plinth-run-qemu bin/plinth-run-bochs share/doc/plinth

.PHONY: dist dist-tree install uninstall
