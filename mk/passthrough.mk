# SPDX-License-Identifier: MIT
# What the boot rows of the machine's devices in guests' hands need beside mk/devices.mk: Debian's generic kernel (the cloud
# kernel has no drivers of such devices) with its modules for them.

PASSTHROUGH_OUT := $(BUILD)/passthrough
# In the order in which they need each other.
PASSTHROUGH_MODULES := \
	lib/crc64 crypto/crc64_rocksoft_generic lib/crc64-rocksoft \
	crypto/crct10dif_common crypto/crct10dif_generic lib/crc-t10dif crypto/crc32c_generic lib/crc16 block/t10-pi \
	drivers/scsi/scsi_common drivers/scsi/scsi_mod drivers/scsi/sd_mod \
	drivers/ata/libata drivers/ata/libahci drivers/ata/ahci \
	drivers/usb/common/usb-common drivers/usb/core/usbcore drivers/usb/host/xhci-hcd drivers/usb/host/xhci-pci \
	drivers/usb/storage/usb-storage drivers/nvme/host/nvme-core drivers/nvme/host/nvme \
	drivers/net/ethernet/intel/e1000e/e1000e net/core/failover drivers/net/net_failover drivers/virtio/virtio_ring drivers/virtio/virtio \
	drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci \
	drivers/block/virtio_blk drivers/net/virtio_net drivers/net/mii \
	drivers/net/ethernet/realtek/8139cp drivers/net/ethernet/amd/pcnet32 \
	fs/mbcache fs/jbd2/jbd2 fs/ext4/ext4 fs/nls/nls_cp437 fs/nls/nls_ascii fs/fat/fat fs/fat/vfat

#: make passthrough-images  the initramfs of the boot rows about the machine's devices in guests' hands
passthrough-images: $(PASSTHROUGH_OUT)/initramfs.cpio $(BUILD)/devices/disk.img

# The kernel's package is there once its vmlinuz is.
$(PASSTHROUGH_OUT)/initramfs.cpio: mk/passthrough.mk tools/mkinitramfs $(shell find tests/boot/passthrough-root -type f) \
		$(BUILD)/third-party/vmlinuz-amd64
	@rm -rf $(PASSTHROUGH_OUT) && mkdir -p $(PASSTHROUGH_OUT)/root/modules
	cp -r tests/boot/passthrough-root/. $(PASSTHROUGH_OUT)/root
	dpkg-deb --fsys-tarfile $$(ls $(BUILD)/downloads/linux-image-[0-9]*-amd64_*.deb | grep -v cloud) | \
		tar -x -C $(PASSTHROUGH_OUT) --wildcards $(PASSTHROUGH_MODULES:%='./lib/modules/*/kernel/%.ko')
	for module in $(PASSTHROUGH_MODULES); do \
		cp $(PASSTHROUGH_OUT)/lib/modules/*/kernel/$$module.ko $(PASSTHROUGH_OUT)/root/modules && \
		basename $$module.ko >>$(PASSTHROUGH_OUT)/root/modules/order || exit 1; done
	tools/mkinitramfs -o $@ --root $(PASSTHROUGH_OUT)/root

.PHONY: passthrough-images
