/* Saved choosers: restored they decide the same; damaged and forged bytes are refused as a whole. */
#include "choosers.h"

enum { BAD_DATA = GRADCLIP_ERROR_BAD_DATA };

static uint64_t word_at(const unsigned char *data, size_t i)
{
    uint64_t word;
    memcpy(&word, data + 8 * i, 8);
    return word;
}

/* Puts the right checksum at the end. */
static void seal(struct bytes b)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i + 8 < b.size; i++) hash = (hash ^ b.data[i]) * UINT64_C(0x100000001b3);
    memcpy(b.data + b.size - 8, &hash, 8);
}

static void damaged_bytes(void)
{
    for (uint32_t kind = 1; kind <= 4; kind++) {
        gradclip_chooser *chooser = seasoned(kind, 9), *other = seasoned(kind % 4 + 1, 9), *target = seasoned(kind, 4);
        struct bytes good = exported(chooser), before = exported(target), foreign = exported(other);
        unsigned char *copy = malloc(good.size + 16);
        memset(copy, 0, good.size + 16);
        for (size_t i = 0; i < good.size; i++) {
            memcpy(copy, good.data, good.size);
            copy[i] ^= (unsigned char)(1u << below(8));
            CHECK_STATUS(gradclip_chooser_import(target, copy, good.size), BAD_DATA);
        }
        memcpy(copy, good.data, good.size);
        for (size_t size = 0; size < good.size; size++) CHECK_STATUS(gradclip_chooser_import(target, copy, size), BAD_DATA);
        CHECK_STATUS(gradclip_chooser_import(target, copy, good.size + 8), BAD_DATA);
        CHECK_STATUS(gradclip_chooser_import(target, foreign.data, foreign.size), BAD_DATA);
        CHECK(strstr(gradclip_last_error(), "bytes") == gradclip_last_error(), "%s", gradclip_last_error());
        gradclip_accumulator *accumulator;
        unsigned char bytes[1024];
        size_t size = sizeof bytes;
        gradclip_accumulator_create(2, NULL, &accumulator);
        gradclip_accumulator_export(accumulator, bytes, &size);
        CHECK_STATUS(gradclip_chooser_import(target, bytes, size), BAD_DATA);
        gradclip_accumulator_free(accumulator);
        struct bytes after = exported(target);
        CHECK(after.size == before.size && same_bits(after.data, before.data, after.size), "refused bytes changed the chooser");
        /* At an odd address. */
        memmove(copy + 1, good.data, good.size);
        CHECK_STATUS(gradclip_chooser_import(target, copy + 1, good.size), GRADCLIP_OK);
        free(after.data);
        after = exported(target);
        CHECK(after.size == good.size && same_bits(after.data, good.data, good.size), "kind %u", kind);
        free(copy), free(good.data), free(before.data), free(foreign.data), free(after.data);
        gradclip_chooser_free(chooser), gradclip_chooser_free(other), gradclip_chooser_free(target);
    }
}

/* Bytes with the right checksum that no export made: refused, or a chooser that works. */
static void forged_bytes(void)
{
    static const uint64_t words[] = {0, 1, 2, 7, 1000000, 1000001, UINT64_MAX, INT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 61,
                                     UINT64_C(0x7ff0000000000000), UINT64_C(0x7ff8000000000000), UINT64_C(0xfff0000000000000),
                                     UINT64_C(0xbff0000000000000), UINT64_C(0x3ff0000000000000), UINT64_C(0x7fefffffffffffff)};
    enum { FIXED = 19 };
    unsigned accepted = 0, refused_ones = 0;
    for (uint32_t kind = 1; kind <= 4; kind++)
        for (int round = 0; round < 3000; round++) {
            gradclip_chooser *chooser = seasoned(kind, (int)below(12));
            struct bytes b = exported(chooser);
            size_t count = b.size / 8;
            for (size_t changes = 1 + below(3); changes--;) {
                size_t i = round % 2 ? 1 + below(FIXED - 1) : 1 + below(count - 2);
                uint64_t word = below(3) ? words[below(sizeof words / sizeof *words)] : next_random();
                memcpy(b.data + 8 * i, &word, 8);
            }
            if (below(8) == 0) b.size -= 8 * below(count - FIXED);
            seal(b);
            gradclip_status status = gradclip_chooser_import(chooser, b.data, b.size);
            CHECK(status == GRADCLIP_OK || status == BAD_DATA, "status %d", (int)status);
            if (status) refused_ones++;
            else accepted++;
            gradclip_decision d = new_decision();
            for (int i = 0; i < 20; i++) {
                double loss = random_norm();
                gradclip_chooser_feed(chooser, random_norm(), &loss, &d);
            }
            struct bytes after = exported(chooser);
            free(b.data), free(after.data);
            gradclip_chooser_free(chooser);
        }
    CHECK(accepted > 100 && refused_ones > 1000, "%u accepted, %u refused", accepted, refused_ones);
    /* What the kind does not keep, or out of order. */
    gradclip_chooser *autoclip = seasoned(GRADCLIP_AUTOCLIP, 4);
    struct bytes b = exported(autoclip);
    CHECK(word_at(b.data, 16) == 4 && b.size == 8 * (FIXED + 4 + 1), "%zu bytes", b.size);
    static const struct { uint64_t norms, bins, losses, first, second, third, fourth; gradclip_status expected; } rows[] = {
        {4, 0, 0, 0, 0, 0, 0, GRADCLIP_OK},  {0, 2, 0, 5, 1, 6, 1, GRADCLIP_OK},         {0, 2, 0, 6, 1, 5, 1, BAD_DATA},
        {0, 2, 0, 5, 1, 5, 1, BAD_DATA},     {0, 2, 0, 5, 0, 6, 1, BAD_DATA},            {0, 2, 0, 5, 1, 2047 << 9, 1, BAD_DATA},
        {0, 2, 0, 5, 1, 6, UINT64_MAX, BAD_DATA}, {2, 1, 0, 0, 0, 5, 1, BAD_DATA},       {2, 0, 2, 0, 0, 0, 0, BAD_DATA},
        {4, 0, 0, 0, UINT64_C(1) << 63, 0, 0, BAD_DATA}, {UINT64_C(1) << 63, UINT64_C(1) << 62, 4, 0, 0, 0, 0, BAD_DATA}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(b.data + 8 * 16, &rows[i], 7 * 8);
        seal(b);
        CHECK_STATUS(gradclip_chooser_import(autoclip, b.data, b.size), rows[i].expected);
        fed(autoclip, 1, GRADCLIP_OK);
    }
    free(b.data);
    gradclip_chooser_free(autoclip);
}

/* A state of an older or younger library of this version: fewer or more words of options. */
static void states_that_grow(void)
{
    for (uint32_t kind = 1; kind <= 4; kind++) {
        gradclip_chooser *chooser = seasoned(kind, 9), *target = seasoned(kind, 4);
        struct bytes good = exported(chooser);
        gradclip_chooser_options fresh = defaults_of(kind);
        uint64_t words = word_at(good.data, 1) / 8;
        CHECK(words == sizeof(gradclip_chooser_options) / 8, "%llu", (unsigned long long)words);
        for (uint64_t given = 2; given < words + 8; given++) {
            struct bytes b = {calloc(1, good.size + 64), good.size + 8 * given - 8 * words};
            size_t shared = 8 * (given < words ? given : words);
            memcpy(b.data, good.data, 8 + shared);
            memcpy(b.data + 8 + 8 * given, good.data + 8 + 8 * words, good.size - 8 - 8 * words);
            uint64_t stated = 8 * given;
            memcpy(b.data + 8, &stated, 8);
            seal(b);
            CHECK_STATUS(gradclip_chooser_import(target, b.data, b.size), GRADCLIP_OK);
            if (given >= words) {
                struct bytes after = exported(target);
                CHECK(after.size == good.size && same_bits(after.data, good.data, good.size), "kind %u, %llu words", kind,
                      (unsigned long long)given);
                free(after.data);
            } else {
                struct bytes after = exported(target);
                CHECK(same_bits(after.data + 8 + shared, (char *)&fresh + shared, 8 * words - shared), "kind %u: what lacks has its default", kind);
                free(after.data);
            }
            /* A field that this library does not know, and that says something. */
            if (given > words) {
                b.data[8 + 8 * words] = 1;
                seal(b);
                CHECK_STATUS(gradclip_chooser_import(target, b.data, b.size), BAD_DATA);
            }
            free(b.data);
        }
        free(good.data);
        gradclip_chooser_free(chooser), gradclip_chooser_free(target);
    }
}

int main(void)
{
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    damaged_bytes();
    forged_bytes();
    states_that_grow();
    return checks_summary("chooser_states");
}
