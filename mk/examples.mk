# SPDX-License-Identifier: MIT
# What config/examples/linux-disk.conf names; tools/examples.py knows where the files of all examples are.

# One run makes the kernel, the initrd and the disk.
$(BUILD)/examples/debian-disk/root.img:
	tools/mkguest -o $(@D) --debian --disk

$(BUILD)/examples/debian-disk/vmlinuz $(BUILD)/examples/debian-disk/initrd.img: $(BUILD)/examples/debian-disk/root.img

$(BUILD)/examples/data.img:
	@mkdir -p $(@D)
	rm -f $@ && /sbin/mke2fs -q -t ext4 -F $@ 16M
