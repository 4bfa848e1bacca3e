# The vendors' pure parts that the Makefile's list does not name: linked into the native library as well.
VENDOR_PURE := hv/vmx/vmx_entry_guest hv/vmx/vmx_capabilities hv/svm/svm_entry_check hv/svm/svm_capabilities

$(BUILD)/libplinth.a: $(VENDOR_PURE:%=$(BUILD)/native/%.o)

-include $(VENDOR_PURE:%=$(BUILD)/native/%.d)

# What runs once at boot or after a failure is made small.
VENDOR_COLD := vmx/vmx_entry_check vmx/vmx_entry_guest vmx/vmx_capabilities vmx/vmx_features svm/svm_entry_check \
	svm/svm_features svm/svm_capabilities
$(VENDOR_COLD:%=$(BUILD)/image/hv/%.o): IMAGE_CFLAGS += -Os

#: make bench-apicv   exits and ticks of a Linux boot in Bochs with the CPU's virtual APIC and without
bench-apicv: image
	BUILD=$(abspath $(BUILD)) tests/boot/bench_apicv.py

.PHONY: bench-apicv
