# SPDX-License-Identifier: MIT
# For clangd, which looks into build/, too, and for other tools that want to know how each file is compiled.
#: make compile_commands.json  writes build/compile_commands.json: image, native and test objects; nothing is compiled

compile_commands.json:
	$(Q)mkdir -p $(BUILD)
	$(Q)$(MAKE) -s -n -B Q= BUILD=$(BUILD) all unit-programs guests | tools/compile-commands $(BUILD)/compile_commands.json

.PHONY: compile_commands.json
