/* SPDX-License-Identifier: MIT */
/* See hv/dev/bios_rom.h. The code is 16-bit and short enough to be written down; the boot case real-mode runs it. */
#include "hv/dev/bios_rom.h"

#include "guest-loader/bios.h"
#include "hv/base/memory.h"
#include "hv/dev/timebase.h"

#define SIGNATURE_LOW (BIOS_ROM_SIGNATURE & 0xffu)
#define SIGNATURE_HIGH (BIOS_ROM_SIGNATURE >> 8)
#define DATE_AT 0xfff5u
#define MODEL_AT 0xfffeu
#define MODEL_AT_COMPATIBLE 0xfcu

#define VECTOR_EQUIPMENT 0x11u
#define VECTOR_MEMORY 0x12u
#define VECTOR_NO_BOOT_DEVICE 0x18u
#define VECTOR_BOOTSTRAP 0x19u
#define VECTOR_SERVICE_FIRST 0x10u
#define VECTOR_SERVICE_LAST 0x1fu
#define VECTOR_MASTER_FIRST 0x08u
#define VECTOR_MASTER_LAST 0x0fu
#define VECTOR_SLAVE_FIRST 0x70u

/* clang-format off: an instruction or two a line */
/* Each routine finds the vector's number on the stack, below it IP, CS and FLAGS; with BP pushed it is at [bp + 2]. */
static const uint8_t code_service[] = {
    0x55,                                                                             /* push bp */
    0x89, 0xe5,                                                                       /* mov bp, sp */
    0x66, 0x50, 0x52,                                                                 /* push eax; push dx */
    0x88, 0xe0,                                                                       /* mov al, ah */
    0x8a, 0x66, 0x02,                                                                 /* mov ah, [bp + 2] */
    0x66, 0x25, 0xff, 0xff, 0x00,          0x00,                                      /* and eax, 0xffff */
    0x66, 0x0d, 0x00, 0x00, SIGNATURE_LOW, SIGNATURE_HIGH, 0xba, BIOS_ROM_PORT, 0x00, /* mov dx, port */
    0x66, 0xef,                                                                       /* out dx, eax */
    0x5a, 0x66, 0x58,                                                                 /* pop dx; pop eax */
    0x80, 0x4e, 0x08, 0x41, /* or byte [bp + 8], CF | ZF: of the caller's flags */
    0xb4, 0x86,             /* mov ah, 0x86 */
    0x5d,                   /* pop bp */
    0x83, 0xc4, 0x02,       /* add sp, 2 */
    0xcf,                   /* iret */
};

static const uint8_t code_stop[] = {
    0x55,                                                                             /* push bp */
    0x89, 0xe5,                                                                       /* mov bp, sp */
    0x8a, 0x66, 0x02,                                                                 /* mov ah, [bp + 2] */
    0xb0, 0x00,                                                                       /* mov al, 0 */
    0x66, 0x25, 0xff, 0xff, 0x00,          0x00,                                      /* and eax, 0xffff */
    0x66, 0x0d, 0x00, 0x00, SIGNATURE_LOW, SIGNATURE_HIGH, 0xba, BIOS_ROM_PORT, 0x00, /* mov dx, port */
    0x66, 0xef,                                                                       /* out dx, eax */
    0xfa, 0xf4, 0xeb, 0xfc,                                                           /* cli; hlt; and again */
};

/* An interrupt of either 8259. A vector of the master with nothing in service is an exception, but for IR7's, which is
 * the spurious one. It ends where code_stop follows. */
static const uint8_t code_irq[] = {
    0x55, 0x89, 0xe5,             /* push bp; mov bp, sp */
    0x50, 0x1e,                   /* push ax; push ds */
    0x80, 0x7e, 0x02, 0x70,       /* cmp byte [bp + 2], 0x70 */
    0x73, 0x2d,                   /* jae the slave's */
    0xb0, 0x0b, 0xe6, 0x20,       /* mov al, 0x0b; out 0x20, al: read what is in service */
    0xe4, 0x20, 0x84, 0xc0,       /* in al, 0x20; test al, al */
    0x74, 0x31,                   /* jz no interrupt */
    0x80, 0x7e, 0x02, 0x08,       /* cmp byte [bp + 2], 8 */
    0x75, 0x0a,                   /* jne */
    0x6a, 0x40, 0x1f,             /* push 0x40; pop ds */
    0x66, 0xff, 0x06, 0x6c, 0x00, /* inc dword [0x6c] */
    0xcd, 0x1c,                   /* int 0x1c */
    0x80, 0x7e, 0x02, 0x09,       /* cmp byte [bp + 2], 9 */
    0x75, 0x02,                   /* jne */
    0xe4, 0x60,                   /* in al, 0x60: the key */
    0xb0, 0x20, 0xe6, 0x20,       /* the master's EOI */
    0x1f, 0x58, 0x5d,             /* pop ds; pop ax; pop bp */
    0x83, 0xc4, 0x02, 0xcf,       /* add sp, 2; iret */
    0x75, 0x06,                   /* the slave's: jne */
    0xb0, 0x0c, 0xe6, 0x70,       /* the RTC's status C, */
    0xe4, 0x71,                   /* which ends its request */
    0xb0, 0x20, 0xe6, 0xa0,       /* the slave's EOI */
    0xeb, 0xe7,                   /* jmp the master's EOI */
    0x80, 0x7e, 0x02, 0x0f,       /* no interrupt: cmp byte [bp + 2], 0x0f */
    0x74, 0xe5,                   /* je: the spurious one */
    0x1f, 0x58, 0x5d,             /* pop ds; pop ax; pop bp */
};

/* mov ax, [0x410] and [0x413]. */
static const uint8_t code_equipment[] = {0x1e, 0x6a, 0x40, 0x1f, 0xa1, 0x10, 0x00, 0x1f, 0x83, 0xc4, 0x02, 0xcf};
static const uint8_t code_memory[] = {0x1e, 0x6a, 0x40, 0x1f, 0xa1, 0x13, 0x00, 0x1f, 0x83, 0xc4, 0x02, 0xcf};

/* Without a stack: it may be anywhere. */
static const uint8_t code_power_on[] = {
    0x66,          0xb8,           0x00, BIOS_ROM_RESTART,
    SIGNATURE_LOW, SIGNATURE_HIGH,             /* mov eax */
    0xba,          BIOS_ROM_PORT,  0x00,       /* mov dx, port */
    0x66,          0xef,                       /* out dx, eax */
    0xfa,          0xf4,           0xeb, 0xfc, /* cli; hlt; and again */
};

static const uint8_t code_reset[] = {0xea, BIOS_POWER_ON & 0xff, BIOS_POWER_ON >> 8, 0x00, BIOS_SEGMENT >> 8};

/* clang-format on */

/* Where the routines are: behind the stubs. */
#define SERVICE_AT 0xe400u
#define IRQ_AT 0xe440u
#define STOP_AT (IRQ_AT + (uint32_t)sizeof(code_irq))
#define EQUIPMENT_AT 0xe500u
#define MEMORY_AT 0xe510u
_Static_assert(BIOS_STUBS + BIOS_STUB_COUNT * BIOS_STUB_BYTES <= SERVICE_AT, "the stubs end before the routines");
_Static_assert(SERVICE_AT + sizeof(code_service) <= IRQ_AT && STOP_AT + sizeof(code_stop) <= EQUIPMENT_AT, "in order");
_Static_assert(BIOS_POWER_ON + sizeof(code_power_on) <= BIOS_STUBS, "before the stubs");

static void put(uint8_t *rom, uint32_t at, const uint8_t *code, size_t bytes)
{
    memcpy(rom + at, code, bytes);
}

static uint32_t routine_of(uint32_t vector)
{
    if (vector == VECTOR_EQUIPMENT) {
        return EQUIPMENT_AT;
    }
    if (vector == VECTOR_MEMORY) {
        return MEMORY_AT;
    }
    if (vector == VECTOR_NO_BOOT_DEVICE || vector == VECTOR_BOOTSTRAP) {
        return STOP_AT;
    }
    if (vector >= VECTOR_SERVICE_FIRST && vector <= VECTOR_SERVICE_LAST) {
        return SERVICE_AT;
    }
    if ((vector >= VECTOR_MASTER_FIRST && vector <= VECTOR_MASTER_LAST) || vector >= VECTOR_SLAVE_FIRST) {
        return IRQ_AT;
    }
    return STOP_AT;
}

/* push the vector; jmp its routine */
static void put_stub(uint8_t *rom, uint32_t vector)
{
    uint32_t at = BIOS_STUBS + vector * BIOS_STUB_BYTES;
    uint32_t distance = routine_of(vector) - (at + BIOS_STUB_BYTES);

    rom[at] = 0x6a;
    rom[at + 1] = (uint8_t)vector;
    rom[at + 2] = 0xe9;
    rom[at + 3] = (uint8_t)distance;
    rom[at + 4] = (uint8_t)(distance >> 8);
}

void bios_rom_build(uint8_t rom[BIOS_ROM_BYTES])
{
    static const uint8_t iret[] = {0xcf};
    static const uint8_t date[] = {'0', '1', '/', '0', '1', '/', '2', '4'};

    for (uint32_t vector = 0; vector < BIOS_STUB_COUNT; vector++) {
        put_stub(rom, vector);
    }
    put(rom, SERVICE_AT, code_service, sizeof(code_service));
    put(rom, IRQ_AT, code_irq, sizeof(code_irq));
    put(rom, STOP_AT, code_stop, sizeof(code_stop));
    put(rom, EQUIPMENT_AT, code_equipment, sizeof(code_equipment));
    put(rom, MEMORY_AT, code_memory, sizeof(code_memory));
    put(rom, BIOS_POWER_ON, code_power_on, sizeof(code_power_on));
    put(rom, BIOS_IRET, iret, sizeof(iret));
    put(rom, BIOS_RESET, code_reset, sizeof(code_reset));
    put(rom, DATE_AT, date, sizeof(date));
    rom[MODEL_AT] = MODEL_AT_COMPATIBLE;
}

/* ---- the port ---- */

bool bios_rom_is_service(uint16_t port, uint8_t size, uint32_t value, uint32_t *service)
{
    uint32_t vector = value >> 8 & 0xffu;

    *service = value & 0xffffu;
    return port == BIOS_ROM_PORT && size == 4 && value >> 16 == BIOS_ROM_SIGNATURE && vector >= VECTOR_SERVICE_FIRST &&
           vector <= VECTOR_SERVICE_LAST;
}

/* Services have no answer: the access is one that nothing takes. */
static bool write_at(void *state, const struct bus_access *access)
{
    struct bios_port *port = state;
    uint32_t vector = (uint32_t)access->value >> 8 & 0xffu;

    if (access->size != 4 || access->value >> 16 != BIOS_ROM_SIGNATURE) {
        return false;
    }
    if (vector == BIOS_ROM_RESTART) {
        bus_request_power(&port->signals, POWER_RESET_REQUESTED, "the BIOS's reset vector");
    } else if (vector == VECTOR_BOOTSTRAP) {
        bus_request_power(&port->signals, POWER_RESET_REQUESTED, "INT 19h");
    } else if (routine_of(vector) == STOP_AT || routine_of(vector) == IRQ_AT) {
        port->vector = vector;
        bus_request_power(&port->signals, POWER_NO_BIOS, "the BIOS");
    } else {
        return false;
    }
    return true;
}

static bool read_at(void *state, struct bus_access *access)
{
    (void)state;
    (void)access;
    return false;
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    struct bios_port *port = state;

    (void)environment;
    (void)now;
    *port = (struct bios_port){.signals.deadline = DEADLINE_NONE};
}

const struct bus_row bios_port_row = {
    .name = "BIOS port",
    BUS_RANGES(BUS_AT(BUS_PORT, BIOS_ROM_PORT, 4, BIOS_ROM_PORT, 1 | 2 | 4)),
    .read = read_at,
    .write = write_at,
    .reset = reset,
    BUS_STATE(struct bios_port, signals),
};
