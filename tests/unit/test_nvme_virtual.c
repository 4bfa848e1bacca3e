/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/nvme_virtual.h on an invented controller: what it can give away it gives up before its reset and
 * not more, each virtual function's controller gets an equal part and is online, a controller without such management
 * is left alone, and each failure is a sentence and ends.
 */
#include "hv/host/nvme_virtual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SECONDARIES 130u /* more than one list has */
#define MEMORY_AT 0x123456000ULL
#define STRIDE_CODE 1u /* doorbells every 8 bytes */
#define QUEUES 300u
#define INTERRUPTS 200u

struct secondary {
    uint16_t id, function, queues, interrupts;
    bool online;
};

static struct nvme_memory memory;

static struct {
    uint32_t configuration, sizes, submission[2], completion[2];
    bool ready, fatal, dead, mute, unknown;
    uint8_t types; /* of what it can give away: queues, interrupts */
    uint32_t tail, head, done, phase;
    uint32_t own[2], wanted[2]; /* what of it can be given away the primary has: now, and after a reset */
    uint32_t each, step, count;
    struct secondary secondaries[SECONDARIES];
    uint32_t refuse; /* the action that it refuses */
    uint32_t commands, resets;
    uint64_t waited_us;
} model;

static void put16(uint32_t at, uint32_t value)
{
    memory.data[at] = (uint8_t)value;
    memory.data[at + 1] = (uint8_t)(value >> 8);
}

static uint32_t sum(uint32_t type)
{
    uint32_t all = 0;

    for (uint32_t i = 0; i < model.count; i++) {
        all += type == 0 ? model.secondaries[i].queues : model.secondaries[i].interrupts;
    }
    return all;
}

/* The status. */
static uint32_t identify(uint32_t word10)
{
    uint32_t told = 0;

    memset(memory.data, 0xee, sizeof(memory.data));
    if ((word10 & 0xff) == 0x14 && model.unknown) {
        return 0x2;
    }
    switch (word10 & 0xff) {
    case 0x14:
        put16(0, 5);
        memory.data[4] = 0xf0 | model.types;
        for (uint32_t type = 0; type < 2; type++) {
            put16(32 + 32 * type, type == 0 ? QUEUES : INTERRUPTS);
            put16(34 + 32 * type, 0);
            put16(44 + 32 * type, model.each);
            put16(46 + 32 * type, model.step);
        }
        break;
    case 0x15:
        for (uint32_t i = 0; i < model.count && told < 127; i++) {
            if (model.secondaries[i].id >= word10 >> 16) {
                put16(32 + 32 * told, model.secondaries[i].id);
                put16(40 + 32 * told, model.secondaries[i].function);
                told++;
            }
        }
        memory.data[0] = (uint8_t)told;
        break;
    default:
        fail();
    }
    return 0;
}

static struct secondary *secondary_of(uint32_t id)
{
    for (uint32_t i = 0; i < model.count; i++) {
        if (model.secondaries[i].id == id) {
            return &model.secondaries[i];
        }
    }
    return NULL;
}

/* 5.22: a status that is not 0 where the controller's state forbids it. */
static uint32_t manage(uint32_t word10, uint32_t amount)
{
    uint32_t action = word10 & 0xf, type = word10 >> 8 & 7;
    struct secondary *secondary = secondary_of(word10 >> 16);

    if (action == model.refuse) {
        return 0x11f;
    }
    if (action == 1) {
        assert_int_equal(word10 >> 16, 5);
        model.wanted[type] = amount;
        return 0;
    }
    if (secondary == NULL) {
        return 0x11f;
    }
    if (action == 7) {
        *secondary = (struct secondary){.id = secondary->id, .function = secondary->function};
    } else if (action == 8) {
        if (secondary->online || amount > model.each ||
            sum(type) + model.own[type] + amount > (type == 0 ? QUEUES : INTERRUPTS)) {
            return 0x121;
        }
        *(type == 0 ? &secondary->queues : &secondary->interrupts) = (uint16_t)amount;
    } else if (action == 9) {
        if (secondary->queues < 2 || secondary->interrupts < 1) {
            return 0x120;
        }
        secondary->online = true;
    } else {
        fail();
    }
    return 0;
}

static void run(void)
{
    while (model.done != model.tail && !model.mute) {
        const uint32_t *words = memory.commands[model.done];
        uint32_t status = 0;

        assert_int_equal(words[0] >> 16, model.done);
        if ((words[0] & 0xff) == 0x06) {
            assert_int_equal(words[6] | (uint64_t)words[7] << 32, MEMORY_AT + offsetof(struct nvme_memory, data));
            status = identify(words[10]);
        } else {
            assert_int_equal(words[0] & 0xff, 0x1c);
            status = manage(words[10], words[11]);
        }
        model.done = (model.done + 1) % NVME_QUEUE;
        memory.answers[model.head][3] = status << 17 | model.phase << 16;
        model.head = (model.head + 1) % NVME_QUEUE;
        model.phase ^= model.head == 0;
        model.commands++;
    }
}

static void configure(uint32_t value)
{
    bool was = model.configuration & 1;

    model.configuration = value;
    if ((value & 1) == 0) {
        model.ready = model.ready && model.dead;
        model.resets += was;
        for (uint32_t i = 0; was && i < model.count; i++) {
            model.secondaries[i].online = false;
        }
        return;
    }
    assert_int_equal(value, 0x00460001);
    assert_int_equal(model.sizes, 0x000f000f);
    assert_int_equal(model.submission[0] | (uint64_t)model.submission[1] << 32, MEMORY_AT);
    assert_int_equal(model.completion[0] | (uint64_t)model.completion[1] << 32,
                     MEMORY_AT + offsetof(struct nvme_memory, answers));
    model.tail = model.head = model.done = 0;
    model.phase = 1;
    model.ready = !model.dead;
}

static uint32_t register_read(void *context, uint32_t offset)
{
    (void)context;
    switch (offset) {
    case 0x00:
        return 2u << 24 | 0x3f;
    case 0x04:
        return STRIDE_CODE;
    case 0x1c:
        return (model.ready ? 1 : 0) | (model.fatal ? 2 : 0);
    default:
        fail();
        return 0;
    }
}

static void register_write(void *context, uint32_t offset, uint32_t value)
{
    (void)context;
    switch (offset) {
    case 0x14:
        configure(value);
        break;
    case 0x24:
        model.sizes = value;
        break;
    case 0x28:
    case 0x2c:
        model.submission[(offset - 0x28) / 4] = value;
        break;
    case 0x30:
    case 0x34:
        model.completion[(offset - 0x30) / 4] = value;
        break;
    case 0x1000:
        assert_true(model.ready);
        model.tail = value;
        run();
        break;
    case 0x1000 + (4u << STRIDE_CODE):
        assert_int_equal(value, model.head);
        break;
    default:
        fail();
    }
}

static void wait_us(void *context, uint32_t us)
{
    (void)context;
    model.waited_us += us;
}

static const struct nvme_io io = {NULL, register_read, register_write, wait_us};
static struct nvme_controller controller;

static void make(uint32_t count)
{
    memset(&model, 0, sizeof(model));
    model.types = 3;
    model.each = 40;
    model.count = count;
    model.own[0] = model.wanted[0] = QUEUES;
    model.own[1] = model.wanted[1] = INTERRUPTS;
    for (uint32_t i = 0; i < count; i++) {
        model.secondaries[i] = (struct secondary){.id = (uint16_t)(i + 6), .function = (uint16_t)(i + 1)};
    }
    controller = (struct nvme_controller){.io = &io, .memory = &memory, .memory_at = MEMORY_AT};
}

/* As between the two calls: what the primary wanted comes true. */
static void reset(void)
{
    model.configuration = 0;
    model.ready = false;
    model.own[0] = model.wanted[0];
    model.own[1] = model.wanted[1];
}

static void each_gets_an_equal_part_and_is_online(void **state)
{
    static const struct {
        uint32_t made, count, step, queues, interrupts;
    } rows[] = {{4, 1, 1, 40, 40}, {4, 4, 0, 40, 40}, {16, 16, 1, 18, 12}, {16, 16, 5, 15, 10}, {130, 130, 1, 2, 1}};
    bool managed;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        make(rows[i].made);
        model.step = rows[i].step;
        assert_null(nvme_virtual_release(&controller, &managed));
        assert_true(managed);
        assert_false(model.ready);
        assert_int_equal(model.wanted[0] + model.wanted[1], 0);
        reset();
        assert_null(nvme_virtual_lend(&controller, rows[i].count));
        assert_true(model.ready);
        assert_true(model.commands > NVME_QUEUE || rows[i].count < 4);
        for (uint32_t n = 0; n < rows[i].made; n++) {
            assert_int_equal(model.secondaries[n].online, n < rows[i].count);
            assert_int_equal(model.secondaries[n].queues, n < rows[i].count ? rows[i].queues : 0);
            assert_int_equal(model.secondaries[n].interrupts, n < rows[i].count ? rows[i].interrupts : 0);
        }
        assert_int_equal(model.waited_us, 0);
    }
}

static void one_without_management_is_left_alone(void **state)
{
    bool managed = true;

    (void)state;
    for (uint8_t types = 0; types < 3; types++) {
        make(4);
        model.types = types;
        model.unknown = types == 1;
        assert_null(nvme_virtual_release(&controller, &managed));
        assert_false(managed);
        assert_int_equal(model.wanted[0], QUEUES);
        assert_int_equal(model.commands, 1);
        assert_false(model.ready);
    }
}

static void each_failure_is_a_sentence_and_ends(void **state)
{
    bool managed;

    (void)state;
    make(4);
    model.dead = true;
    assert_string_equal(nvme_virtual_release(&controller, &managed), "its NVMe controller does not start");
    assert_in_range(model.waited_us, 1500000, 1600000); /* what it says of itself, and a unit more */
    make(4);
    model.dead = model.ready = true;
    assert_string_equal(nvme_virtual_release(&controller, &managed), "its NVMe controller does not stop");
    make(4);
    model.fatal = true;
    assert_string_equal(nvme_virtual_release(&controller, &managed), "its NVMe controller does not start");
    assert_int_equal(model.waited_us, 0);
    make(4);
    model.mute = true;
    assert_string_equal(nvme_virtual_release(&controller, &managed),
                        "its NVMe controller does not answer (command 0x6)");
    assert_int_equal(model.waited_us, 1000000);
    make(4);
    model.refuse = 1;
    assert_string_equal(nvme_virtual_release(&controller, &managed),
                        "its NVMe controller refuses command 0x1c (0x50001, 0x0): status 0x11f");
    make(4);
    reset(); /* nothing was given up */
    model.own[0] = QUEUES;
    assert_string_equal(nvme_virtual_lend(&controller, 1),
                        "its NVMe controller refuses command 0x1c (0x60008, 0x28): status 0x121");
    make(4);
    model.own[0] = model.own[1] = 0;
    assert_string_equal(nvme_virtual_lend(&controller, 255),
                        "its NVMe controller has too few queues or interrupts for 255 virtual functions");
    make(3);
    model.own[0] = model.own[1] = 0;
    assert_string_equal(nvme_virtual_lend(&controller, 4),
                        "its NVMe controller names no controller of virtual function 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_gets_an_equal_part_and_is_online),
        cmocka_unit_test(one_without_management_is_left_alone),
        cmocka_unit_test(each_failure_is_a_sentence_and_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
