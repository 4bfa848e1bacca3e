# SPDX-License-Identifier: MIT
# What the boot rows about a Linux's panic, watchdog, power button and reboot need: an initramfs with the stock kernel's
# modules for them.

LIFE_OUT := $(BUILD)/life
LIFE_MODULES := drivers/misc/pvpanic/pvpanic drivers/misc/pvpanic/pvpanic-mmio drivers/watchdog/watchdog \
	drivers/watchdog/wdat_wdt drivers/acpi/button drivers/input/evdev

# The kernel's package was downloaded for the demo's kernel.
$(LIFE_OUT)/initramfs.cpio: tools/mkinitramfs $(shell find tests/boot/life-root -type f) $(BUILD)/demo/vmlinuz
	@rm -rf $(LIFE_OUT)/root && mkdir -p $(LIFE_OUT)/root/modules
	cp -r tests/boot/life-root/. $(LIFE_OUT)/root
	dpkg-deb --fsys-tarfile $(wildcard $(BUILD)/downloads/linux-image-*-cloud-amd64_*.deb) | \
		tar -x -C $(LIFE_OUT) --wildcards $(LIFE_MODULES:%='./lib/modules/*/kernel/%.ko')
	for module in $(LIFE_MODULES); do cp $(LIFE_OUT)/lib/modules/*/kernel/$$module.ko $(LIFE_OUT)/root/modules; done
	tools/mkinitramfs -o $@ --root $(LIFE_OUT)/root

# The generic kernel, with the driver of the watchdog on the PCI bus, which the cloud kernel has not.
GENERIC_MODULES := drivers/watchdog/watchdog drivers/watchdog/i6300esb
$(LIFE_OUT)/generic/initramfs.cpio: tools/mkinitramfs $(shell find tests/boot/life-root -type f) $(BUILD)/third-party/vmlinuz-amd64
	@rm -rf $(LIFE_OUT)/generic && mkdir -p $(LIFE_OUT)/generic/root/modules
	cp -r tests/boot/life-root/. $(LIFE_OUT)/generic/root
	dpkg-deb --fsys-tarfile $$(ls $(BUILD)/downloads/linux-image-[0-9]*-amd64_*.deb | grep -v cloud) | \
		tar -x -C $(LIFE_OUT)/generic --wildcards $(GENERIC_MODULES:%='./lib/modules/*/kernel/%.ko')
	for module in $(GENERIC_MODULES); do cp $(LIFE_OUT)/generic/lib/modules/*/kernel/$$module.ko $(LIFE_OUT)/generic/root/modules; done
	tools/mkinitramfs -o $@ --root $(LIFE_OUT)/generic/root

#: make linux-i6300esb  Debian's generic kernel and its driver of the PCI watchdog: fed, and not fed (QEMU, Bochs)
linux-i6300esb: image $(LIFE_OUT)/generic/initramfs.cpio
	tests/boot/run.py linux-i6300esb

.PHONY: linux-i6300esb

# A second initrd that does not fit below 2 GiB, where a kernel wants it: zeroes, which Linux passes over. No blocks.
$(LIFE_OUT)/zeroes: | $(LIFE_OUT)/initramfs.cpio
	truncate -s 1990M $@

image: $(LIFE_OUT)/initramfs.cpio $(LIFE_OUT)/zeroes
