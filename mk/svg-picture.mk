# SPDX-License-Identifier: MIT
# Pictures of plinth-check as a browser draws them; a part of tests/run's stage unit.
#: make svg-picture   the pictures of plinth-check --svg in a headless browser: colours, and no text on another one

svg-picture: $(BUILD)/plinth-check $(DEMO_FILES)
	tests/tools/svg_picture.py

.PHONY: svg-picture
