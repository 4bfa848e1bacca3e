/* SPDX-License-Identifier: MIT */
/*
 * What a guest can try on the operator's terminal, on the hypervisor's screen and on its neighbours by what it prints.
 * None of it may show but as lines of its own.
 *
 * Command line: attack=NAME,... of the table below; ms=N, how long `flood` and `listen` last; wait=N, how long `talk`
 * waits before it begins.
 */
#include "tests/guests/lib/hostile.h"

const char guest_name[] = "hostile-console";

#define COM1_STATUS (COM1 + 5)
#define STATUS_EMPTY 0x20u
#define STATUS_BYTE 0x01u
#define MS_DEFAULT 3000u
#define TALK_BYTES 8000u
#define TALK_LINE 80u
#define TYPED_MAX 64u

static void put(char byte)
{
    while ((in8(COM1_STATUS) & STATUS_EMPTY) == 0) {
    }
    out8(COM1, (uint8_t)byte);
}

static void say(const char *text)
{
    while (*text != '\0') {
        put(*text++);
    }
}

static void wait_ms(uint32_t ms)
{
    uint64_t start = rdtsc();

    while (rdtsc() - start < (uint64_t)hostile_khz() * ms) {
    }
}

/* Other sources' lines: over the own prefix, in a row that the hypervisor wrote, by a CR, by a cursor that was saved. */
static void forge(void)
{
    say("\b\b\b\b\b\b\b\b\b[bank] forged by backspaces\n");
    say("\x1b[1G\x1b[2Kplinth: error: forged by a column\n");
    say("\rplinth: result forged by a return\n");
    say("\x1b[2D\x1b[20D[bank] forged by cursor left\n");
    say("\x1b[4A\x1b[1G\x1b[2K[bank] forged four lines above\x1b[4B\n");
    say("\x1b"
        "7\x1b[H[bank] forged in the first row\x1b"
        "8\n");
    say("\x1bM\x1bM[bank] forged by reverse line feeds\n");
    say("\x1b[3;1H[bank] forged in the third row\n");
    say("\x1b[2J\x1b[3J\x1b[Hplinth: result forged on an empty screen\n");
    say("\x1b[8m\x1b[30;40mhidden text\n");
}

/* What a terminal answers: it would be typed into the guest that has the focus. */
static void ask(void)
{
    say("\x05\x1b[5n\x1b[6n\x1b[?6n\x1b[c\x1b[0c\x1b[>c\x1b[=c\x1bZ\x1b[x\x1b[18t\x1b[21t\x1b[?1$p\n");
    say("\x1b]10;?\x07\x1b]11;?\x1b\\\x1b]4;1;?\x07\x1b]52;c;?\x07\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x9b"
        "6n\xc2\x9b"
        "6n\n");
    say("\x1b[?1000h\x1b[?1003h\x1b[?1004h\x1b[?2004h\n");
}

/* What takes the terminal away: strings and sequences without an end, other modes, a printer, another character set. */
static void blind(void)
{
    say("\x1b]0;forged title\n");
    say("\x1bPno end\n\x1bXno end\n\x1b^no end\n\x1b_no end\n\x90\x9d\x98\x9e\x9f\n");
    say("\x1b[5i\x1b[?2l\x1b[2h\x1b[12l\x1b(0\x0e\x1b[?7l\x1b[?25l\x1b[?5h\x1b[?1049h\x1b[?69h\x1b[2;2s\x1b[5;6r\x1b[?"
        "6h\x1b[4h\x1b[?2026h\n");
    say("\x1b]4;7;#000000\x07\x1b]10;#000000\x07\x1b]11;#000000\x07\x1b]P7000000\x1b"
        "c\x1b#8\n");
    say("\x1b[3"); /* and what follows is its end */
}

/* Without end, as fast as its UART takes it. */
static void flood(void)
{
    uint32_t ms = hostile_number("ms=", MS_DEFAULT);
    uint64_t start = rdtsc();
    uint32_t bytes = 0;

    interrupts_on();
    while (rdtsc() - start < (uint64_t)hostile_khz() * ms) {
        put(bytes % 64 == 63 ? '\n' : 'x');
        bytes++;
    }
    print("\nflooded %u bytes in %u ms\n", bytes, ms);
}

/* The flood's neighbour: how long does it wait for its UART, as every kernel's early console does? */
static void talk(void)
{
    uint64_t longest = 0;
    uint64_t begin;

    interrupts_on();
    wait_ms(hostile_number("wait=", 0));
    begin = rdtsc();
    for (uint32_t i = 0; i < TALK_BYTES; i++) {
        uint64_t start = rdtsc();

        put(i % TALK_LINE == TALK_LINE - 1 ? '\n' : '.');
        longest = rdtsc() - start > longest ? rdtsc() - start : longest;
    }
    print("%u bytes took %u ms, the longest wait for one byte %u ms\n", TALK_BYTES,
          (uint32_t)((rdtsc() - begin) / hostile_khz()), (uint32_t)(longest / hostile_khz()));
}

/* Nobody types here: what comes is a terminal's answer to another guest's question. */
static void listen(void)
{
    uint32_t ms = hostile_number("ms=", MS_DEFAULT);
    uint64_t start = rdtsc();
    uint32_t count = 0;
    uint8_t bytes[TYPED_MAX];

    say("listening\n");
    while (rdtsc() - start < (uint64_t)hostile_khz() * ms) {
        if ((in8(COM1_STATUS) & STATUS_BYTE) != 0 && count < TYPED_MAX) {
            bytes[count++] = in8(COM1);
        }
    }
    print("%u bytes were typed to it:", count);
    for (uint32_t i = 0; i < count; i++) {
        print(" %x", bytes[i]);
    }
    print("\n");
}

static const struct attack attacks[] = {
    {"forge", forge}, {"ask", ask}, {"blind", blind}, {"flood", flood}, {"talk", talk}, {"listen", listen},
};

void guest_main(void)
{
    hostile_run(attacks, sizeof(attacks) / sizeof(attacks[0]));
    guest_pass();
}
