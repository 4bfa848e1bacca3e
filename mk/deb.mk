# SPDX-License-Identifier: MIT
# A Debian package of what `make install` installs, and the files of a release.
#: make deb           build/plinth_VERSION_amd64.deb: plinth-check, runners, mkusb, mkguest; lintian looks at it where it is there

# With the C library of the system, and what Debian wants of a program that reads files of others.
$(BUILD)/deb/plinth-check: $(BUILD)/plinth-check
	@mkdir -p $(@D)
	$(Q)$(CC) $(NATIVE_CFLAGS) $(VERSION_DEFINE) -fPIE -pie -fstack-protector-strong -D_FORTIFY_SOURCE=2 -Wl,-z,relro,-z,now \
		-Wl,--strip-all -o $@ tools/plinth-check.c $(wildcard tools/check/*.c) tests/unit/support.c $(VERSION_SOURCE) \
		$(BUILD)/libplinth.a

deb: $(BUILD)/BOOTX64.EFI $(BUILD)/deb/plinth-check $(BUILD)/guests/hello.elf
	$(Q)rm -f $(BUILD)/plinth_*_amd64.deb
	$(Q)tools/mkdeb --checker $(BUILD)/deb/plinth-check -o $(BUILD)
	$(Q)if command -v lintian >/dev/null; then lintian --fail-on error,warning --tag-display-limit 0 $(BUILD)/plinth_*_amd64.deb; \
		else echo 'lintian is not installed: nothing looked at the package'; fi

#: make release KEY=me   build/release: archive, package, SHA256SUMS, signed by this key of gpg; docs/release.md is the checklist
release: dist deb
	$(Q)[ -n '$(KEY)' ] || { echo 'name the key: make release KEY=me@example.org (gpg --list-secret-keys)'; exit 1; }
	$(Q)rm -rf $(BUILD)/release && mkdir -p $(BUILD)/release
	$(Q)cp $(DIST_ARCHIVE) $(BUILD)/plinth_*_amd64.deb $(BUILD)/release
	$(Q)cd $(BUILD)/release && sha256sum -- * >SHA256SUMS && gpg --batch --yes --local-user '$(KEY)' --armor --detach-sign SHA256SUMS
	@printf '%s\n' $(BUILD)/release/*

.PHONY: deb release
