# SPDX-License-Identifier: MIT
# What config/examples/linux-disk.conf names; tools/examples.py knows where the files of all examples are. And a Debian
# that is its own initrd, for the boot row that docs/recipes.md promises.
#: make debian-guests   makes two Debians by tools/mkguest and boots them up to the login and the power-off; some minutes

# One run makes the kernel, the initrd and the disk.
$(BUILD)/examples/debian-disk/root.img:
	tools/mkguest -o $(@D) --debian --disk

$(BUILD)/examples/debian-disk/vmlinuz $(BUILD)/examples/debian-disk/initrd.img: $(BUILD)/examples/debian-disk/root.img

$(BUILD)/examples/data.img:
	@mkdir -p $(@D)
	rm -f $@ && /sbin/mke2fs -q -t ext4 -F $@ 16M

$(BUILD)/examples/debian-initrd/initrd.img:
	tools/mkguest -o $(@D) --debian

debian-guests: image $(BUILD)/examples/debian-initrd/initrd.img $(BUILD)/examples/debian-disk/root.img
	tests/boot/run.py debian-initrd debian-disk

.PHONY: debian-guests
