/* SPDX-License-Identifier: MIT */
/*
 * Words that people know from libvirt, QEMU, Xen and Firecracker, and that are no keys here: what to do instead today.
 * Words for which there is a key of another name stand in the table of keys (config_key.c). A key that is added with
 * one of these names is found first; its word here then goes.
 */
#include "config/config_internal.h"

struct foreign {
    const char *words;    /* with blanks between */
    const char *sentence; /* behind "`word`: " */
};

static const struct foreign foreigners[] = {
    {"hostdevs device devices gpu rdm irq irqs io", "of the machine a guest has what `pci = 02:00.0` gives it, and by "
                                                    "`ports`, `serial`, `keyboard`, `mmio` and `framebuffer` simple "
                                                    "devices; it has a PC's own devices, `disk` and `net`."},
    {"usb usb-devices usbdevice usbctrl usbdev redirdev hub input tablet",
     "a guest has no USB of its own (`pci = usb` gives it a controller of the machine, `keyboard = ps2` the PS/2 "
     "keyboard); keys reach it by its serial port (Ctrl-] n moves them to the next guest)."},
    {"vnc vnclisten vncpasswd spice sdl graphics display vga vfb video videoram screen nographic stdvga",
     "a guest has no screen but the machine's (`framebuffer = yes`, for one guest); what it prints on its serial port "
     "is on the console. A Linux needs `cmdline = "
     "console=ttyS0`."},
    {"serials uart com1 chardev tty parallel channel hvc",
     "a guest has one serial port, at 0x3f8; `console = yes` or `no` says whether it is on the machine's console, and "
     "`virtio` adds hvc0."},
    {"cdrom cd iso floppy fda boot boot-order bootorder onboot bootloader grub os bios firmware fw uefi ovmf loader "
     "nvram "
     "pflash variables secure-boot",
     "a guest starts from its `kernel`, with no firmware, CD or boot loader; copy kernel and initrd out of its image."},
    {"virtfs fsdev 9p p9 filesystem virtiofs share shared-folder folder mount vsock",
     "there is no host whose folders could be shared; make an image (mke2fs -d FOLDER root.img 1G): `disk = "
     "root.img`."},
    {"balloon memballoon hugepages hugepage huge-pages mem-path mem-prealloc memory-backing memorybacking numa "
     "numatune ksm "
     "swap hotplug",
     "a guest has all of its memory from start to end, in the largest pages that fit; `memory` is all that is said."},
    {"name uuid genid title description smbios sysinfo metadata id os-type ostype",
     "a guest has a name alone, in its section's line: [guest NAME]. Take the line out."},
    {"cpu-model cpumodel machine machine-config accel enable-kvm kvm features hap shadow nested nestedhvm nested-virt "
     "acpi "
     "apic pae nx viridian hyperv smt ht-enabled cpuid arch xen",
     "a guest sees this machine's CPU and a small PC, always the same one. Take the line out."},
    {"clock localtime rtc rtc-timeoffset timer timers tsc tsc-mode timer-mode time-zone timezone",
     "clocks need no setting: a guest has the CPU's TSC, and its RTC shows the machine's time (UTC). Take it out."},
    {"weight cpu-weight cpu-shares shares cap credit credits cputune priority nice realtime scheduler sched iothreads",
     "guests have CPUs of their own by `cpus`; those that share one take turns of `slice = 10ms`. Take the line out."},
    {"autostart start-on-boot startup start order delay depends",
     "all guests of this file start together. Take the line out."},
    {"restart restart-policy reboot-policy on-exit events",
     "write what ends the guest: `on-stop = restart`, `on-crash = restart`, `on-reset = restart`."},
    {"tap uplink ip ip-address address gateway dhcp dns hostfwd forward portforward macvtap vlan iface-id",
     "`net = NAME` joins guests that name the same network; none leads out of the machine. Addresses are set inside."},
    {"mac guest-mac mac-address macaddr hwaddr", "it stands behind its network: `net = lan,mac=52:54:00:12:34:56`."},
    {"snapshot snapshots save restore migrate migration template backup",
     "no state is kept: what a guest writes is gone at power-off (`disk = root.img,keep=no`: at each restart)."},
    {"tpm vtpm sound soundhw audio", "a guest has no such device. Take the line out."},
    {"monitor qmp libvirt logfile log-file logger metrics pidfile daemonize emulator user",
     "there is no host beside the guests; Ctrl-] ? on the console lists what can be done with them. Take it out."},
    {"include import extends defaults default template-file version",
     "one file says all: write the keys into each guest's section. Take the line out."},
};

_Static_assert(ARRAY_COUNT(foreigners) <= CONFIG_FOREIGN_MAX, "struct config_told has room for every sentence");

const char *config_word_elsewhere(struct text word, uint32_t *index)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(foreigners); i++) {
        if (config_text_one_of(word, foreigners[i].words)) {
            *index = i;
            return foreigners[i].sentence;
        }
    }
    return NULL;
}

/* ---- files that are no plinth.conf at all ---- */

static const struct {
    const char *start;
    const char *what;
} formats[] = {
    {"<", "XML, as of libvirt"},
    {"{", "JSON, as of Firecracker"},
    {"[{", "JSON"},
    {"---", "YAML"},
    {"%YAML", "YAML"},
    {"#include <", "C, as of Jailhouse"},
    {"#include \"", "C, as of Jailhouse"},
    {"/*", "C, as of Jailhouse"},
};

const char *config_word_format(struct text line)
{
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
        struct text start = text_of(formats[i].start);

        if (line.length >= start.length && text_equal((struct text){line.start, start.length}, start)) {
            return formats[i].what;
        }
    }
    return NULL;
}
