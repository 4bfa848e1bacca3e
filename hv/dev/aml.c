/* SPDX-License-Identifier: MIT */
/* AML. See aml.h. */
#include "hv/dev/aml.h"

#include "hv/base/memory.h"

#define AML_BYTE 0x0au
#define AML_WORD 0x0bu
#define AML_DWORD 0x0cu
#define AML_STRING 0x0du
#define AML_BUFFER 0x11u
#define AML_EXTENDED 0x5bu
#define AML_DEVICE 0x82u

/* A three-byte package length: bits 3:0 in the first byte, which says "two more", and 19:4 in these. 20.2.4. */
#define LENGTH_BYTES 3u
#define LENGTH_MAX 0xfffffu
#define LENGTH_LEAD 0x80u

uint64_t aml_package_begin(struct table_writer *out)
{
    uint64_t start = out->used;

    writer_zeroes(out, LENGTH_BYTES);
    return start;
}

void aml_package_end(struct table_writer *out, uint64_t start)
{
    uint64_t length = out->used - start;

    if (length > LENGTH_MAX) {
        out->full = true;
    }
    writer_patch(out, start, LENGTH_LEAD | (length & 15u) | (length >> 4 & 0xffffu) << 8, LENGTH_BYTES);
}

void aml_byte(struct table_writer *out, uint8_t value)
{
    writer_u8(out, AML_BYTE);
    writer_u8(out, value);
}

void aml_string(struct table_writer *out, const char *text)
{
    writer_u8(out, AML_STRING);
    writer_text(out, text);
    writer_u8(out, 0);
}

void aml_dword(struct table_writer *out, uint32_t value)
{
    writer_u8(out, AML_DWORD);
    writer_uint(out, value, 4);
}

void aml_name(struct table_writer *out, const char *name)
{
    writer_u8(out, AML_NAME);
    writer_text(out, name);
}

uint64_t aml_device_begin(struct table_writer *out, const char *name)
{
    uint64_t start;

    writer_u8(out, AML_EXTENDED);
    writer_u8(out, AML_DEVICE);
    start = aml_package_begin(out);
    writer_text(out, name);
    return start;
}

uint64_t aml_method_begin(struct table_writer *out, const char *name, uint8_t arguments)
{
    uint64_t start;

    writer_u8(out, AML_METHOD);
    start = aml_package_begin(out);
    writer_text(out, name);
    writer_u8(out, arguments);
    return start;
}

/* "PNP0A03" as EISAID() packs it: three letters of five bits, then four hex digits, most significant byte first. */
static uint32_t eisa_id(const char *id)
{
    uint32_t value = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 | (uint32_t)(id[2] - '@') << 16;

    for (unsigned i = 3; i < 7; i++) {
        uint32_t digit = id[i] <= '9' ? (uint32_t)(id[i] - '0') : (uint32_t)(id[i] - 'A') + 10;

        value |= digit << (4 * (6 - i));
    }
    return __builtin_bswap32(value);
}

void aml_eisa_name(struct table_writer *out, const char *name, const char *id)
{
    aml_name(out, name);
    aml_dword(out, eisa_id(id));
}

void aml_device_ids(struct table_writer *out, const char *hid, uint8_t uid)
{
    aml_eisa_name(out, "_HID", hid);
    aml_name(out, "_UID");
    aml_byte(out, uid);
}

struct aml_crs aml_crs_begin(struct table_writer *out)
{
    struct aml_crs crs;

    aml_name(out, "_CRS");
    writer_u8(out, AML_BUFFER);
    crs.package = aml_package_begin(out);
    writer_u8(out, AML_WORD); /* the size */
    crs.size_at = out->used;
    writer_uint(out, 0, 2);
    return crs;
}

void aml_crs_end(struct table_writer *out, struct aml_crs crs)
{
    writer_u8(out, 0x79); /* end tag, 6.4.2.9; checksum 0: not used */
    writer_u8(out, 0);
    writer_patch(out, crs.size_at, out->used - crs.size_at - 2, 2);
    aml_package_end(out, crs.package);
}

/* 6.4.2.5 "I/O Port Descriptor": 16-bit decode, fixed place. */
void aml_crs_io(struct table_writer *out, uint16_t port, uint8_t ports)
{
    writer_u8(out, 0x47);
    writer_u8(out, 1);
    writer_uint(out, port, 2);
    writer_uint(out, port, 2);
    writer_u8(out, 1);
    writer_u8(out, ports);
}

/* 6.4.2.1 "IRQ Descriptor" without flags: edge-triggered, active high, exclusive. */
void aml_crs_irq(struct table_writer *out, unsigned irq)
{
    writer_u8(out, 0x22);
    writer_uint(out, 1u << irq, 2);
}

/* 6.4.3.4 "32-Bit Fixed Memory Range Descriptor": read-write. */
void aml_crs_fixed_memory(struct table_writer *out, uint32_t start, uint32_t bytes)
{
    writer_u8(out, 0x86);
    writer_uint(out, 9, 2);
    writer_u8(out, 1);
    writer_uint(out, start, 4);
    writer_uint(out, bytes, 4);
}

/* 6.4.3.5 "Address Space Resource Descriptors": producer, fixed minimum and maximum, positive decode. */
void aml_crs_window(struct table_writer *out, enum aml_space space, unsigned width, uint64_t first, uint64_t last)
{
    static const uint8_t type_flags[] = {[AML_SPACE_MEMORY] = 0x01 /* read-write, non-cacheable */,
                                         [AML_SPACE_IO] = 0x03 /* the entire range */,
                                         [AML_SPACE_BUS] = 0x00};

    writer_u8(out, width == 2 ? 0x88 : width == 4 ? 0x87 : 0x8a);
    writer_uint(out, 3 + 5 * width, 2);
    writer_u8(out, (uint8_t)space);
    writer_u8(out, 0x0c);
    writer_u8(out, type_flags[space]);
    writer_uint(out, 0, width); /* granularity */
    writer_uint(out, first, width);
    writer_uint(out, last, width);
    writer_uint(out, 0, width); /* translation */
    writer_uint(out, last - first + 1, width);
}
