# SPDX-License-Identifier: MIT
# The screen console's font, made at build time from Debian's package console-setup-linux (the public-domain "Fixed").
FONT_FILE ?= /usr/share/consolefonts/Lat15-Fixed16.psf.gz

$(BUILD)/gen/console_font.c: $(FONT_FILE) tools/mkfont
	@mkdir -p $(@D)
	tools/mkfont $(FONT_FILE) $@

$(BUILD)/image/gen/console_font.o: $(BUILD)/gen/console_font.c
	@mkdir -p $(@D)
	$(CC) $(IMAGE_CFLAGS) -c -o $@ $<

$(BUILD)/BOOTX64.EFI: $(BUILD)/image/gen/console_font.o
