# SPDX-License-Identifier: MIT
# The demo image build/plinth.img: Debian's cloud kernel as it is in the package, an initramfs from busybox, and hello.

DEMO_KERNEL := linux-image-cloud-amd64
DEMO_FILES := $(addprefix $(BUILD)/demo/,plinth.conf vmlinuz initramfs.cpio hello.elf)

image: $(BUILD)/plinth.img

$(BUILD)/demo/vmlinuz:
	tools/fetch-debian-kernel $(DEMO_KERNEL) $(BUILD)/downloads $@

$(BUILD)/demo/initramfs.cpio: tools/mkinitramfs $(wildcard config/examples/demo-root/*/*) $(BUILD)/demo/tsc-now
	tools/mkinitramfs -o $@ --root config/examples/demo-root --program tsc-now=$(BUILD)/demo/tsc-now

# A static Linux program without a C library.
$(BUILD)/demo/tsc-now: tests/boot/tsc_now.c
	@mkdir -p $(@D)
	$(CC) -std=c17 -O2 -ffreestanding -fno-stack-protector -fno-pic -nostdlib -static -fuse-ld=lld -Wl,--strip-all \
		-o $@ $<

$(BUILD)/demo/plinth.conf: config/examples/demo.conf
	@mkdir -p $(@D)
	cp $< $@

$(BUILD)/demo/hello.elf: $(BUILD)/guests/hello.elf
	@mkdir -p $(@D)
	cp $< $@

$(BUILD)/plinth.img: tools/mkusb $(BUILD)/BOOTX64.EFI $(BUILD)/plinth-check $(DEMO_FILES)
	tools/mkusb -c $(BUILD)/demo/plinth.conf -o $@

.PHONY: image
