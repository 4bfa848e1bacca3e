/* SPDX-License-Identifier: MIT */
/*
 * The firmware's description of AMD's IOMMUs: which units there are, which devices each serves and by which number it
 * hears them, and which memory devices of the firmware go on using. Pure: a table of bytes becomes a struct, or is
 * refused with a sentence.
 *
 * A device ID is bus [15:8], device [7:3], function [2:0]. A unit may be described two or three times, by blocks of
 * types 10h, 11h and 40h, of which the highest counts.
 *
 * "AMD I/O Virtualization Technology (IOMMU) Specification" (AMD-Vi) 3.08, 5.2 "I/O Virtualization ACPI Tables".
 */
#ifndef HV_IOMMU_IVRS_H
#define HV_IOMMU_IVRS_H

#include "hv/base/span.h"
#include "hv/base/status.h"
#include "hv/iommu/iommu_table.h"

#define IVRS_UNITS_MAX 32u
#define IVRS_DEVICES_MAX 512u
#define IVRS_SPECIALS_MAX 64u
#define IVRS_NAMES_MAX 32u
#define IVRS_REGIONS_MAX 64u
#define IVRS_HID_BYTES 9u
#define IVRS_UID_BYTES 64u

/* What a device's entry of the device table must have, in the bits of the IVHD's settings byte. AMD-Vi 5.2.2.1 "IVHD
 * Device Entries". */
#define IVRS_SETTING_INIT_PASS 0x01u
#define IVRS_SETTING_EINT_PASS 0x02u
#define IVRS_SETTING_NMI_PASS 0x04u
#define IVRS_SETTING_SYSTEM_SHIFT 4u
#define IVRS_SETTING_SYSTEM_MASK 0x3u
#define IVRS_SETTING_LINT0_PASS 0x40u
#define IVRS_SETTING_LINT1_PASS 0x80u

struct ivrs_unit {
    uint64_t base; /* of its registers */
    uint16_t segment;
    uint16_t device_id;  /* its own function, which has its capability and its interrupt */
    uint16_t capability; /* offset in that function's configuration space */
    uint8_t type;        /* of the block that was taken */
    uint8_t flags;
    uint64_t features; /* the extended feature register's image; 0 of type 10h */
};

/* Device IDs of one unit, first and last included. */
struct ivrs_devices {
    uint16_t unit;
    uint16_t first, last;
    bool has_alias;
    uint16_t alias; /* what the unit hears from all of them */
    uint8_t settings;
};

enum ivrs_special_kind {
    IVRS_SPECIAL_IOAPIC = 1,
    IVRS_SPECIAL_HPET = 2,
};

struct ivrs_special {
    uint16_t unit;
    uint8_t kind; /* enum ivrs_special_kind, or a later one */
    uint8_t id;
    uint16_t device_id; /* as which its interrupts come */
    uint8_t settings;
};

/* A device that ACPI names. */
struct ivrs_name {
    uint16_t unit;
    uint16_t device_id;
    uint8_t settings;
    char hid[IVRS_HID_BYTES];
    char uid[IVRS_UID_BYTES]; /* text, or a number as text; empty: none */
};

/* AMD-Vi 5.2.2.2 "I/O Virtualization Memory Definition (IVMD) Block". */
struct ivrs_region {
    uint64_t start, end; /* whole pages */
    uint16_t segment;
    uint16_t first, last; /* device IDs */
    bool read, write;
    bool excluded; /* from translation: what the devices do there the unit shall not look at */
};

struct ivrs {
    uint32_t info; /* IVinfo */
    struct ivrs_unit units[IVRS_UNITS_MAX];
    uint32_t unit_count;
    struct ivrs_devices devices[IVRS_DEVICES_MAX];
    uint32_t device_count;
    struct ivrs_special specials[IVRS_SPECIALS_MAX];
    uint32_t special_count;
    struct ivrs_name names[IVRS_NAMES_MAX];
    uint32_t name_count;
    struct ivrs_region regions[IVRS_REGIONS_MAX];
    uint32_t region_count;
    char problem[IOMMU_TABLE_PROBLEM_BYTES]; /* why it was refused */
};

/*
 * `table`: the whole table, whose length and checksum are right. STATUS_MALFORMED: a block cannot be, or there is no
 * unit; STATUS_NO_SPACE: more than the arrays take. ivrs->problem says it in both cases, and no unit may be used.
 */
enum status ivrs_read(struct ivrs *ivrs, struct span table);

/* The device ID that the unit hears from this one. */
uint16_t ivrs_alias_of(const struct ivrs *ivrs, uint16_t segment, uint16_t device_id);

#endif
