# SPDX-License-Identifier: MIT
# Boots in the emulators that tests/boot drives.
#: make boot          boot tests in QEMU and Bochs (tests/boot/run.py --list; also NAME... for some)
boot: image guests
	tests/boot/run.py

#: make soak-boot     100 boots of the small guest end alike
soak-boot: image
	tests/boot/soak.py

#: make protocols-table  boots a guest per boot protocol on each vendor and prints the table of docs/guests.md
protocols-table: image guests
	tests/boot/tables protocols

.PHONY: boot soak-boot protocols-table
