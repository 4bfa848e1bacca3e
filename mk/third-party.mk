# SPDX-License-Identifier: MIT
# Other projects' kernels, from Debian's archive as they are: config/examples/*.conf boot them, and
# docs/guests.md has the results.

THIRD := $(BUILD)/third-party
THIRD_SMALL := $(addprefix $(THIRD)/,memtest86+x64.bin memtest86+ia32.bin xen.gz)
THIRD_LARGE := $(addprefix $(THIRD)/,u-boot.bin vmlinuz-amd64 vmlinuz-686-pae initramfs-i386.cpio)

$(THIRD)/memtest86+%.bin:
	tools/fetch-debian-file memtest86+ $(BUILD)/downloads './boot/memtest86+$*.bin' $@

# An ELF that Debian packs with gzip, which a boot loader is expected to undo.
$(THIRD)/xen.gz:
	tools/fetch-debian-file xen-hypervisor-4.17-amd64 $(BUILD)/downloads './boot/xen-4.17-amd64.gz' $@

$(THIRD)/vmlinuz-amd64:
	tools/fetch-debian-file linux-image-amd64 $(BUILD)/downloads './boot/vmlinuz-*' $@

$(THIRD)/vmlinuz-686-pae:
	tools/fetch-debian-file linux-image-686-pae:i386 $(BUILD)/downloads './boot/vmlinuz-*' $@

# U-Boot proper, which its own first stage enters in long mode at 0x1110000 with a stack that has room above it. Here a page in
# front of it does that: mov $0x80000, %esp; mov $0x1110000, %eax; jmp *%rax. The image is loaded at 0x110f000.
$(THIRD)/u-boot.bin:
	tools/fetch-debian-file u-boot-qemu $(BUILD)/downloads './usr/lib/u-boot/qemu-x86_64/u-boot.bin' $@.packaged
	{ printf '\274\000\000\010\000\270\000\000\021\001\377\340'; head -c 4084 /dev/zero; cat $@.packaged; } >$@

$(THIRD)/busybox-i386:
	tools/fetch-debian-file busybox-static:i386 $(BUILD)/downloads './bin/busybox' $@
	chmod +x $@

# mkinitramfs asks busybox for its commands, so the i386 one must run here; any amd64 kernel of Debian can.
$(THIRD)/initramfs-i386.cpio: $(THIRD)/busybox-i386 tools/mkinitramfs $(wildcard config/examples/demo-root/*/*)
	tools/mkinitramfs -o $@ --busybox $< --root config/examples/demo-root

# Files that are no kernels for a PC without a BIOS: name, package, file in it.
THIRD_FOREIGN := $(addprefix $(THIRD)/foreign/,ipxe.lkrn memdisk hdt.c32 lnxboot.img grub-rescue.img loadlin.exe.gz qboot.rom \
	u-boot-x86.elf u-boot-x86.rom u-boot-arm64.elf)
$(THIRD)/foreign/ipxe.lkrn: FROM := ipxe ./boot/ipxe.lkrn
$(THIRD)/foreign/memdisk: FROM := syslinux-common ./usr/lib/syslinux/memdisk
$(THIRD)/foreign/hdt.c32: FROM := syslinux-common ./usr/lib/syslinux/modules/bios/hdt.c32
$(THIRD)/foreign/lnxboot.img: FROM := grub-pc-bin ./usr/lib/grub/i386-pc/lnxboot.img
$(THIRD)/foreign/grub-rescue.img: FROM := grub-rescue-pc ./usr/lib/grub-rescue/grub-rescue-floppy.img
$(THIRD)/foreign/loadlin.exe.gz: FROM := loadlin ./usr/lib/loadlin/loadlin.exe.gz
$(THIRD)/foreign/qboot.rom: FROM := qemu-system-data ./usr/share/qemu/qboot.rom
$(THIRD)/foreign/u-boot-x86.elf: FROM := u-boot-qemu ./usr/lib/u-boot/qemu-x86/uboot.elf
$(THIRD)/foreign/u-boot-x86.rom: FROM := u-boot-qemu ./usr/lib/u-boot/qemu-x86/u-boot.rom
$(THIRD)/foreign/u-boot-arm64.elf: FROM := u-boot-qemu ./usr/lib/u-boot/qemu_arm64/uboot.elf
$(THIRD_FOREIGN):
	tools/fetch-debian-file $(word 1,$(FROM)) $(BUILD)/downloads $(word 2,$(FROM)) $@

#: make foreign-files  what the desk says of ten files of Debian's that are no kernels for a PC without a BIOS; downloads 9 MB
foreign-files: $(BUILD)/plinth-check $(THIRD_FOREIGN)
	tests/boot/tables foreign

# The small ones are in the ordinary test run.
third-party-small: $(THIRD_SMALL)

#: make third-party   boots the third-party kernels of docs/guests.md and prints their table; downloads 130 MB the first time
third-party: image guests $(THIRD_SMALL) $(THIRD_LARGE)
	tests/boot/tables third-party

.PHONY: third-party third-party-small foreign-files
