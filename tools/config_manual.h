/* SPDX-License-Identifier: MIT */
/*
 * The manual of plinth.conf as data: keys and rules, each rule with one wrong and one right example. docs/config.md is
 * printed from it by `plinth-check --manual`, and tests/unit/test_config.c runs every example.
 */
#ifndef TOOLS_CONFIG_MANUAL_H
#define TOOLS_CONFIG_MANUAL_H

#define LINE(text) text "\n"

/* One line of the manual per line. */
/* clang-format off */
static const char manual_opening[] =
    LINE("# plinth.conf")
    LINE("")
    LINE("<!-- Printed by `plinth-check --manual`; change tools/config_manual.h instead. -->")
    LINE("")
    LINE("One text file says which guests run, on which CPUs, with how much memory. On the boot volume it is")
    LINE("`\\plinth\\plinth.conf`, with the files that it names beside it. `plinth-check plinth.conf` says what is wrong")
    LINE("with it, or what the hypervisor will make of it, with the same code that the hypervisor runs.")
    LINE("")
    LINE("    [guest linux]")
    LINE("    kernel  = vmlinuz")
    LINE("    initrd  = initrd.img")
    LINE("    cmdline = console=ttyS0")
    LINE("    memory  = 1G")
    LINE("")
    LINE("## How it is written")
    LINE("")
    LINE("- Sections are `[hypervisor]` (may be left out), one `[guest NAME]` per guest, and where they are needed")
    LINE("  `[network NAME]` and `[shared NAME]`. Below them stand lines `key = value`. The order of sections and keys means nothing, except that modules are kept in their order and")
    LINE("  CPUs are given out guest by guest.")
    LINE("- A comment begins with `#` at the start of a line or after a blank, and ends with the line. Inside double quotes")
    LINE("  `#` is an ordinary character; so is it in the middle of a word (`a=#b`).")
    LINE("- A value may stand in double quotes; they are taken off. There are no escapes. Quotes that do not surround the")
    LINE("  whole value stay: `cmdline = dyndbg=\"file x +p\" quiet` is passed as it stands.")
    LINE("- Keys, words and units may be written in capitals, and `_` for `-`. Names, paths and command lines are kept as")
    LINE("  they are. Line ends may be those of any system; a byte-order mark is skipped.")
    LINE("- Sizes and addresses: `512M`, `1.5G`, `64 KiB`, `65536`, `0x100000`. K, M, G and T are powers of 1024, with or")
    LINE("  without B or iB behind them.")
    LINE("- Paths are relative to the folder of the config file, on the host and on the boot volume alike: `/`, `\\`, leading")
    LINE("  slashes and the components `.` and `..` make no difference to the place on the boot volume, which is always")
    LINE("  below `\\plinth\\`. A FAT volume knows no case, so neither do paths, and holds no file of 4 GiB: an initrd can")
    LINE("  be split, each part in an `initrd` line.");

static const char manual_details[] =
    LINE("")
    LINE("## CPUs")
    LINE("")
    LINE("A single number counts: `cpus = 2` asks for two virtual CPUs and leaves their place to Plinth. Anything with a comma")
    LINE("or a dash is a list of host CPUs, counted from 0, in the order of the guest's own: `cpus = 1,2`, `cpus = 0-3`,")
    LINE("and `cpus = 2,` for host CPU 2 alone. CPU 0 is a CPU like the others.")
    LINE("")
    LINE("Lists are honoured first. Every other virtual CPU then goes to the host CPU with the fewest so far; among equals to a")
    LINE("core that no other guest has, then to the lowest number. Threads of one core, which share time and caches and can see")
    LINE("data of each other, never have two guests: where there are more guests than cores, they take turns on one thread.")
    LINE("With `allow-siblings = yes`, and in an emulator, each thread is a CPU like another, and guests that share a core are named")
    LINE("with a warning.")
    LINE("A CPU in a list of a guest without `slice` is that guest's alone. Guests that share a CPU take turns: each runs for its")
    LINE("`slice`, 10 ms where none is written.")
    LINE("")
    LINE("## Memory")
    LINE("")
    LINE("Guest RAM starts at guest-physical 0; what passes 3 GiB continues at 4 GiB. The planner looks for host memory that")
    LINE("allows the largest leaves in the nested page table: 1 GiB for whole GiBs, 2 MiB for the rest. Memory below 1 MiB of")
    LINE("the host is never given to a guest.")
    LINE("")
    LINE("On a machine of several nodes (packages with memory of their own, by the firmware's tables SRAT and SLIT) a guest's CPUs")
    LINE("are of one node while one has enough, and its memory comes from there, else from the nearest that has it. The plan says")
    LINE("so in a line `nodes`, and so does the start.")
    LINE("")
    LINE("No address has to be written. Where it matters (a memory controller for each guest, a dump that is read from outside),")
    LINE("write `memory-at`: all RAM of that guest is then one piece from there, and the others are planned around it. The place")
    LINE("has to be free: `plinth-check --machine` shows what is, and so does the machine itself before it starts anything.")
    LINE("")
    LINE("## Devices of the machine")
    LINE("")
    LINE("`pci` gives a PCI function of the machine to one guest: its driver talks to the device itself, and the IOMMU lets the")
    LINE("device reach this guest's memory and nothing else. A function that cannot be had is refused before the start by the rules")
    LINE("below. What only the running hypervisor finds out (an IOMMU without interrupt remapping, a device that the firmware goes")
    LINE("on using) leaves this guest unstarted with P0317 and the reason; the others run.")
    LINE("")
    LINE("Functions that the IOMMU cannot tell apart form a group: all of a group that guests have are one guest's. There is no way")
    LINE("to give a device without an IOMMU: a guest's addresses are not the machine's, so its driver would send the device anywhere.")
    LINE("")
    LINE("`pci = nvme vf 1` gives a virtual function (SR-IOV) of a function that then belongs to no guest: as many are made as the")
    LINE("highest number that is named. Which devices' virtual functions work so: `docs/passthrough.md`.")
    LINE("")
    LINE("## What plinth-check prints")
    LINE("")
    LINE("A line for each mistake, `file:line:column: rule: sentence`, in the file's order; the rules are below. Where there is none,")
    LINE("the plan: each guest with its CPUs, slice, kernel and files, memory (where it is on the machine, pages of which sizes,")
    LINE("bytes of tables), devices and what follows its end; then the machine's CPUs and memory, and which machine the config")
    LINE("needs. The config `-` is the standard input. Exit status 0 where the config is good, 1 where not, 2 where the command")
    LINE("line is not understood. `--json` prints the same as one object, `--svg FILE` draws the plan, `--needs` prints the")
    LINE("smallest machine that the config runs on: `tools/run-qemu plinth.conf` and `tools/run-bochs plinth.conf` make theirs by it.")
    LINE("Colours only on a terminal, and not with `NO_COLOR` or `TERM=dumb`.")
    LINE("")
    LINE("## A machine for plinth-check")
    LINE("")
    LINE("`plinth-check --machine FILE` plans for the machine that FILE describes; without it the machine has what the config")
    LINE("needs. The hypervisor writes it with `inventory = yes` as `\\plinth\\machine.txt`; a few lines by hand do, too.")
    LINE("")
    LINE("    cpus = 4")
    LINE("    memory = 8G                           # the usual hole below 4 GiB assumed, or region by region:")
    LINE("    region = 0x100000 0x80000000 free     # start, end, and free, boot, loader, acpi, reserved or mmio")
    LINE("    cpu = 0 apic 0 package 0 core 0 thread 0 node 0 kind performance")
    LINE("                                          # threads share a core; from `node` on only where it is so")
    LINE("    node = 0 0x0 0x80000000               # memory from START to END that is near the CPUs of node 0")
    LINE("    distance = 0 1 21                     # from a node's CPUs to another's memory; 10 to its own")
    LINE("    uart = port 0x2f8                     # a serial port that answers")
    LINE("    keyboard = ps2                        # a keyboard controller (8042), by ACPI; or none")
    LINE("    screen = 800 x 600 at 0x80000000 bytes 1920000")
    LINE("    taken = ports 0x600 0x680 acpi-pm     # ports, or memory, from START to END that are the hypervisor's: acpi-pm,")
    LINE("                                          # reset, console, io-apic, pci-config, iommu or screen")
    LINE("    iommu = intel 0xfed90000 segment 0 off  # or amd; or none")
    LINE("    pci = 02:00.0 8086:10d3 class 020000  # behind it, as it is: `, can 05 11` (capabilities), `, group 02:00.0`, `, console`,")
    LINE("                                          # `, line 11` (where the firmware has led its interrupt line), `, vfs 4`")
    LINE("                                          # (virtual functions that it can have)")
    LINE("")
    LINE("Without `pci` lines what `pci` names is taken to be there. The examples below are for a machine with these lines:")
    LINE("")
    LINE("    iommu = intel 0xfed90000 segment 0 off")
    LINE("    pci = 00:02.0 8086:3e92 class 030000, display, console")
    LINE("    pci = 00:1c.0 8086:a338 class 060400, bridge")
    LINE("    pci = 00:1f.3 8086:a348 class 040300, multimedia, group 00:1f.3")
    LINE("    pci = 00:1f.6 8086:15bb class 020000, network card, group 00:1f.3")
    LINE("    pci = 01:00.0 144d:a808 class 010802, disk controller, can 01 05 10 11, vfs 4")
    LINE("    pci = 02:00.0 8086:10d3 class 020000, network card, can 01 05 10 11")
    LINE("    pci = 03:00.0 10ec:8139 class 020000, network card, can 01");

/* clang-format on */
#undef LINE

struct manual_key {
    const char *section;
    const char *name;
    const char *values;
    const char *unwritten; /* the default */
    const char *meaning;
};

static const struct manual_key manual_keys[] = {
    {"hypervisor", "console", "`serial`, `screen`, `both`", "`both`", "where the hypervisor's own messages go"},
    {"hypervisor", "log", "`info`, `debug`", "`info`", "how much it says"},
    {"hypervisor", "inventory", "`yes`, `no`", "`no`",
     "whether the machine's memory map, CPUs and devices are written to `\\plinth\\machine.txt` at each start"},
    {"hypervisor", "quiet-devices", "`yes`, `no`", "`yes`",
     "whether USB controllers are taken from the firmware and the devices that it used lose the right to write to "
     "memory; `no` is for a machine that hangs at the start with it, and then its devices can reach any guest"},
    {"hypervisor", "quirks", "`auto`, `none`", "`auto`",
     "repairs for what emulators of CPUs get wrong, where one is found. A CPU needs none; the start's log names those "
     "that are on, `docs/emulators.md` describes them"},
    {"hypervisor", "speculation", "`auto`, `all`, `none`", "`auto`",
     "what is done about attacks by speculation, and about code whose page changes its size: what this CPU needs, "
     "whatever it has (each exit then costs more), or nothing. The start says it in a line, `docs/isolation.md` has "
     "the attacks"},
    {"hypervisor", "rtc", "`utc`, `local`, `local +01:00`", "`utc`",
     "what the machine's clock shows: UTC, or local time, as other systems on the machine may have set it. Guests get "
     "UTC "
     "either way. A zone that the firmware names is used; behind `local` one can be written, as time ahead of UTC, for "
     "a "
     "firmware that names none: then it is the one that counts"},
    {"hypervisor", "allow-siblings", "`yes`, `no`", "`no`",
     "whether two guests may run on threads of one core at the same time, where each can slow the other and see data "
     "of "
     "it"},
    {"hypervisor", "when-all-stopped", "`poweroff`, `reboot`, `halt`", "`poweroff`",
     "what the machine does when no guest runs any more; where one has failed, a real machine goes off a minute later, "
     "so that "
     "its screen can be read"},
    {"guest", "kernel", "a path", "must be written", "the guest's image, relative to the config file's folder"},
    {"guest", "memory", "a size: `512M`, `1.5G`, `65536K`, `0x20000000`", "`256M`",
     "RAM; a multiple of 4K, at least 1M. A multiple of 1G gets the largest leaves"},
    {"guest", "memory-at", "an address: `4G`, `0x140000000`", "where it is best",
     "where its RAM begins in the machine's memory, in one piece; a multiple of 4K, of 1G for the largest leaves"},
    {"guest", "cpus", "a number, or a list", "`1`",
     "`2` is two virtual CPUs on any host CPUs; `1,2` or `0-3` are these host CPUs, in this order; `2,` is host CPU 2. "
     "Where the machine has CPUs of two kinds, `2 performance` or `2 efficient` are of that kind (where all are alike, "
     "any)"},
    {"guest", "protocol", "`auto`, `linux`, `multiboot`, `multiboot2`, `pvh`, `elf`, `flat`", "`auto`",
     "how the image is loaded and entered; `auto` looks at its header"},
    {"guest", "initrd", "a path", "none", "a file that the guest finds in its memory; may be repeated"},
    {"guest", "module", "a path, then arguments", "none",
     "the same, with a string of its own for multiboot and PVH; may be repeated. The string is the arguments alone, as "
     "GRUB 2 gives it. A kernel that passes over the first word of it, because other loaders put the file's name there "
     "(Xen: the command line of its first domain), wants that name written: `module = vmlinuz vmlinuz console=hvc0`"},
    {"guest", "disk", "a path, then `,ro`, `,keep=no`, `,keep=restart`, `,changes=64M`", "none",
     "a raw image that the guest has as a virtio disk (`/dev/vda`, then `vdb`, ...); one that is compressed with gzip "
     "is "
     "expanded at the start. May be repeated, 8 times at most. It is read into "
     "memory at the start, and what the guest writes is gone at power-off. `ro`: it cannot write. `keep=no`: a restart "
     "of the guest finds the image as it was. `changes`: how much memory its changes may take beside the image's; "
     "by default as much as the disk has. Pages of the image that are all zeroes take no memory, but for an image that "
     "this disk alone has and that has no `changes`: there all of it can be written"},
    {"guest", "net", "a network's name, then `,mac=52:54:00:12:34:56`", "none",
     "a virtio network card; guests whose cards name the same network reach each other. May be repeated"},
    {"guest", "cmdline", "text", "empty", "the kernel's command line"},
    {"guest", "shared", "a name, then `,ro`", "none",
     "memory that is shared with the other guests that name it, of a `[shared NAME]` section: a PCI device "
     "(ivshmem-doorbell, `docs/devices.md`). May be repeated, 4 times at most"},
    {"guest", "pci", "`02:00.0`, `8086:10d3`, `nvme`, `net 2`, `nvme vf 1`", "none",
     "a PCI function of the machine that the guest has for itself: by place (with a segment in front where it is not "
     "0: "
     "`0001:02:00.0`), by vendor and product, or by kind (`nvme`, `ahci`, `sata`, `disk`, `usb`, `xhci`, `net`, `gpu`, "
     "`audio`), with a number behind where several fit. `gsi 17` behind that names the input of the I/O APICs that its "
     "interrupt line leads to, where it has no messages and the firmware does not say. It needs an IOMMU; see "
     "\"Devices "
     "of the machine\". May be "
     "repeated, 8 times at most"},
    {"guest", "console", "`yes`, `virtio`, `no`", "`yes`",
     "whether the guest's serial port takes part in the console; with `virtio` also a virtio console (`hvc0`), which "
     "costs an exit for a line and not for each byte, and has what is typed once the guest prints there"},
    {"guest", "rng", "`yes`, `no`", "`yes` where it has another virtio device",
     "a virtio entropy device: random numbers from the CPU and the firmware"},
    {"guest", "virtio", "`pci`, `qemu`, `modern`, `mmio`", "`pci`",
     "how the guest finds its virtio devices: on the PCI bus, with the layout of legacy drivers and that of modern "
     "ones; the same without a notification port, as QEMU's devices are, for kernels that know no other; on the PCI "
     "bus "
     "with the modern layout alone; or at fixed addresses and interrupts, for kernels without PCI (`docs/devices.md`)"},
    {"guest", "com2", "`yes`, `no`", "`no`",
     "a second serial port, 0x2f8 with IRQ 3 (`ttyS1`): each line that the guest writes there is a line of the log, "
     "`plinth: guest NAME COM2: ...`. Nothing can be typed to it"},
    {"guest", "hpet", "`yes`, `no`", "`no`",
     "the guest's ACPI tables name the HPET, for kernels that measure their clocks by it and start with no other. It "
     "is "
     "at 0xfed00000 in any case; a Linux has better clocks, and pays an exit for each look at this one"},
    {"guest", "ports", "`0x378-0x37f`, or one port", "none",
     "ports of the machine that the guest has for itself, without an exit; may be repeated, 8 times at most"},
    {"guest", "serial", "`com2`, `no`", "`no`",
     "the machine's COM2 (0x2f8, IRQ 3) is the guest's, with its interrupt; the hypervisor's console lets go of it"},
    {"guest", "keyboard", "`ps2`, `no`", "`no`",
     "the machine's keyboard controller (8042; ports 0x60 and 0x64, IRQ 1 and 12) is the guest's, with the PS/2 "
     "keyboard and mouse behind it; the hypervisor's console lets go of them. A write that would reset the machine "
     "resets the guest"},
    {"guest", "mmio", "an address and a size, then where the guest has it: `0x90000000 64K 0xf8000000`", "none",
     "memory of a device that the guest has for itself, uncached; by default at the same address. May be repeated, 8 "
     "times at most. Not with shadow paging"},
    {"guest", "framebuffer", "`yes`, `no`", "`no`",
     "the screen that the firmware has set up is this guest's; a Linux and a multiboot kernel are told where it is. "
     "The "
     "hypervisor's console lets go of it. Not with shadow paging"},
    {"guest", "on-stop", "`stay`, `restart`, `poweroff`", "`stay`",
     "what follows when the guest switches itself off: nothing, the guest starts again, the machine goes off"},
    {"guest", "on-crash", "`stay`, `restart`, `poweroff`", "`stay`",
     "the same when it crashes, or its kernel panics and says so (pvpanic)"},
    {"guest", "on-reset", "`restart`, `stay`, `crash`, `poweroff`", "`restart`",
     "the same when it asks for a reset, as a `reboot` does; `crash`: a reset counts as a crash, and `on-crash` "
     "decides"},
    {"guest", "stop-time", "`100ms` to `3600s`", "`30s`",
     "how long the guest has to switch itself off after its power button was pressed (Ctrl-] p); then it is killed"},
    {"guest", "debug-ports", "`yes`, `no`", "`no`",
     "port 0xe9 prints a character, port 0xf4 or 0x501 ends the guest, as in emulators"},
    {"guest", "debug-exit-ok", "a number", "`0`",
     "which value, written to port 0xf4 or 0x501, means that all is well; any other is a failure. Kernels that end "
     "QEMU with "
     "exit "
     "status 33 for success write `0x10`"},
    {"guest", "virtual-apic", "`yes`, `no`", "`yes`",
     "whether the CPU itself serves the guest's local APIC where it can (Intel); `no` for comparison"},
    {"guest", "paging", "`auto`, `nested`, `shadow`", "`auto`",
     "how the guest's addresses become the machine's: by the CPU's nested paging, or by shadow tables that the "
     "hypervisor keeps, as on CPUs without it; `auto`: nested where the CPU can"},
    {"guest", "shadow-memory", "a size", "8 KiB for each MiB of its memory and vCPU, 1 to 32 MiB",
     "with shadow paging: memory for the tables of all its vCPUs. More is faster; what does not fit is made again"},
    {"guest", "slice", "`100us` to `1s`", "`10ms` where a CPU is shared",
     "how long the guest runs before the next one that shares its CPU"},
    {"guest", "watchdog", "a kind, then `100ms` to `3600s`", "none",
     "`console 30s`: 30 s without a byte on its console are a crash (`on-crash`). The others: `hypercall` (a heartbeat "
     "by "
     "VMCALL or VMMCALL), `halt` (a CPU halts or is halted), `exit` (that, or anything else that needs the "
     "hypervisor)"},
    {"guest", "share-idle", "`yes`, `no`", "`yes`",
     "whether the next one gets the rest of the slice while the guest halts; `no`: its slices are its own, used or "
     "not"},
    {"guest", "ticks", "`all`, `merge`", "`all`",
     "what becomes of the periods of its timers (8254, RTC, HPET, the local APIC's) that end while another guest has "
     "its "
     "CPU: each interrupts later, one after the other, or they are one interrupt. Kernels that count ticks keep the "
     "time "
     "with `all`; those that read a clock at each tick do with both"},
    {"guest", "load-address", "an address", "`1M`", "flat images: where in guest memory they are put"},
    {"guest", "entry", "an address", "`load-address`", "flat images: the first instruction"},
    {"guest", "mode", "`real`, `protected`, `long` (or `16`, `32`, `64`)", "`protected`",
     "flat images: the mode of the CPU at entry"},
    {"network", "isolated", "`yes`, `no`", "`no`",
     "whether its guests reach the `router` alone, and the router all of them"},
    {"network", "router", "a guest's name", "none", "the guest that the others reach; only with `isolated = yes`"},
    {"network", "mtu", "`576` to `65535`", "not said: 1500",
     "the largest packet, without its Ethernet header, that drivers are told to send"},
    {"shared", "size", "a power of two from `4K` to `64M`", "must be written", "how much memory"},
};

#define MANUAL_CPUS 0xffu
#define MANUAL_NO_NESTED_PAGING 0x100u /* in `cpus` */
#define MANUAL_THREADS 0x200u          /* the same: two CPUs of each core */
#define MANUAL_LITTLE_CORES 0x400u     /* the same: all are efficient */
#define MANUAL_NO_COM2 0x2000u         /* the same: no UART at 0x2f8 */

#define MANUAL_PCI 0x800u       /* the same: it has the functions that the manual lists */
#define MANUAL_NO_IOMMU 0x1000u /* the same, without the IOMMU */

struct manual_rule {
    const char *name;
    const char *meaning;
    const char *wrong;
    const char *right;
    unsigned cpus; /* 0: decided without the machine; else one of so many CPUs and 4 GiB */
};

static const struct manual_rule manual_rules[] = {
    {"bad-character", "The file is plain text: no control characters, not UTF-16.", "[guest a]\nkernel = k\x01\n",
     "[guest a]\nkernel = k\n", 0},
    {"bad-line", "A line is a section, a `key = value`, a comment, or blank.", "[guest a]\nkernel = k\nmemory 1G\n",
     "[guest a]\nkernel = k\nmemory = 1G\n", 0},
    {"unknown-section", "Sections are `[hypervisor]`, `[guest NAME]`, `[network NAME]` and `[shared NAME]`.",
     "[host]\n[guest a]\nkernel = k\n", "[hypervisor]\n[guest a]\nkernel = k\n", 0},
    {"duplicate-section", "`[hypervisor]` is written once.",
     "[hypervisor]\nlog = debug\n[guest a]\nkernel = k\n[hypervisor]\nconsole = serial\n",
     "[hypervisor]\nlog = debug\nconsole = serial\n[guest a]\nkernel = k\n", 0},
    {"bad-disk",
     "The options of a disk are `ro`, `keep=no`, `keep=restart` and `changes` with a size, and `ro` stands alone.",
     "[guest a]\nkernel = k\ndisk = root.img,rw\n", "[guest a]\nkernel = k\ndisk = root.img,ro\n", 0},
    {"bad-network",
     "A network is named as a guest is; the option of a card is `mac`, six bytes, not a group's address.",
     "[guest a]\nkernel = k\nnet = lan,mac=01:00:5e:00:00:01\n",
     "[guest a]\nkernel = k\nnet = lan,mac=52:54:00:00:00:01\n", 0},
    {"bad-shared", "A guest has a piece of shared memory once; its option is `ro`.",
     "[shared m]\nsize = 1M\n[guest a]\nkernel = k\nshared = m,rw\n",
     "[shared m]\nsize = 1M\n[guest a]\nkernel = k\nshared = m,ro\n", 0},
    {"bad-pci", "`pci` is a place, vendor and product, or a kind.", "[guest a]\nkernel = k\npci = network\n",
     "[guest a]\nkernel = k\npci = net\n", 0},
    {"pci-two-owners", "A PCI function has one owner, and is named once.",
     "[guest a]\nkernel = k\npci = 02:00.0\n[guest b]\nkernel = k\npci = 02:00.0\n",
     "[guest a]\nkernel = k\npci = 02:00.0\n[guest b]\nkernel = k\npci = 02:00.1\n", 0},
    {"pci-line-shared", "An interrupt line is one guest's.",
     "[guest a]\nkernel = k\npci = 03:00.0 gsi 17\n[guest b]\nkernel = k\npci = 04:00.0 gsi 17\n",
     "[guest a]\nkernel = k\npci = 03:00.0 gsi 17\npci = 04:00.0 gsi 17\n[guest b]\nkernel = k\n", 0},
    {"pci-paging", "A guest with `pci` has nested paging.", "[guest a]\nkernel = k\npci = nvme\npaging = shadow\n",
     "[guest a]\nkernel = k\npci = nvme\n", 0},
    {"pci-not-there", "What `pci` names is there.", "[guest a]\nkernel = k\npci = net 4\n",
     "[guest a]\nkernel = k\npci = net 2\n", 4 | MANUAL_PCI},
    {"pci-bridge", "A bridge is no guest's.", "[guest a]\nkernel = k\npci = 00:1c.0\n",
     "[guest a]\nkernel = k\npci = 01:00.0\n", 4 | MANUAL_PCI},
    {"pci-console", "What the hypervisor's console is on is no guest's.", "[guest a]\nkernel = k\npci = gpu\n",
     "[guest a]\nkernel = k\npci = nvme\n", 4 | MANUAL_PCI},
    {"pci-intx", "A function has interrupt messages (MSI-X or MSI), or it is known where its interrupt line leads to.",
     "[guest a]\nkernel = k\npci = 10ec:8139\n", "[guest a]\nkernel = k\npci = 10ec:8139 gsi 17\n", 4 | MANUAL_PCI},
    {"pci-group", "Functions that the IOMMU cannot tell apart are one guest's.",
     "[guest a]\nkernel = k\npci = net\n[guest b]\nkernel = k\npci = audio\n",
     "[guest a]\nkernel = k\npci = net\npci = audio\n[guest b]\nkernel = k\n", 4 | MANUAL_PCI},
    {"pci-vf", "A virtual function is one that its function can have.", "[guest a]\nkernel = k\npci = nvme vf 5\n",
     "[guest a]\nkernel = k\npci = nvme vf 4\n", 4 | MANUAL_PCI},
    {"pci-physical", "A function of which virtual functions are given is no guest's.",
     "[guest a]\nkernel = k\npci = nvme\n[guest b]\nkernel = k\npci = nvme vf 1\n",
     "[guest a]\nkernel = k\npci = nvme vf 1\n[guest b]\nkernel = k\npci = nvme vf 2\n", 0},
    {"no-iommu", "`pci` needs an IOMMU.", "[guest a]\nkernel = k\npci = nvme\n", "[guest a]\nkernel = k\n",
     4 | MANUAL_PCI | MANUAL_NO_IOMMU},
    {"bad-share-size", "`size` is written, and is a power of two from 4K to 64M.",
     "[shared m]\nsize = 3M\n[guest a]\nkernel = k\nshared = m\n",
     "[shared m]\nsize = 4M\n[guest a]\nkernel = k\nshared = m\n", 0},
    {"bad-ports", "Ports are a range of numbers up to 0xffff, the lower one first.",
     "[guest a]\nkernel = k\nports = 0x378 to 0x37f\n", "[guest a]\nkernel = k\nports = 0x378-0x37f\n", 0},
    {"ports-taken", "What the hypervisor or the guest's own PC has at these ports is not given.",
     "[guest a]\nkernel = k\nports = 0xcf8-0xcff\n", "[guest a]\nkernel = k\nports = 0x378-0x37f\n", 0},
    {"ports-two-owners", "A port has one owner.",
     "[guest a]\nkernel = k\nserial = com2\n[guest b]\nkernel = k\nserial = com2\n",
     "[guest a]\nkernel = k\nserial = com2\n[guest b]\nkernel = k\n", 0},
    {"two-com2", "A guest has one second serial port.", "[guest a]\nkernel = k\ncom2 = yes\nserial = com2\n",
     "[guest a]\nkernel = k\nserial = com2\n", 0},
    {"bad-mmio", "A device's memory is an address and a size, both multiples of 4K.",
     "[guest a]\nkernel = k\nmmio = 0xfed40000\n", "[guest a]\nkernel = k\nmmio = 0xfed40000 4K\n", 0},
    {"mmio-taken", "What the hypervisor has there, and memory, is not given.",
     "[guest a]\nkernel = k\nmmio = 0xfee00000 4K\n", "[guest a]\nkernel = k\nmmio = 0xfed40000 4K\n", 0},
    {"mmio-place", "The guest has nothing else where it is to have a device's memory.",
     "[guest a]\nkernel = k\nmmio = 0xd0000000 4K\n", "[guest a]\nkernel = k\nmmio = 0xd0000000 4K 0xf8000000\n", 0},
    {"mmio-two-owners", "A device's memory has one owner.",
     "[guest a]\nkernel = k\nmmio = 0xfed40000 4K\n[guest b]\nkernel = k\nmmio = 0xfed40000 4K\n",
     "[guest a]\nkernel = k\nmmio = 0xfed40000 4K\n[guest b]\nkernel = k\n", 0},
    {"screen-two-owners", "One guest has the screen.",
     "[guest a]\nkernel = k\nframebuffer = yes\n[guest b]\nkernel = k\nframebuffer = yes\n",
     "[guest a]\nkernel = k\nframebuffer = yes\n[guest b]\nkernel = k\n", 0},
    {"keyboard-two-owners", "One guest has the keyboard.",
     "[guest a]\nkernel = k\nkeyboard = ps2\n[guest b]\nkernel = k\nkeyboard = ps2\n",
     "[guest a]\nkernel = k\nkeyboard = ps2\n[guest b]\nkernel = k\n", 0},
    {"too-many-ranges", "At most 8 `ports` lines and 8 `mmio` lines in a guest.",
     "[guest a]\nkernel = k\nports = 0x300\nports = 0x301\nports = 0x302\nports = 0x303\nports = 0x304\nports = "
     "0x305\nports = 0x306\nports = 0x307\nports = 0x308\n",
     "[guest a]\nkernel = k\nports = 0x300-0x308\n", 0},
    {"no-share", "What `shared` names has a section.", "[guest a]\nkernel = k\nshared = m\n",
     "[shared m]\nsize = 1M\n[guest a]\nkernel = k\nshared = m\n", 0},
    {"unused-section", "Some guest is on each `[network NAME]`, and has each `[shared NAME]`.",
     "[network lan]\nmtu = 9000\n[guest a]\nkernel = k\n",
     "[network lan]\nmtu = 9000\n[guest a]\nkernel = k\nnet = lan\n", 0},
    {"isolated", "`isolated = yes` and `router` stand together.",
     "[network lan]\nisolated = yes\n[guest a]\nkernel = k\nnet = lan\n",
     "[network lan]\nisolated = yes\nrouter = a\n[guest a]\nkernel = k\nnet = lan\n", 0},
    {"no-router", "`router` is a guest on this network.",
     "[network lan]\nisolated = yes\nrouter = b\n[guest a]\nkernel = k\nnet = lan\n",
     "[network lan]\nisolated = yes\nrouter = a\n[guest a]\nkernel = k\nnet = lan\n", 0},
    {"bad-mtu", "An MTU is from 576 to 65535.", "[network lan]\nmtu = 70000\n[guest a]\nkernel = k\nnet = lan\n",
     "[network lan]\nmtu = 9000\n[guest a]\nkernel = k\nnet = lan\n", 0},
    {"too-many-mmio",
     "A guest with `virtio = mmio` has at most 7 virtio devices: disks, cards, console, random numbers.",
     "[guest a]\nkernel = k\nvirtio = mmio\nconsole = virtio\ndisk = a\ndisk = b\ndisk = c\nnet = d\nnet = e\nnet = "
     "f\n",
     "[guest a]\nkernel = k\nvirtio = mmio\nconsole = virtio\ndisk = a\ndisk = b\ndisk = c\nnet = d\nnet = e\n", 0},
    {"mac-twice", "Every card on a network has an address of its own.",
     "[guest a]\nkernel = k\nnet = lan,mac=52:54:00:00:00:01\n[guest b]\nkernel = k\nnet = "
     "lan,mac=52:54:00:00:00:01\n",
     "[guest a]\nkernel = k\nnet = lan,mac=52:54:00:00:00:01\n[guest b]\nkernel = k\nnet = "
     "lan,mac=52:54:00:00:00:02\n",
     0},
    {"bad-name", "A guest's name has 1 to 15 letters, digits, `-`, `_` or `.`, and starts with a letter or digit.",
     "[guest my linux]\nkernel = k\n", "[guest my-linux]\nkernel = k\n", 0},
    {"duplicate-name", "Every guest has a name of its own.", "[guest a]\nkernel = k\n[guest a]\nkernel = k\n",
     "[guest a]\nkernel = k\n[guest b]\nkernel = k\n", 0},
    {"no-guest", "There is at least one guest.", "[hypervisor]\nlog = debug\n",
     "[hypervisor]\nlog = debug\n[guest a]\nkernel = k\n", 0},
    {"key-outside-section", "Keys stand below a section.", "kernel = k\n", "[guest a]\nkernel = k\n", 0},
    {"unknown-key", "Only the keys listed above exist, each in its section.", "[guest a]\nkernel = k\nmemroy = 1G\n",
     "[guest a]\nkernel = k\nmemory = 1G\n", 0},
    {"duplicate-key",
     "A key is written once in a section, except `initrd`, `module`, `disk`, `net`, `shared`, `pci`, `ports` and "
     "`mmio`.",
     "[guest a]\nkernel = k\nmemory = 1G\nmemory = 2G\n", "[guest a]\nkernel = k\nmemory = 2G\n", 0},
    {"empty-value", "Every key but `cmdline` needs a value.", "[guest a]\nkernel = k\nmemory =\n",
     "[guest a]\nkernel = k\ncmdline =\n", 0},
    {"bad-quote", "Double quotes stand around a whole value, or around a whole path; other quotes are none.",
     "[guest a]\nkernel = k\ncmdline = \"console=ttyS0\" quiet\n",
     "[guest a]\nkernel = k\ncmdline = \"console=ttyS0 quiet\"\n", 0},
    {"bad-value", "Some keys take one of a few words.", "[guest a]\nkernel = k\non-crash = reboot\n",
     "[guest a]\nkernel = k\non-crash = restart\n", 0},
    {"bad-size", "A size is a number with K, M, G or T, or plain bytes; all are powers of 1024.",
     "[guest a]\nkernel = k\nmemory = lots\n", "[guest a]\nkernel = k\nmemory = 1.5G\n", 0},
    {"bad-number", "A number has digits, or `0x` and hexadecimal digits.",
     "[guest a]\nkernel = k\ndebug-ports = yes\ndebug-exit-ok = banana\n",
     "[guest a]\nkernel = k\ndebug-ports = yes\ndebug-exit-ok = 0x10\n", 0},
    {"bad-memory", "Memory is a multiple of 4K, from 1M to 64T.", "[guest a]\nkernel = k\nmemory = 512\n",
     "[guest a]\nkernel = k\nmemory = 512M\n", 0},
    {"bad-zone",
     "A zone of local time is how far it is ahead of UTC, or with `-` behind it, up to 14 hours; `utc` has none.",
     "[hypervisor]\nrtc = local CET\n[guest a]\nkernel = k\n",
     "[hypervisor]\nrtc = local +01:00\n[guest a]\nkernel = k\n", 0},
    {"bad-duration", "A duration is a whole number with `us`, `ms` or `s`, from 100us to 1s.",
     "[guest a]\nkernel = k\nslice = 10\n", "[guest a]\nkernel = k\nslice = 10ms\n", 0},
    {"bad-cpus", "`cpus` is a number of CPUs, or a list of host CPUs.", "[guest a]\nkernel = k\ncpus = all\n",
     "[guest a]\nkernel = k\ncpus = 0-3\n", 0},
    {"cpu-twice", "A list names each host CPU once.", "[guest a]\nkernel = k\ncpus = 1,1\n",
     "[guest a]\nkernel = k\ncpus = 1,2\n", 0},
    {"too-many-cpus", "A guest has at most 16 CPUs.", "[guest a]\nkernel = k\ncpus = 17\n",
     "[guest a]\nkernel = k\ncpus = 16\n", 0},
    {"cpu-two-owners", "A host CPU in two guests' lists is shared only where both have a `slice`.",
     "[guest a]\nkernel = k\ncpus = 1,\n[guest b]\nkernel = k\ncpus = 1,\n",
     "[guest a]\nkernel = k\ncpus = 1,\nslice = 10ms\n[guest b]\nkernel = k\ncpus = 1,\nslice = 5ms\n", 0},
    {"memory-two-owners", "Guests with `memory-at` do not overlap.",
     "[guest a]\nkernel = k\nmemory = 2G\nmemory-at = 4G\n[guest b]\nkernel = k\nmemory-at = 5G\n",
     "[guest a]\nkernel = k\nmemory = 2G\nmemory-at = 4G\n[guest b]\nkernel = k\nmemory-at = 6G\n", 0},
    {"bad-path",
     "A path has characters that a FAT volume can hold (UTF-8); blanks need double quotes. No name in it "
     "begins "
     "or ends with a blank, ends with a dot, is a word for a device (`con`, `nul`, `com1`) or one of Plinth's own "
     "files.",
     "[guest a]\nkernel = my kernel\n", "[guest a]\nkernel = \"my kernel\"\n", 0},
    {"missing-kernel", "Every guest has a `kernel`.", "[guest a]\nmemory = 1G\n", "[guest a]\nkernel = k\n", 0},
    {"flat-only", "`load-address`, `entry` and `mode` belong to `protocol = flat`.",
     "[guest a]\nkernel = k\nload-address = 2M\n", "[guest a]\nkernel = k\nprotocol = flat\nload-address = 2M\n", 0},
    {"bad-address",
     "An address is written like a size, or with `0x`. A flat image's lie in the guest's memory; below 1M in real "
     "mode.",
     "[guest a]\nkernel = k\nprotocol = flat\nmode = real\nload-address = 1M\n",
     "[guest a]\nkernel = k\nprotocol = flat\nmode = real\nload-address = 0x7c00\n", 0},
    {"cpu-not-there", "A list names CPUs that the machine has.", "[guest a]\nkernel = k\ncpus = 2,3\n",
     "[guest a]\nkernel = k\ncpus = 0,1\n", 2},
    {"no-cpu-left", "A guest without a list needs a CPU that no other guest owns by a list without `slice`.",
     "[guest a]\nkernel = k\ncpus = 0,\n[guest b]\nkernel = k\n",
     "[guest a]\nkernel = k\ncpus = 0,\nslice = 10ms\n[guest b]\nkernel = k\n", 1},
    {"shared-core", "Threads of one core do not have two guests, unless `allow-siblings = yes`.",
     "[guest a]\nkernel = k\ncpus = 0,\n[guest b]\nkernel = k\ncpus = 1,\n",
     "[guest a]\nkernel = k\ncpus = 0,\n[guest b]\nkernel = k\ncpus = 2,\n", 4 | MANUAL_THREADS},
    {"no-such-paging", "`paging` names what the CPU has.", "[guest a]\nkernel = k\npaging = nested\n",
     "[guest a]\nkernel = k\npaging = auto\n", 1 | MANUAL_NO_NESTED_PAGING},
    {"no-such-kind", "Where the firmware says the kinds of CPUs, there are some of the kind that `cpus` names.",
     "[guest a]\nkernel = k\ncpus = 1 performance\n", "[guest a]\nkernel = k\ncpus = 1 efficient\n",
     1 | MANUAL_LITTLE_CORES},
    {"no-such-device", "The machine has the COM2, the keyboard controller, or the screen, that a guest is to have.",
     "[guest a]\nkernel = k\nserial = com2\n", "[guest a]\nkernel = k\ncom2 = yes\n", 1 | MANUAL_NO_COM2},
    {"cpu-full", "A CPU of the machine takes at most 64 vCPUs of all guests together.",
     "[guest a]\nkernel = k\ncpus = 16\n[guest b]\nkernel = k\ncpus = 16\n[guest c]\nkernel = k\ncpus = 16\n"
     "[guest d]\nkernel = k\ncpus = 15\n[guest e]\nkernel = k\ncpus = 2\n",
     "[guest a]\nkernel = k\ncpus = 16\n[guest b]\nkernel = k\ncpus = 16\n[guest c]\nkernel = k\ncpus = 16\n"
     "[guest d]\nkernel = k\ncpus = 15\n[guest e]\nkernel = k\n",
     1},
    {"too-much-memory", "All guests together fit into the machine's memory.",
     "[guest a]\nkernel = k\nmemory = 3G\n[guest b]\nkernel = k\nmemory = 2G\n",
     "[guest a]\nkernel = k\nmemory = 3G\n[guest b]\nkernel = k\nmemory = 512M\n", 2},
};

/*
 * Rules about files and numbers of things: plinth-check and the boot loader look at the files. tests/tools runs these
 * examples; beside them lie hello.elf, another file HELLO.ELF, an empty file `empty`, `huge` of 4 GiB, and `notes.txt`,
 * which is no kernel.
 */
struct manual_long_rule {
    const char *name;
    const char *meaning;
    const char *wrong;
    const char *right;
    unsigned wrong_times, right_times; /* how often the example's last two lines are written, numbered; 0: as it is */
    unsigned cpus;
};

static const struct manual_long_rule manual_long_rules[] = {
    {"too-many-guests", "At most 64 guests.", "[guest g1]\nkernel = hello.elf\n", "[guest g1]\nkernel = hello.elf\n",
     65, 64, 0},
    {"too-many-modules", "At most 16 `initrd` and `module` lines in a guest.",
     "[guest a]\nkernel = hello.elf\nmodule = notes.txt number 1\n",
     "[guest a]\nkernel = hello.elf\nmodule = notes.txt number 1\n", 17, 16, 0},
    {"too-many-disks", "At most 8 `disk` lines in a guest.", "[guest a]\nkernel = hello.elf\ndisk = disk1.img\n",
     "[guest a]\nkernel = hello.elf\ndisk = disk1.img\n", 9, 8, 0},
    {"too-many-cards", "At most 4 `net` lines in a guest.", "[guest a]\nkernel = hello.elf\nnet = lan1\n",
     "[guest a]\nkernel = hello.elf\nnet = lan1\n", 5, 4, 0},
    {"too-many-shares", "At most 8 `[shared NAME]` sections, and 4 `shared` lines in a guest.",
     "[shared m1]\nsize = 4K\n[shared m2]\nsize = 4K\n[shared m3]\nsize = 4K\n[shared m4]\nsize = 4K\n[shared m5]\n"
     "size = 4K\n[guest a]\nkernel = hello.elf\nshared = m1\nshared = m2\nshared = m3\nshared = m4\nshared = m5\n"
     "[guest b]\nkernel = hello.elf\nshared = m5\n",
     "[shared m1]\nsize = 4K\n[shared m2]\nsize = 4K\n[shared m3]\nsize = 4K\n[shared m4]\nsize = 4K\n[guest a]\n"
     "kernel = hello.elf\nshared = m1\nshared = m2\nshared = m3\nshared = m4\n",
     0, 0, 0},
    {"too-many-pci", "At most 8 `pci` lines in a guest.", "[guest a]\nkernel = hello.elf\npci = net 1\n",
     "[guest a]\nkernel = hello.elf\npci = net 1\n", 9, 8, 0},
    {"too-many-networks", "At most 16 networks.",
     "[guest a]\nkernel = hello.elf\nnet = n1\nnet = n2\nnet = n3\nnet = n4\n[guest b]\nkernel = hello.elf\nnet = n5\n"
     "net = n6\nnet = n7\nnet = n8\n[guest c]\nkernel = hello.elf\nnet = n9\nnet = n10\nnet = n11\nnet = n12\n"
     "[guest d]\nkernel = hello.elf\nnet = n13\nnet = n14\nnet = n15\nnet = n16\n[guest e]\nkernel = hello.elf\n"
     "net = n17\n",
     "[guest a]\nkernel = hello.elf\nnet = n1\n[guest e]\nkernel = hello.elf\nnet = n1\n", 0, 0, 0},
    {"memory-not-free", "The memory that `memory-at` names is there, and free.",
     "[guest a]\nkernel = hello.elf\nmemory-at = 3G\n", "[guest a]\nkernel = hello.elf\nmemory-at = 4G\n", 0, 0, 2},
    {"missing-file", "Every file that is named is there and can be read.", "[guest a]\nkernel = helo.elf\n",
     "[guest a]\nkernel = hello.elf\n", 0, 0, 0},
    {"empty-file", "No file that is named is empty.", "[guest a]\nkernel = empty\n", "[guest a]\nkernel = hello.elf\n",
     0, 0, 0},
    {"large-file", "No file that is named has 4 GiB or more: a FAT volume holds none.",
     "[guest a]\nkernel = hello.elf\nmodule = huge\n", "[guest a]\nkernel = hello.elf\nmodule = notes.txt\n", 0, 0, 0},
    {"file-twice",
     "No two files that are named have the same place on the boot volume, where case makes no difference.",
     "[guest a]\nkernel = hello.elf\nmodule = HELLO.ELF\n", "[guest a]\nkernel = hello.elf\nmodule = notes.txt\n", 0, 0,
     0},
    {"bad-image", "The loader accepts the kernel for this guest's memory and protocol.",
     "[guest a]\nkernel = notes.txt\n", "[guest a]\nkernel = hello.elf\n", 0, 0, 0},
};

#endif
