# SPDX-License-Identifier: MIT
#: make pictures      docs/pictures.md and docs/pictures/*.svg: the demo's steps in QEMU, the plan of each example

pictures: image $(BUILD)/plinth-check third-party-small
	PLINTH_PICTURES=$(abspath $(BUILD))/pictures tests/boot/terminal.py demo
	tests/tools/pictures.py --write

.PHONY: pictures
