# Figures of the running hypervisor, deterministic: a tick is an instruction.
#: make bench-exit    instructions per exit, by kind, on each vendor (QEMU -icount, Bochs)
bench-exit: $(BUILD)/BOOTX64.EFI $(BUILD)/guests/bench-exit.elf
	tests/bench/bench-exit $(BUILD)

#: make bench-apicv   exits and ticks of a Linux boot in Bochs with the CPU's virtual APIC and without
bench-apicv: image
	BUILD=$(abspath $(BUILD)) tests/boot/bench_apicv.py

#: make bench-virtio  instructions per disk request and per packet, beside the copies (native, callgrind)
bench-virtio: $(BUILD)/bench/virtio
	tests/bench/bench-virtio $< $(BUILD)/bench/callgrind-virtio

# Optimized for size, as the image is.
BENCH_VIRTIO_SOURCES := tests/bench/bench_virtio.c tests/unit/support.c $(PURE_SOURCES)
$(BUILD)/bench/virtio: $(BENCH_VIRTIO_SOURCES) $(wildcard hv/dev/*.h hv/dev/*/*.h hv/share/*.h hv/core/*.h tests/unit/virt*.h)
	@mkdir -p $(@D)
	$(CC) $(filter-out -O2 -g -DPLINTH_DEBUG_CHECKS,$(NATIVE_CFLAGS)) -gdwarf-4 -Os -fno-jump-tables -fno-builtin -o $@ \
		$(BENCH_VIRTIO_SOURCES) -lcmocka

.PHONY: bench-exit bench-apicv bench-virtio
