# SPDX-License-Identifier: MIT
# The demo image build/plinth.img: Debian's cloud kernel as it is in the package, an initramfs from busybox with the
# kernel's modules of virtio, a disk with ext4, and hello.

DEMO_KERNEL := linux-image-cloud-amd64
DEMO_FILES := $(addprefix $(BUILD)/demo/,plinth.conf vmlinuz initramfs.cpio disk.img hello.elf)

image: $(BUILD)/plinth.img

$(BUILD)/demo/vmlinuz:
	tools/fetch-debian-kernel $(DEMO_KERNEL) $(BUILD)/downloads $@

# In the order in which they need each other; etc/rc loads them so.
DEMO_MODULES := net/core/failover drivers/net/net_failover drivers/virtio/virtio_ring drivers/virtio/virtio \
	drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci \
	drivers/block/virtio_blk drivers/net/virtio_net
DEMO_ROOT := $(BUILD)/demo/root

# The kernel's package is there once its vmlinuz is.
$(BUILD)/demo/initramfs.cpio: mk/demo.mk tools/mkinitramfs $(wildcard config/examples/demo-root/*/*) $(BUILD)/demo/tsc-now \
		$(BUILD)/demo/vmlinuz
	@rm -rf $(DEMO_ROOT) $(BUILD)/demo/lib && mkdir -p $(DEMO_ROOT)/modules
	cp -r config/examples/demo-root/. $(DEMO_ROOT)
	dpkg-deb --fsys-tarfile $(wildcard $(BUILD)/downloads/linux-image-*-cloud-amd64_*.deb) | \
		tar -x -C $(BUILD)/demo --wildcards $(DEMO_MODULES:%='./lib/modules/*/kernel/%.ko')
	for module in $(DEMO_MODULES); do cp $(BUILD)/demo/lib/modules/*/kernel/$$module.ko $(DEMO_ROOT)/modules; done
	tools/mkinitramfs -o $@ --root $(DEMO_ROOT) --program tsc-now=$(BUILD)/demo/tsc-now

# Identifiers and times are constants, so the image is the same each time.
DEMO_DISK_ID := 504c494e-5448-4000-8000-000000000005
$(BUILD)/demo/disk.img: mk/demo.mk config/examples/demo-disk/README
	@rm -f $@ && mkdir -p $(@D)
	E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -t ext4 -O ^has_journal -F -U $(DEMO_DISK_ID) -E hash_seed=$(DEMO_DISK_ID) \
		-d config/examples/demo-disk $@ 4M

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
