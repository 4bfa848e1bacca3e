# SPDX-License-Identifier: MIT
# Two Debians as an installer leaves them: stock kernel, the initrd of initramfs-tools, root on ext4 on /dev/vda, systemd. The
# packages come from Debian's archive once (two to four minutes), and are kept in build/debian.

DEBIAN_OUT := $(BUILD)/debian

#: make two-debians   two stock Debian guests on a network: login, ping, ssh, 64 MiB, a crash and restart; 20 minutes in QEMU
two-debians: $(BUILD)/BOOTX64.EFI $(BUILD)/plinth-check $(DEBIAN_OUT)/root.img $(DEBIAN_OUT)/scratch.img
	tests/boot/run.py two-debians-qemu-svm

#: make two-debians-vmx  the same without systemd, with less to copy, in Bochs on VMX
two-debians-vmx: $(BUILD)/BOOTX64.EFI $(BUILD)/plinth-check $(DEBIAN_OUT)/root.img $(DEBIAN_OUT)/scratch.img
	tests/boot/run.py two-debians-small-bochs-vmx

$(DEBIAN_OUT)/disk-check: tests/boot/disk_check.c
	@mkdir -p $(@D)
	$(CC) -std=c17 -O2 $(WARNINGS) -static -fuse-ld=lld -Wl,--strip-all -o $@ $<

# With the kernel and the initrd beside it. Other packages: remove $(DEBIAN_OUT)/tree.tar.
$(DEBIAN_OUT)/root.img: tests/boot/mkdebian $(shell find tests/boot/debian-root -type f) $(DEBIAN_OUT)/disk-check
	tests/boot/mkdebian $(DEBIAN_OUT) $(DEBIAN_OUT)/disk-check

$(DEBIAN_OUT)/scratch.img:
	@mkdir -p $(@D)
	truncate -s 32M $@

.PHONY: two-debians two-debians-vmx
