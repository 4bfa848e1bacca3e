# SPDX-License-Identifier: MIT
# Figures of the running hypervisor, deterministic: a tick is an instruction.
#: make bench-exit    instructions per exit, by kind, on each vendor (QEMU -icount, Bochs)
bench-exit: $(BUILD)/BOOTX64.EFI $(BUILD)/guests/bench-exit.elf
	tests/bench/bench-exit $(BUILD)

#: make bench-apicv   exits and ticks of a Linux boot in Bochs with the CPU's virtual APIC and without
bench-apicv: image
	tests/boot/bench_apicv.py

#: make bench-boot    instructions of a Linux boot under Plinth, as a ratio to QEMU's own boot of the same kernel
bench-boot: image
	tests/boot/bench_boot.py

.PHONY: bench-exit bench-apicv bench-boot
