# Figures of the running hypervisor, deterministic: a tick is an instruction.
#: make bench-exit    instructions per exit, by kind, on each vendor (QEMU -icount, Bochs)
bench-exit: $(BUILD)/BOOTX64.EFI $(BUILD)/guests/bench-exit.elf
	tests/bench/bench-exit $(BUILD)

.PHONY: bench-exit
