# SPDX-License-Identifier: MIT
# docs/config.md is printed from the rules' and keys' data, so that it cannot say anything else.

config-manual: $(BUILD)/plinth-check
	$(BUILD)/plinth-check --manual >docs/config.md

check-config-manual: $(BUILD)/plinth-check
	@$(BUILD)/plinth-check --manual | cmp -s - docs/config.md || \
		{ printf 'docs/config.md is out of date: run make config-manual\n'; exit 1; }

unit: check-config-manual

.PHONY: config-manual check-config-manual
