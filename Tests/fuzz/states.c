/* Bytes that come from outside: states of accumulators and choosers, as they are and
 * with a changed byte. Whatever they hold, they are taken or refused as a whole. */
#include "input.h"

static void check_accumulator(input *in) {
    const double p = take_double(in);
    const gradclip_options options = take_options(in);
    gradclip_accumulator *accumulator = NULL;
    if (gradclip_accumulator_create(p, &options, &accumulator) != GRADCLIP_OK) {
        REQUIRE(accumulator == NULL, "an error, and an accumulator");
        return;
    }
    if (take_byte(in) & 1) {
        list grads = take_list(in, 0);
        REQUIRE(gradclip_accumulator_add(accumulator, grads.tensors, grads.count) == GRADCLIP_OK, "%s", gradclip_last_error());
        release(&grads);
    }
    uint8_t state[1024];
    size_t size = sizeof state;
    REQUIRE(gradclip_accumulator_export(accumulator, state, &size) == GRADCLIP_OK && size <= 1024, "%s", gradclip_last_error());
    /* One byte is changed: the checksum must notice. */
    const size_t at = (take_byte(in) << 8 | take_byte(in)) % size;
    const uint8_t change = take_byte(in);
    state[at] ^= change;
    const gradclip_status status = gradclip_accumulator_import(accumulator, state, size);
    REQUIRE(status == (change ? GRADCLIP_ERROR_BAD_DATA : GRADCLIP_OK), "status %d for byte %zu changed by %u", status, at, change);
    /* And bytes from nowhere, in memory of just their size. */
    void *block, *foreign = place(in->size, 0, &block);
    memcpy(foreign, in->bytes, in->size);
    gradclip_accumulator_import(accumulator, foreign, in->size);
    free(block);
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    REQUIRE(gradclip_accumulator_finish(accumulator, 1.0, &result) >= 0, "%s", gradclip_last_error());
    gradclip_accumulator_free(accumulator);
}

static double feed(gradclip_chooser *chooser, double norm, double loss, uint32_t *action) {
    gradclip_decision decision;
    gradclip_decision_init(&decision, sizeof decision);
    const gradclip_status status = gradclip_chooser_feed(chooser, norm, &loss, &decision);
    REQUIRE(status >= 0 || !(norm >= 0 || norm != norm), "%s", gradclip_last_error());
    if (status >= 0) REQUIRE(decision.clip_coef >= 0 && decision.clip_coef <= 1, "clip_coef %a", decision.clip_coef);
    *action = decision.action;
    return decision.threshold;
}

static void check_chooser(input *in) {
    gradclip_chooser_options options;
    const uint32_t kind = 1 + take_byte(in) % 4;
    REQUIRE(gradclip_chooser_options_init(&options, sizeof options, kind) == GRADCLIP_OK, "%s", gradclip_last_error());
    const uint8_t what = take_byte(in);
    if (what & 1) options.mode = take_byte(in) % 4;
    if (what & 2) options.window = take_byte(in);
    if (what & 4) options.warmup_steps = take_byte(in) % 40;
    if (what & 8) options.percentile = take_double(in);
    if (what & 16) options.decay = take_double(in);
    if (what & 32) options.z_threshold = take_double(in);
    if (what & 64) options.max_norm = take_double(in);
    if (what & 128) options.eps = take_double(in);
    gradclip_chooser *chooser = NULL, *other = NULL;
    if (gradclip_chooser_create(&options, &chooser) != GRADCLIP_OK) {
        REQUIRE(chooser == NULL && *gradclip_last_error() != '\0', "an error, and a chooser");
        return;
    }
    const unsigned steps = take_byte(in);
    uint32_t action, again;
    for (unsigned i = 0; i < steps; i++) {
        const double loss = take_double(in);
        feed(chooser, fabs(take_double(in)), loss, &action);
    }

    size_t size = 0;
    gradclip_chooser_export(chooser, NULL, &size);
    REQUIRE(size > 0 && size < 1 << 20, "size %zu", size);
    void *block;
    uint8_t *state = place(size, 0, &block);
    REQUIRE(gradclip_chooser_export(chooser, state, &size) == GRADCLIP_OK, "%s", gradclip_last_error());
    gradclip_chooser_options plain;
    gradclip_chooser_options_init(&plain, sizeof plain, kind);
    REQUIRE(gradclip_chooser_create(&plain, &other) == GRADCLIP_OK, "%s", gradclip_last_error());
    /* Restored, it decides as the first one does. */
    REQUIRE(gradclip_chooser_import(other, state, size) == GRADCLIP_OK, "%s", gradclip_last_error());
    for (int i = 0; i < 3; i++) {
        const double norm = fabs(take_double(in)), loss = take_double(in);
        const double first = feed(chooser, norm, loss, &action), second = feed(other, norm, loss, &again);
        REQUIRE(same(first, second) && action == again, "%a before, %a restored", first, second);
    }
    const size_t at = (take_byte(in) << 8 | take_byte(in)) % size;
    const uint8_t change = take_byte(in);
    state[at] ^= change;
    const gradclip_status status = gradclip_chooser_import(other, state, size);
    REQUIRE(status == (change ? GRADCLIP_ERROR_BAD_DATA : GRADCLIP_OK), "status %d for byte %zu changed by %u", status, at, change);
    free(block);
    void *foreign = place(in->size, 0, &block);
    memcpy(foreign, in->bytes, in->size);
    gradclip_chooser_import(other, foreign, in->size);
    feed(other, 1.0, 1.0, &action);
    free(block);
    gradclip_chooser_free(chooser);
    gradclip_chooser_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    if (take_byte(&in) & 1) check_chooser(&in);
    else check_accumulator(&in);
    return 0;
}
