# The vendors' pure parts that the Makefile's list does not name: linked into the native library as well.
VENDOR_PURE := hv/vmx/vmx_entry_guest hv/vmx/vmx_capabilities hv/svm/svm_entry_check hv/svm/svm_capabilities

$(BUILD)/libplinth.a: $(VENDOR_PURE:%=$(BUILD)/native/%.o)

-include $(VENDOR_PURE:%=$(BUILD)/native/%.d)

#: make bench-apicv   exits and ticks of a Linux boot in Bochs with the CPU's virtual APIC and without
bench-apicv: image
	BUILD=$(abspath $(BUILD)) tests/boot/bench_apicv.py

.PHONY: bench-apicv
