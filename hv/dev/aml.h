/* SPDX-License-Identifier: MIT */
/*
 * AML, front to back into a table. ACPI 6.5, 20.2 "AML Grammar Definition", 6.4 "Resource Data Types for ACPI".
 *
 * A package of AML starts with its own length, which is only known at its end. It is always written in the three-byte
 * form, so that it can be filled in afterwards.
 */
#ifndef HV_DEV_AML_H
#define HV_DEV_AML_H

#include "hv/dev/table_writer.h"

#define AML_ZERO 0x00u
#define AML_NAME 0x08u
#define AML_SCOPE 0x10u
#define AML_PACKAGE 0x12u
#define AML_METHOD 0x14u
#define AML_ARG0 0x68u
#define AML_ARG3 0x6bu
#define AML_STORE 0x70u
#define AML_IF 0xa0u
#define AML_RETURN 0xa4u
#define AML_ROOT '\\'

/* What begins a package: a scope, a device, a method, a buffer. Its start is what the end is given. */
uint64_t aml_package_begin(struct table_writer *out);
void aml_package_end(struct table_writer *out, uint64_t start);

void aml_byte(struct table_writer *out, uint8_t value);
void aml_dword(struct table_writer *out, uint32_t value);
void aml_string(struct table_writer *out, const char *text);
void aml_name(struct table_writer *out, const char *name);

/* Ends with aml_package_end(). */
uint64_t aml_device_begin(struct table_writer *out, const char *name);
uint64_t aml_method_begin(struct table_writer *out, const char *name, uint8_t arguments);

/* _HID or _CID: an EISA id such as "PNP0A03". */
void aml_eisa_name(struct table_writer *out, const char *name, const char *id);
void aml_device_ids(struct table_writer *out, const char *hid, uint8_t uid);

/* Name (_CRS, ResourceTemplate () {...}): a buffer whose size is only known at its end. */
struct aml_crs {
    uint64_t package;
    uint64_t size_at;
};

struct aml_crs aml_crs_begin(struct table_writer *out);
void aml_crs_end(struct table_writer *out, struct aml_crs crs);
void aml_crs_io(struct table_writer *out, uint16_t port, uint8_t ports);
void aml_crs_irq(struct table_writer *out, unsigned irq);
void aml_crs_fixed_memory(struct table_writer *out, uint32_t start, uint32_t bytes);

enum aml_space {
    AML_SPACE_MEMORY = 0,
    AML_SPACE_IO = 1,
    AML_SPACE_BUS = 2,
};

/* What a bridge passes on, [first, last]. width: of the numbers, 2, 4 or 8 bytes. */
void aml_crs_window(struct table_writer *out, enum aml_space space, unsigned width, uint64_t first, uint64_t last);

#endif
