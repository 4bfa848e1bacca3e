# SPDX-License-Identifier: MIT
# What objects depend on beside their sources, as files whose time changes only when their text does: the flags of the
# image's and the native objects, and the version, which is in one file of the image and in plinth-check.

# $(call STAMP,text): the recipe. It leaves the file alone where it says this already.
STAMP = $(Q)mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(1))' >$@

$(BUILD)/gen/version: FORCE
	$(call STAMP,$(VERSION))
$(BUILD)/gen/image-flags: FORCE
	$(call STAMP,$(CC) $(IMAGE_CFLAGS) $(EFI_CFLAGS))
$(BUILD)/gen/native-flags: FORCE
	$(call STAMP,$(CC) $(NATIVE_CFLAGS))

$(IMAGE_OBJECTS): $(BUILD)/gen/image-flags
$(NATIVE_OBJECTS): $(BUILD)/gen/native-flags

# tools/version says what it is.
VERSION_DEFINE := -DPLINTH_VERSION='"$(VERSION)"'

VERSION_SOURCE := $(filter %/version.c,$(IMAGE_SOURCES))

$(VERSION_SOURCE:%.c=$(BUILD)/image/%.o): IMAGE_CFLAGS += $(VERSION_DEFINE)
$(VERSION_SOURCE:%.c=$(BUILD)/image/%.o): $(BUILD)/gen/version

$(BUILD)/plinth-check: private NATIVE_CFLAGS += $(VERSION_DEFINE)
$(BUILD)/plinth-check: $(VERSION_SOURCE) $(BUILD)/gen/version

.PHONY: FORCE
