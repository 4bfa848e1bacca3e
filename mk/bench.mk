# SPDX-License-Identifier: MIT
# Figures of the running hypervisor, deterministic: a tick is an instruction.
#: make bench-exit    instructions per exit, by kind, on each vendor (QEMU -icount, Bochs)
bench-exit: $(BUILD)/BOOTX64.EFI $(BUILD)/guests/bench-exit.elf
	tests/bench/bench-exit $(BUILD)

#: make bench-shadow  instructions of shadow paging: fills, switches, INVLPG, faults (QEMU without NPT, Bochs' Core 2, Bochs' SVM)
bench-shadow: $(BUILD)/BOOTX64.EFI $(BUILD)/guests/bench-shadow.elf
	tests/bench/bench-shadow $(BUILD)

#: make bench-guests  instructions of the hypervisor for a tick with 1 to 64 guests on 1 to 16 CPUs (QEMU -icount and a plugin)
bench-guests: image $(BUILD)/guests/bench-ticks.elf $(BUILD)/bench/qemu-count.so
	tests/bench/bench-guests $(BUILD)

# What COUNT=FILE lets each instruction be counted with: tests/bench/count-functions says how.
$(BUILD)/bench/qemu-count.so: tests/bench/qemu_count.c tests/bench/marks.h
	@mkdir -p $(@D)
	$(CC) -std=c17 -O2 -I. $(WARNINGS) -fPIC -shared -fvisibility=hidden -fuse-ld=lld -Wl,--unresolved-symbols=ignore-all -o $@ $<

#: make bench-restart instructions from a guest's reset to its first instruction after it (QEMU -icount and a plugin)
bench-restart: image $(BUILD)/guests/bench-restart.elf $(BUILD)/bench/qemu-count.so
	tests/bench/bench-restart $(BUILD)

#: make bench-linux   instructions and exits of a Linux beside the same kernel on QEMU alone: boot, faults, fork, pipes, sleep, serial line
bench-linux: image $(BUILD)/bench/linux-work $(BUILD)/bench/qemu-count.so
	tests/boot/bench_linux.py

#: make bench-linux-shadow  instructions and exits of a Linux on shadow tables: boot, page faults, fork, pipes (QEMU without NPT)
bench-linux-shadow: image $(BUILD)/bench/linux-work $(BUILD)/bench/qemu-count.so
	tests/boot/bench_linux.py --paging shadow

$(BUILD)/bench/linux-work: tests/bench/linux_work.c tests/bench/marks.h
	@mkdir -p $(@D)
	$(CC) -std=c17 -O2 -I. $(WARNINGS) -static -fuse-ld=lld -Wl,--strip-all -o $@ $<

#: make bench-apicv   exits and ticks of a Linux boot in Bochs with the CPU's virtual APIC and without
bench-apicv: image
	tests/boot/bench_apicv.py

#: make bench-passthrough  exits for each NVMe command and each packet of an e1000e that a Linux has (QEMU -icount)
bench-passthrough: image passthrough-images
	tests/boot/bench_passthrough.py

#: make bench-start     what an IOMMU adds to the start on a machine of 64 devices, in emulated time (QEMU -icount)
bench-start: image guests
	tests/boot/bench_start.py

#: make bench-boot    instructions of a Linux boot under Plinth, as a ratio to QEMU's own boot of the same kernel
bench-boot: image
	tests/boot/bench_boot.py


#: make bench-emulate instructions per access to a device in memory, from exit_dispatch() on (native, callgrind)
bench-emulate: $(BUILD)/bench/emulate
	tests/bench/bench-native $< $(BUILD)/bench/callgrind-emulate counted_exit counted_quick counted_port counted_open

#: make bench-virtio  instructions per disk request and per packet, beside the copies (native, callgrind)
bench-virtio: $(BUILD)/bench/virtio
	tests/bench/bench-native $< $(BUILD)/bench/callgrind-virtio counted_notify counted_told

#: make bench-net     exits per ping and per MiB of a TCP stream, and of an idle guest: stock Linuxes in QEMU, time in instructions
bench-net: image devices-images
	tests/boot/bench_net.py

# Each file optimized as in the image; memcpy and memset as calls, so that callgrind can tell them apart.
BENCH_PURE_OBJECTS := $(patsubst %.c,$(BUILD)/bench/image-%.o,$(PURE_SOURCES) tests/unit/support.c)
$(BUILD)/bench/image-%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -O2 -g -DPLINTH_DEBUG_CHECKS,$(NATIVE_CFLAGS)) -gdwarf-4 -ffreestanding -mgeneral-regs-only \
		$(if $(filter $<,$(HOT_SOURCES)),-O2,$(if $(filter $<,$(SMALLER_SOURCES)),-Os,-Oz)) -fno-jump-tables \
		-MMD -MP -c -o $@ $<

$(BUILD)/bench/virtio $(BUILD)/bench/emulate $(BUILD)/bench/scale: $(BUILD)/bench/%: $(BUILD)/bench/image-tests/bench/bench_%.o $(BENCH_PURE_OBJECTS)
	$(Q)$(CC) -o $@ $^ -lcmocka

-include $(BENCH_PURE_OBJECTS:.o=.d)

#: make scale         64 CPUs start in QEMU; what each step costs up to 12 TiB, 255 CPUs and 64 guests (callgrind)
scale: $(BUILD)/bench/scale
	tests/bench/bench-scale $<
	tests/boot/run.py scale

.PHONY: bench-exit bench-shadow bench-guests bench-restart bench-linux bench-linux-shadow bench-apicv bench-passthrough bench-start bench-boot bench-emulate bench-net bench-virtio scale
