# The screen console's font, made at build time from Debian's package console-setup-linux (the public-domain "Fixed").
FONT_FILE ?= /usr/share/consolefonts/Lat15-Fixed16.psf.gz

$(BUILD)/gen/console_font.c: $(FONT_FILE) tools/mkfont
	@mkdir -p $(@D)
	tools/mkfont $(FONT_FILE) $@

$(BUILD)/image/gen/console_font.o: $(BUILD)/gen/console_font.c
	@mkdir -p $(@D)
	$(CC) $(IMAGE_CFLAGS) -c -o $@ $<

$(BUILD)/BOOTX64.EFI: $(BUILD)/image/gen/console_font.o

# The version is compiled into one file only, which is rebuilt when the version changes.
$(BUILD)/gen/version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@

$(BUILD)/image/hv/host/version.o: IMAGE_CFLAGS += -DPLINTH_VERSION='"$(VERSION)"'
$(BUILD)/image/hv/host/version.o: $(BUILD)/gen/version

.PHONY: FORCE
