# The version, of tools/version, is compiled into one file of the image only and into plinth-check; both are made anew when
# the version changes. What it is: CONTRIBUTING.md, "Versions".

$(BUILD)/gen/version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@

VERSION_DEFINE := -DPLINTH_VERSION='"$(VERSION)"'

$(BUILD)/image/hv/version.o: IMAGE_CFLAGS += $(VERSION_DEFINE)
$(BUILD)/image/hv/version.o: $(BUILD)/gen/version

$(BUILD)/plinth-check: private NATIVE_CFLAGS += $(VERSION_DEFINE)
$(BUILD)/plinth-check: hv/version.c $(BUILD)/gen/version

.PHONY: FORCE
