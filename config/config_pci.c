/* SPDX-License-Identifier: MIT */
/*
 * `pci`: which of the machine's PCI functions a guest has, by place or by what people know of them, and the rules that
 * say why one cannot be had.
 *
 *   pci = 02:00.0        pci = 0001:02:00.0        the place, with or without the segment
 *   pci = 8086:10d3      pci = 8086:10d3 2         vendor and product; of several that are alike the second
 *   pci = nvme           pci = net 2               a kind
 *   pci = net 2 gsi 17                             behind each: where its interrupt line leads to
 *   pci = net 2 vf 1                               behind each: a virtual function of it (SR-IOV), from 1 on. As many
 *                                                  are made as the highest number that is named
 *
 * They are counted in the order of their places: segment, bus, device, function.
 */
#include "config/config_internal.h"

#include "hv/base/format.h"

#define WHICH_MAX 255u
#define VF_MAX 255u
#define GSI_MAX 1023u /* inputs of all I/O APICs: far more than any machine has */
#define CLASS_BRIDGE 0x06u
#define PLACE_TEXT_MAX 16u

/* "PCI Code and ID Assignment Specification" 1.11, 1: class, subclass, interface. */
static const struct {
    const char *word;
    uint32_t class_code, mask;
} kinds[] = {
    {"nvme", 0x010802, 0xffffff}, {"ahci", 0x010601, 0xffffff}, {"sata", 0x010600, 0xffff00},
    {"disk", 0x010000, 0xff0000}, {"usb", 0x0c0300, 0xffff00},  {"xhci", 0x0c0330, 0xffffff},
    {"net", 0x020000, 0xff0000},  {"gpu", 0x030000, 0xff0000},  {"audio", 0x040000, 0xff0000},
};

/* ---- the value ---- */

/* Takes a number of exactly so many hexadecimal digits off the text's start. */
static bool take_hex(struct text *text, size_t digits, uint32_t *value)
{
    *value = 0;
    if (text->length < digits) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        char c = text->start[i];
        char lower = (char)(c | 0x20);

        if (c >= '0' && c <= '9') {
            *value = *value << 4 | (uint32_t)(c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            *value = *value << 4 | (uint32_t)(lower - 'a' + 10);
        } else {
            return false;
        }
    }
    *text = (struct text){text->start + digits, text->length - digits};
    return true;
}

static bool take_char(struct text *text, char wanted)
{
    if (text->length == 0 || text->start[0] != wanted) {
        return false;
    }
    *text = (struct text){text->start + 1, text->length - 1};
    return true;
}

static bool read_place(struct text text, struct config_pci *pci)
{
    uint32_t segment = 0, bus = 0, device = 0, function = 0;
    struct text rest = text;

    if (!take_hex(&rest, 4, &segment) || !take_char(&rest, ':')) {
        segment = 0;
        rest = text;
    }
    if (!take_hex(&rest, 2, &bus) || !take_char(&rest, ':') || !take_hex(&rest, 2, &device) || !take_char(&rest, '.') ||
        !take_hex(&rest, 1, &function) || rest.length != 0 || device > 31 || function > 7) {
        return false;
    }
    pci->kind = CONFIG_PCI_ADDRESS;
    pci->segment = (uint16_t)segment;
    pci->bus = (uint8_t)bus;
    pci->device = (uint8_t)device;
    pci->function = (uint8_t)function;
    return true;
}

static bool read_id(struct text text, struct config_pci *pci)
{
    uint32_t vendor, product;

    if (!take_hex(&text, 4, &vendor) || !take_char(&text, ':') || !take_hex(&text, 4, &product) || text.length != 0) {
        return false;
    }
    pci->kind = CONFIG_PCI_ID;
    pci->vendor = (uint16_t)vendor;
    pci->product = (uint16_t)product;
    return true;
}

static bool read_kind(struct text text, struct config_pci *pci)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (config_text_alike(text, kinds[i].word)) {
            pci->kind = CONFIG_PCI_CLASS;
            pci->class_code = kinds[i].class_code;
            pci->class_mask = kinds[i].mask;
            return true;
        }
    }
    return false;
}

/* The number of a virtual function, or the pin of an interrupt line, which a virtual function does not have. */
static bool read_part(struct config_piece name, struct config_piece value, struct config_pci *pci)
{
    uint64_t number;

    if (!config_value_number(value.text, &number)) {
        return false;
    }
    if (config_text_alike(name.text, "vf") && number != 0 && number <= VF_MAX) {
        pci->vf = (uint8_t)number;
        return true;
    }
    pci->has_gsi = config_text_alike(name.text, "gsi") && number <= GSI_MAX;
    pci->gsi = pci->has_gsi ? (uint32_t)number : 0;
    return pci->has_gsi;
}

/* What stands behind an ID or a kind: which of several; then, behind a place, too, what read_part() knows. */
static bool read_rest(struct config_piece rest, struct config_pci *pci)
{
    struct config_piece word;
    uint64_t number = 1;

    if (!config_take_word(&rest, &word)) {
        return false;
    }
    if (pci->kind != CONFIG_PCI_ADDRESS && config_value_number(word.text, &number)) {
        if (number == 0 || number > WHICH_MAX || !config_take_word(&rest, &word)) {
            return false;
        }
    } else {
        number = 1;
    }
    pci->which = (uint32_t)number;
    return word.text.length == 0 || read_part(word, rest, pci);
}

void config_read_pci(struct config_piece value, struct config_guest *guest, struct config_errors *errors)
{
    struct config_pci pci = {.text = value.text, .position = value.position};
    struct config_piece rest = value, word;

    if (!config_take_word(&rest, &word) ||
        !(read_place(word.text, &pci) || read_id(word.text, &pci) || read_kind(word.text, &pci)) ||
        !read_rest(rest, &pci)) {
        config_report(errors, value.position, "bad-pci",
                      "\"%.*s\" names no PCI function; write its place (02:00.0), vendor and product (8086:10d3), or "
                      "nvme, ahci, sata, disk, usb, xhci, net, gpu or audio, with a number behind where there are "
                      "several (net 2), behind it `vf 1` for a virtual function of it (SR-IOV), and where its "
                      "interrupt line has to be named `gsi 17`.",
                      TEXT_ARGS(value.text));
        return;
    }
    if (guest->pci_count == CONFIG_PCI_MAX) {
        config_report(errors, value.position, "too-many-pci",
                      "A guest has at most %u functions by `pci`; take one out.", CONFIG_PCI_MAX);
        return;
    }
    guest->pci[guest->pci_count++] = pci;
}

/* ---- within the file ---- */

static bool is_same_function(const struct config_pci *one, const struct config_pci *other)
{
    if (one->kind != other->kind || one->which != other->which) {
        return false;
    }
    if (one->kind == CONFIG_PCI_ADDRESS) {
        return one->segment == other->segment && one->bus == other->bus && one->device == other->device &&
               one->function == other->function;
    }
    return one->kind == CONFIG_PCI_ID ? one->vendor == other->vendor && one->product == other->product
                                      : one->class_code == other->class_code && one->class_mask == other->class_mask;
}

static bool is_same_wish(const struct config_pci *one, const struct config_pci *other)
{
    return is_same_function(one, other) && one->vf == other->vf;
}

/* One is a virtual function of the other. */
static bool is_physical_wish(const struct config_pci *one, const struct config_pci *other)
{
    return is_same_function(one, other) && (one->vf == 0) != (other->vf == 0);
}

static void report_twice(const struct config_guest *owner, const struct config_pci *first,
                         const struct config_pci *second, struct config_errors *errors)
{
    if (first->vf != second->vf) {
        config_report(errors, second->position, "pci-physical",
                      "`pci = %.*s` and `pci = %.*s` of guest `%.*s` (line %u): a function of which virtual functions "
                      "are given is no guest's; take one of the two out.",
                      TEXT_ARGS(second->text), TEXT_ARGS(first->text), TEXT_ARGS(owner->name), first->position.line);
        return;
    }
    config_report(errors, second->position, "pci-two-owners",
                  "`pci = %.*s` is the function that guest `%.*s` has by line %u; a function has one owner.",
                  TEXT_ARGS(second->text), TEXT_ARGS(owner->name), first->position.line);
}

/* The wishes of all guests before this one, in file order: the first that `is_same` holds for. */
static bool find_before(const struct config *config, uint32_t guest, uint32_t index,
                        bool (*is_same)(const struct config_pci *, const struct config_pci *),
                        struct config_errors *errors)
{
    const struct config_pci *wish = &config->guests[guest].pci[index];

    for (uint32_t g = 0; g <= guest; g++) {
        uint32_t count = g == guest ? index : config->guests[g].pci_count;

        for (uint32_t i = 0; i < count; i++) {
            if (is_same(&config->guests[g].pci[i], wish)) {
                report_twice(&config->guests[g], &config->guests[g].pci[i], wish, errors);
                return true;
            }
        }
    }
    return false;
}

/* A line of two guests would let each hold up the other. */
static void check_lines(const struct config *config, uint32_t guest, const struct config_pci *wish,
                        struct config_errors *errors)
{
    for (uint32_t g = 0; wish->has_gsi && g < guest; g++) {
        const struct config_guest *other = &config->guests[g];

        for (uint32_t i = 0; i < other->pci_count; i++) {
            if (other->pci[i].has_gsi && other->pci[i].gsi == wish->gsi) {
                config_report(
                    errors, wish->position, "pci-line-shared",
                    "`gsi %u` is the interrupt line that guest `%.*s` has by line %u; two guests have no line "
                    "together: give both functions to one guest.",
                    wish->gsi, TEXT_ARGS(other->name), other->pci[i].position.line);
                return;
            }
        }
    }
}

void config_rules_pci(const struct config *config, struct config_errors *errors)
{
    for (uint32_t g = 0; g < config->guest_count; g++) {
        const struct config_guest *guest = &config->guests[g];

        if (guest->pci_count != 0 && guest->paging == PAGING_SHADOW) {
            config_report(errors, guest->paging_position, "pci-paging",
                          "A guest with `pci` needs nested paging; take `paging = shadow` out.");
        }
        for (uint32_t i = 0; i < guest->pci_count; i++) {
            if (!find_before(config, g, i, is_same_wish, errors)) {
                (void)find_before(config, g, i, is_physical_wish, errors);
            }
            check_lines(config, g, &guest->pci[i], errors);
        }
    }
}

/* ---- against the machine ---- */

static uint64_t place_number(const struct config_pci_function *function)
{
    return (uint64_t)function->segment << 16 | (uint32_t)function->bus << 8 | (uint32_t)function->device << 3 |
           function->function;
}

static bool fits(const struct config_pci *wish, const struct config_pci_function *function)
{
    switch (wish->kind) {
    case CONFIG_PCI_ADDRESS:
        return function->segment == wish->segment && function->bus == wish->bus && function->device == wish->device &&
               function->function == wish->function;
    case CONFIG_PCI_ID:
        return function->vendor == wish->vendor && function->product == wish->product;
    case CONFIG_PCI_CLASS:
        return (function->class_code & wish->class_mask) == wish->class_code;
    }
    return false;
}

/* The which-th that fits, by place. *count: how many fit at all. NULL: there are not so many. */
static const struct config_pci_function *find(const struct config_machine *machine, const struct config_pci *wish,
                                              uint32_t *count)
{
    const struct config_pci_function *found = NULL;

    *count = 0;
    for (uint32_t i = 0; i < machine->pci_count; i++) {
        const struct config_pci_function *function = &machine->pci[i];
        uint32_t before = 0;

        if (!fits(wish, function)) {
            continue;
        }
        for (uint32_t k = 0; k < machine->pci_count; k++) {
            before += fits(wish, &machine->pci[k]) && place_number(&machine->pci[k]) < place_number(function);
        }
        ++*count;
        found = before + 1 == wish->which ? function : found;
    }
    return found;
}

static const char *place_text(const struct config_pci_function *function, char to[PLACE_TEXT_MAX])
{
    if (function->segment == 0) {
        format_text(to, PLACE_TEXT_MAX, "%02x:%02x.%x", function->bus, function->device, function->function);
    } else {
        format_text(to, PLACE_TEXT_MAX, "%04x:%02x:%02x.%x", function->segment, function->bus, function->device,
                    function->function);
    }
    return to;
}

static void check_virtual(const struct config_pci_function *function, const struct config_pci *wish,
                          struct config_errors *errors)
{
    char place[PLACE_TEXT_MAX];

    if (function->vfs_known && function->vfs == 0) {
        config_report(errors, wish->position, "pci-vf",
                      "%s has no virtual functions (SR-IOV), or the firmware has them off; take `vf %u` out, or switch "
                      "SR-IOV on in the firmware's setup.",
                      place_text(function, place), wish->vf);
    } else if (function->vfs_known && wish->vf > function->vfs) {
        config_report(errors, wish->position, "pci-vf", "%s has %u virtual functions; name one from 1 to %u.",
                      place_text(function, place), function->vfs, function->vfs);
    }
}

static void resolve(const struct config_machine *machine, struct config_pci *wish, struct config_errors *errors)
{
    uint32_t count;
    const struct config_pci_function *function = find(machine, wish, &count);
    char place[PLACE_TEXT_MAX];

    if (function == NULL) {
        config_report(errors, wish->position, "pci-not-there",
                      "This machine has %u PCI function%s for `pci = %.*s`; `inventory = yes` lists what it has in "
                      "machine.txt.",
                      count, count == 1 ? "" : "s", TEXT_ARGS(wish->text));
        return;
    }
    if (function->class_code >> 16 == CLASS_BRIDGE) {
        config_report(errors, wish->position, "pci-bridge",
                      "%s is a bridge, which is the machine's; name what is behind it.", place_text(function, place));
    } else if (function->console) {
        config_report(errors, wish->position, "pci-console",
                      "%s is what the hypervisor's console is on; take the console elsewhere (`console = serial`, "
                      "`console = screen`), or give the guest another function.",
                      place_text(function, place));
    } else if (wish->vf != 0) {
        check_virtual(function, wish, errors);
    } else if (function->messages_known && !function->messages && !function->line && !wish->has_gsi) {
        config_report(
            errors, wish->position, "pci-intx",
            "%s has no interrupt messages (MSI-X, MSI), only an interrupt line, and the firmware does not say "
            "where it leads to; write the input of the I/O APICs behind it (`gsi 17`), as another system on "
            "this machine shows it (Linux: /proc/interrupts).",
            place_text(function, place));
    }
    wish->segment = function->segment;
    wish->bus = function->bus;
    wish->device = function->device;
    wish->function = function->function;
}

/* The same function, or one and a virtual function of it, which the rules within the file have not found. */
static bool is_same_place(const struct config_pci *one, const struct config_pci *other)
{
    bool clash = one->vf == other->vf || one->vf == 0 || other->vf == 0;

    return clash && one->segment == other->segment && one->bus == other->bus && one->device == other->device &&
           one->function == other->function && !is_same_function(one, other);
}

static const struct config_pci_function *at_place(const struct config_machine *machine, const struct config_pci *pci)
{
    struct config_pci wish = *pci;
    uint32_t count;

    wish.kind = CONFIG_PCI_ADDRESS;
    wish.which = 1;
    return find(machine, &wish, &count);
}

/* A virtual function is in its physical one's group only where that is the group of all behind a bridge: functions of
 * one device that can have them reach each other by ACS alone (hv/host/pci_topology.h). */
static bool is_grouped(const struct config_machine *machine, const struct config_pci_function *own,
                       const struct config_pci *wish)
{
    if (own == NULL || own->group == CONFIG_PCI_NO_GROUP) {
        return false;
    }
    for (uint32_t i = 0; wish->vf != 0 && i < machine->pci_count; i++) {
        if (machine->pci[i].group == own->group && machine->pci[i].class_code >> 16 == CLASS_BRIDGE) {
            return true;
        }
    }
    return wish->vf == 0;
}

/* Functions that nothing can tell apart have one owner, and the hypervisor's console is none of them. */
static void check_group(const struct config *config, const struct config_machine *machine, uint32_t owner,
                        const struct config_pci *wish, struct config_errors *errors)
{
    const struct config_pci_function *own = at_place(machine, wish);
    char place[PLACE_TEXT_MAX], other_place[PLACE_TEXT_MAX];

    if (!is_grouped(machine, own, wish)) {
        return;
    }
    for (uint32_t i = 0; i < machine->pci_count; i++) {
        const struct config_pci_function *function = &machine->pci[i];

        if (function != own && function->group == own->group && function->console) {
            config_report(errors, wish->position, "pci-group",
                          "%s and %s, which the hypervisor's console is on, cannot be told apart by the IOMMU; take "
                          "the console elsewhere.",
                          place_text(own, place), place_text(function, other_place));
            return;
        }
    }
    for (uint32_t g = 0; g < owner; g++) {
        for (uint32_t i = 0; i < config->guests[g].pci_count; i++) {
            const struct config_pci *other = &config->guests[g].pci[i];
            const struct config_pci_function *function = at_place(machine, other);

            if (is_grouped(machine, function, other) && (function != own || wish->vf != 0) &&
                function->group == own->group) {
                config_report(errors, wish->position, "pci-group",
                              "%s and %s of guest `%.*s` (line %u) cannot be told apart by the IOMMU (one device, or "
                              "behind one bridge); give both to one guest.",
                              place_text(own, place), place_text(function, other_place),
                              TEXT_ARGS(config->guests[g].name), other->position.line);
                return;
            }
        }
    }
}

void config_check_pci(struct config *config, const struct config_machine *machine, struct config_errors *errors)
{
    for (uint32_t g = 0; g < config->guest_count; g++) {
        struct config_guest *guest = &config->guests[g];
        uint32_t before = errors->count;

        if (guest->pci_count != 0 && machine->no_nested_paging) {
            config_report(errors, guest->pci[0].position, "pci-paging",
                          "A guest with `pci` needs nested paging, which this CPU has not.");
        }
        if (guest->pci_count != 0 && machine->pci_known && !machine->has_iommu) {
            config_report(errors, guest->pci[0].position, "no-iommu",
                          "This machine has no IOMMU, or its firmware has it off (VT-d, AMD-Vi, IOMMU): without one a "
                          "device reaches all memory, so none is given to a guest.");
        }
        for (uint32_t i = 0; machine->pci_known && i < guest->pci_count; i++) {
            resolve(machine, &guest->pci[i], errors);
        }
        for (uint32_t i = 0; machine->pci_known && errors->count == before && i < guest->pci_count; i++) {
            if (!find_before(config, g, i, is_same_place, errors)) {
                check_group(config, machine, g, &guest->pci[i], errors);
            }
        }
    }
}
