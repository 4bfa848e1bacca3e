/* SPDX-License-Identifier: MIT */
/*
 * The values of `disk`, `net` and `shared`: a file or a name, then options, with commas between.
 *
 *   disk = root.img,ro                 disk = "my disk.img",keep=no,changes=64M
 *   net = lan                          net = lan,mac=52:54:00:12:34:56
 *   shared = board                     shared = board,ro
 */
#include "config/config_internal.h"

#include "hv/base/memory.h"
#include "hv/mm/guest_layout.h"

/* Takes what stands in front of the next comma off a list. False: nothing is left. */
static bool take_option(struct config_piece *rest, struct config_piece *option)
{
    size_t length = 0;

    if (rest->text.length == 0) {
        return false;
    }
    while (length < rest->text.length && rest->text.start[length] != ',') {
        length++;
    }
    *option = config_trim((struct config_piece){{rest->text.start, length}, rest->position});
    length += length < rest->text.length;
    rest->text = (struct text){rest->text.start + length, rest->text.length - length};
    rest->position.column += (uint32_t)length;
    return true;
}

/* Cuts an option at its '='. Without one *value is empty. */
static void cut_option(struct config_piece option, struct config_piece *name, struct config_piece *value)
{
    size_t length = 0;

    while (length < option.text.length && option.text.start[length] != '=') {
        length++;
    }
    *name = config_trim((struct config_piece){{option.text.start, length}, option.position});
    length += length < option.text.length;
    *value = config_trim((struct config_piece){{option.text.start + length, option.text.length - length},
                                               {option.position.line, option.position.column + (uint32_t)length}});
}

/* ---- disks ---- */

bool config_device_cut(struct config_piece value, struct config_piece *first, struct config_piece *options)
{
    bool quoted = value.text.length != 0 && value.text.start[0] == '"';

    *options = value;
    if (quoted) {
        if (!config_take_word(options, first)) {
            return false;
        }
        *options = config_trim(*options);
        if (options->text.length != 0 && options->text.start[0] == ',') {
            options->text = (struct text){options->text.start + 1, options->text.length - 1};
            options->position.column++;
        }
        return true;
    }
    (void)take_option(options, first);
    return true;
}

static bool read_keep(struct config_piece value, struct config_disk *disk)
{
    disk->forget = config_text_alike(value.text, "no");
    return disk->forget || config_text_alike(value.text, "restart");
}

/* False: there is no such option, or its value is none. */
static bool read_disk_option(struct config_piece option, struct config_disk *disk)
{
    struct config_piece name, value;

    cut_option(option, &name, &value);
    if (config_text_alike(name.text, "ro") && value.text.length == 0) {
        disk->read_only = true;
        return true;
    }
    if (config_text_alike(name.text, "keep")) {
        return read_keep(value, disk);
    }
    if (config_text_alike(name.text, "changes")) {
        return config_value_size(value.text, &disk->changes_bytes) && disk->changes_bytes != 0;
    }
    return false;
}

void config_read_disk(struct config_piece path, struct config_piece options, struct config_guest *guest,
                      struct config_errors *errors)
{
    struct config_disk disk = {.path = path.text, .position = path.position};
    struct config_piece option;

    while (take_option(&options, &option)) {
        if (!read_disk_option(option, &disk)) {
            config_report(errors, option.position, "bad-disk",
                          "\"%.*s\" is no option of a disk; there are `ro`, `keep=no`, `keep=restart` and "
                          "`changes=64M`.",
                          TEXT_ARGS(option.text));
            return;
        }
    }
    if (disk.read_only && (disk.forget || disk.changes_bytes != 0)) {
        config_report(errors, path.position, "bad-disk",
                      "A disk that is `ro` has no changes to keep; take `ro` or the other options out.");
        return;
    }
    if (guest->disk_count == CONFIG_DISKS_MAX) {
        config_report(errors, path.position, "too-many-disks", "A guest has at most %u disks; take one out.",
                      CONFIG_DISKS_MAX);
        return;
    }
    guest->disks[guest->disk_count++] = disk;
}

/* ---- networks ---- */

static int32_t hex_digit(char c)
{
    char lower = (char)(c | 0x20);

    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* "52:54:00:12:34:56", or with dashes; the address of one card. */
static bool read_mac(struct text text, uint8_t mac[CONFIG_MAC_BYTES])
{
    if (text.length != 3 * CONFIG_MAC_BYTES - 1) {
        return false;
    }
    for (size_t i = 0; i < CONFIG_MAC_BYTES; i++) {
        int32_t high = hex_digit(text.start[3 * i]);
        int32_t low = hex_digit(text.start[3 * i + 1]);

        if (high < 0 || low < 0 ||
            (i + 1 < CONFIG_MAC_BYTES && text.start[3 * i + 2] != ':' && text.start[3 * i + 2] != '-')) {
            return false;
        }
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return (mac[0] & CONFIG_MAC_GROUP) == 0 && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) != 0;
}

/* Stable and unlikely to meet another: from the names and the card's number. FNV-1a, 64 bits. */
static void make_mac(const struct config_guest *guest, struct text network, uint8_t mac[CONFIG_MAC_BYTES])
{
    const struct text texts[] = {guest->name, text_of("/"), network};
    uint64_t hash = 0xcbf29ce484222325ULL;

    for (size_t t = 0; t < ARRAY_COUNT(texts); t++) {
        for (size_t i = 0; i < texts[t].length; i++) {
            hash = (hash ^ (uint8_t)texts[t].start[i]) * 0x100000001b3ULL;
        }
    }
    hash = (hash ^ guest->net_count) * 0x100000001b3ULL;
    mac[0] = CONFIG_MAC_LOCAL;
    for (size_t i = 1; i < CONFIG_MAC_BYTES; i++) {
        mac[i] = (uint8_t)(hash >> (8 * i));
    }
}

static bool read_net_option(struct config_piece option, struct config_net *net)
{
    struct config_piece name, value;

    cut_option(option, &name, &value);
    return config_text_alike(name.text, "mac") && read_mac(value.text, net->mac);
}

void config_read_net(struct config_piece network, struct config_piece options, struct config_guest *guest,
                     struct config_errors *errors)
{
    struct config_net net = {.network = network.text, .position = network.position};
    struct config_piece option;

    if (!config_is_name(network.text)) {
        config_report(errors, network.position, "bad-network",
                      "\"%.*s\" cannot be a network's name; use 1 to %u letters, digits, '-', '_' or '.', a letter or "
                      "digit first: net = lan.",
                      TEXT_ARGS(network.text), CONFIG_NAME_MAX);
        return;
    }
    make_mac(guest, network.text, net.mac);
    while (take_option(&options, &option)) {
        if (!read_net_option(option, &net)) {
            config_report(errors, option.position, "bad-network",
                          "\"%.*s\" is no option of a network card; there is `mac=52:54:00:12:34:56` (not a group's "
                          "address: the first byte is even).",
                          TEXT_ARGS(option.text));
            return;
        }
    }
    if (guest->net_count == CONFIG_NETS_MAX) {
        config_report(errors, network.position, "too-many-cards", "A guest has at most %u network cards; take one out.",
                      CONFIG_NETS_MAX);
        return;
    }
    guest->nets[guest->net_count++] = net;
}

/* ---- shared memory ---- */

void config_read_shared(struct config_piece name, struct config_piece options, struct config_guest *guest,
                        struct config_errors *errors)
{
    struct config_guest_share share = {.name = name.text, .position = name.position};
    struct config_piece option;

    while (take_option(&options, &option)) {
        if (!config_text_alike(option.text, "ro")) {
            config_report(errors, option.position, "bad-shared", "\"%.*s\" is no option of `shared`; there is `ro`.",
                          TEXT_ARGS(option.text));
        }
        share.read_only = true;
    }
    for (uint32_t i = 0; i < guest->share_count; i++) {
        if (text_equal(guest->shares[i].name, name.text)) {
            config_report(errors, name.position, "bad-shared",
                          "`%.*s` is already in line %u; a guest has a piece of shared memory once.",
                          TEXT_ARGS(name.text), guest->shares[i].position.line);
            return;
        }
    }
    if (guest->share_count == CONFIG_GUEST_SHARES_MAX) {
        config_report(errors, name.position, "too-many-shares",
                      "A guest has at most %u pieces of shared memory; take one out.", CONFIG_GUEST_SHARES_MAX);
        return;
    }
    guest->shares[guest->share_count++] = share;
}

const struct config_share *config_share_named(const struct config *config, struct text name)
{
    for (uint32_t i = 0; i < config->share_count; i++) {
        if (text_equal(config->shares[i].name, name)) {
            return &config->shares[i];
        }
    }
    return NULL;
}

/* Large pages need an alignment of theirs; below that, pages are pages. */
static uint64_t share_alignment(const struct config_share *share)
{
    return share->bytes < 2 * MIB ? PAGE_BYTES : 2 * MIB;
}

uint64_t config_share_pages(const struct config_share *share)
{
    return (share->bytes + share_alignment(share) - PAGE_BYTES) / PAGE_BYTES;
}

uint64_t config_share_start(const struct config_share *share, uint64_t piece)
{
    return align_up(piece, share_alignment(share));
}

void config_rules_share(const struct config_share *share, struct config_errors *errors)
{
    if (share->bytes_position.line == 0) {
        config_report(errors, share->position, "bad-share-size", "[shared %.*s] has no size; add `size = 16M`.",
                      TEXT_ARGS(share->name));
    } else if (share->bytes < PAGE_BYTES || share->bytes > CONFIG_SHARE_BYTES_MAX ||
               (share->bytes & (share->bytes - 1)) != 0) {
        config_report(errors, share->bytes_position, "bad-share-size",
                      "Shared memory is a PCI device's, whose sizes are powers of two: write 4K, 8K, ... up to 64M.");
    }
}

/* ---- networks that are not plain ---- */

const struct config_network *config_network_named(const struct config *config, struct text name)
{
    for (uint32_t i = 0; i < config->network_section_count; i++) {
        if (text_equal(config->networks[i].name, name)) {
            return &config->networks[i];
        }
    }
    return NULL;
}

void config_rules_network(const struct config_network *network, struct config_errors *errors)
{
    if (network->isolated != (network->router.length != 0)) {
        config_report(errors, network->router.length != 0 ? network->router_position : network->position, "isolated",
                      "`isolated = yes` and `router = GUEST` belong together: the guests of such a network reach the "
                      "router alone.");
    }
    if (network->mtu_position.line != 0 && (network->mtu < CONFIG_MTU_MIN || network->mtu > CONFIG_MTU_MAX)) {
        config_report(errors, network->mtu_position, "bad-mtu",
                      "An MTU is from %u to %u; 1500 is Ethernet's, 9000 suits guests that send much.", CONFIG_MTU_MIN,
                      CONFIG_MTU_MAX);
    }
}

/* ---- between guests ---- */

static bool is_on(const struct config_guest *guest, struct text network)
{
    for (uint32_t i = 0; i < guest->net_count; i++) {
        if (text_equal(guest->nets[i].network, network)) {
            return true;
        }
    }
    return false;
}

static void check_network(const struct config *config, const struct config_network *network,
                          struct config_errors *errors)
{
    bool named = false, routed = network->router.length == 0;

    for (uint32_t g = 0; g < config->guest_count; g++) {
        bool on = is_on(&config->guests[g], network->name);

        named = named || on;
        routed = routed || (on && text_equal(config->guests[g].name, network->router));
    }
    if (!named) {
        config_report(errors, network->position, "unused-section",
                      "No guest is on network `%.*s`; add `net = %.*s` to some, or take the section out.",
                      TEXT_ARGS(network->name), TEXT_ARGS(network->name));
    } else if (!routed) {
        config_report(errors, network->router_position, "no-router",
                      "\"%.*s\" is no guest on network `%.*s`; name one, or give it `net = %.*s`.",
                      TEXT_ARGS(network->router), TEXT_ARGS(network->name), TEXT_ARGS(network->name));
    }
}

static void check_shares(const struct config *config, struct config_errors *errors)
{
    bool used[CONFIG_SHARES_MAX] = {false};

    for (uint32_t g = 0; g < config->guest_count; g++) {
        const struct config_guest *guest = &config->guests[g];

        for (uint32_t i = 0; i < guest->share_count; i++) {
            const struct config_share *share = config_share_named(config, guest->shares[i].name);

            if (share == NULL) {
                config_report(errors, guest->shares[i].position, "no-share",
                              "There is no section [shared %.*s]; write one, with its `size`.",
                              TEXT_ARGS(guest->shares[i].name));
            } else {
                used[share - config->shares] = true;
            }
        }
    }
    for (uint32_t i = 0; i < config->share_count; i++) {
        if (!used[i]) {
            config_report(errors, config->shares[i].position, "unused-section",
                          "No guest has `shared = %.*s`; add the line to some, or take the section out.",
                          TEXT_ARGS(config->shares[i].name));
        }
    }
}

static void check_macs(const struct config_guest *one, const struct config_guest *other, struct config_errors *errors)
{
    for (uint32_t a = 0; a < other->net_count; a++) {
        for (uint32_t b = 0; b < (one == other ? a : one->net_count); b++) {
            const struct config_net *net = &other->nets[a];

            if (text_equal(net->network, one->nets[b].network) &&
                memcmp(net->mac, one->nets[b].mac, CONFIG_MAC_BYTES) == 0) {
                config_report(errors, net->position, "mac-twice",
                              "Another card on network `%.*s` has the same address (line %u); write another `mac`.",
                              TEXT_ARGS(net->network), one->nets[b].position.line);
            }
        }
    }
}

uint32_t config_network_index(const struct config *config, struct text network)
{
    uint32_t index = 0;

    for (uint32_t g = 0; g < config->guest_count; g++) {
        for (uint32_t n = 0; n < config->guests[g].net_count; n++) {
            struct text name = config->guests[g].nets[n].network;
            bool first = true;

            if (text_equal(name, network)) {
                return index;
            }
            for (uint32_t at = 0; at < g * CONFIG_NETS_MAX + n && first; at++) {
                const struct config_guest *guest = &config->guests[at / CONFIG_NETS_MAX];

                first = at % CONFIG_NETS_MAX >= guest->net_count ||
                        !text_equal(guest->nets[at % CONFIG_NETS_MAX].network, name);
            }
            index += first;
        }
    }
    return index;
}

/* Each has a page of its own, and an interrupt. */
static void check_mmio(const struct config_guest *guest, struct config_errors *errors)
{
    uint32_t devices = guest->disk_count + guest->net_count + guest->console_virtio + guest->rng;

    if (guest->virtio == VIRTIO_MMIO && devices > GUEST_VIRTIO_MMIO_MAX) {
        config_report(errors, guest->virtio_position, "too-many-mmio",
                      "With `virtio = mmio` a guest has at most %u virtio devices, and `%.*s` has %u; take some out "
                      "(`rng = no` is one), or the line.",
                      GUEST_VIRTIO_MMIO_MAX, TEXT_ARGS(guest->name), devices);
    }
}

void config_rules_devices(struct config *config, struct config_errors *errors)
{
    for (uint32_t i = 0; i < config->network_section_count; i++) {
        check_network(config, &config->networks[i], errors);
    }
    check_shares(config, errors);
    config_rules_pci(config, errors);
    for (uint32_t second = 0; second < config->guest_count; second++) {
        const struct config_guest *guest = &config->guests[second];

        check_mmio(guest, errors);
        for (uint32_t first = 0; first <= second; first++) {
            check_macs(&config->guests[first], guest, errors);
        }
        for (uint32_t n = 0; n < guest->net_count; n++) {
            uint32_t network = config_network_index(config, guest->nets[n].network);

            config->network_count = (uint32_t)max_u64(config->network_count, network + 1);
            if (network >= CONFIG_NETWORKS_MAX) {
                config_report(errors, guest->nets[n].position, "too-many-networks",
                              "At most %u networks are there; let guests share some.", CONFIG_NETWORKS_MAX);
                return;
            }
        }
    }
}
