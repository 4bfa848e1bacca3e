# SPDX-License-Identifier: MIT
# The tree's figures.
#: make metrics       lines of code by folder, functions, static asserts, and the image's size by folder
#: make size          BOOTX64.EFI's size by folder alone

metrics: $(BUILD)/BOOTX64.EFI
	@tools/metrics

size: $(BUILD)/BOOTX64.EFI
	@tools/metrics size

.PHONY: metrics size
