# SPDX-License-Identifier: MIT
# What the boot rows of disks and networks need: an initramfs with the stock kernel's modules of virtio, and a disk with
# ext4 that mke2fs fills from a folder.

DEVICES_OUT := $(BUILD)/devices
DEVICES_MODULES := net/core/failover drivers/net/net_failover drivers/virtio/virtio drivers/virtio/virtio_ring \
	drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci drivers/virtio/virtio_mmio \
	drivers/block/virtio_blk drivers/net/virtio_net drivers/char/virtio_console drivers/char/hw_random/virtio-rng

#: make devices-images  the initramfs and the disk of the boot rows about disks and networks
devices-images: $(DEVICES_OUT)/initramfs.cpio $(DEVICES_OUT)/disk.img

# The kernel's package was downloaded for the demo's kernel.
$(DEVICES_OUT)/initramfs.cpio: tools/mkinitramfs $(wildcard tests/boot/devices-root/*/*) $(BUILD)/demo/vmlinuz
	@rm -rf $(DEVICES_OUT)/root && mkdir -p $(DEVICES_OUT)/root/modules
	cp -r tests/boot/devices-root/. $(DEVICES_OUT)/root
	dpkg-deb --fsys-tarfile $(wildcard $(BUILD)/downloads/linux-image-*-cloud-amd64_*.deb) | \
		tar -x -C $(DEVICES_OUT) --wildcards $(DEVICES_MODULES:%='./lib/modules/*/kernel/%.ko')
	for module in $(DEVICES_MODULES); do cp $(DEVICES_OUT)/lib/modules/*/kernel/$$module.ko $(DEVICES_OUT)/root/modules; done
	tools/mkinitramfs -o $@ --root $(DEVICES_OUT)/root

# 16 MiB, of which a file of known bytes takes 4. Identifiers and times are constants, so the image is the same each time.
$(DEVICES_OUT)/disk.img: mk/devices.mk
	@rm -rf $(DEVICES_OUT)/disk && mkdir -p $(DEVICES_OUT)/disk
	printf 'read from the disk\n' >$(DEVICES_OUT)/disk/greeting
	yes 'sixteen bytes..' | head -c 4194304 >$(DEVICES_OUT)/disk/large
	rm -f $@ && E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -t ext4 -F -U 504c494e-5448-4000-8000-000000000003 \
		-E hash_seed=504c494e-5448-4000-8000-000000000003 -d $(DEVICES_OUT)/disk $@ 16M

.PHONY: devices-images
