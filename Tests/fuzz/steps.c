/* The job in separate steps, values, scaling, reports and the log. */
#include "../c/dl_tensor.h"
#include "input.h"
#include "reference.h"

static void check_value(const list *grads, const list *before, double limit) {
    for (size_t i = 0; i < grads->count; i++)
        for (uint64_t k = 0; k < grads->tensors[i].length; k++) {
            const double x = element(&before->tensors[i], k), y = element(&grads->tensors[i], k);
            /* The limit in the element's own type is within a part in 128 of it, or as infinite. */
            if (x != x) REQUIRE(y != y, "a NaN became %a", y);
            else REQUIRE(y == x ? fabs(x) <= limit * 1.01 + 0x1p-24 || limit > 60000
                                : fabs(x) >= limit * 0.99 - 0x1p-24 && signbit(x) == signbit(y) && fabs(y) <= fabs(x) &&
                                      fabs(y) >= limit * 0.99 - 0x1p-24 && fabs(y) <= limit * 1.01 + 0x1p-24,
                         "%a became %a, limit %a", x, y, limit);
        }
}

static void check_inspect(const list *grads, double p, const gradclip_options *options, bool valid) {
    gradclip_report reports[MOST_TENSORS];
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    const gradclip_status status = gradclip_inspect(grads->tensors, grads->count, p, options, reports, sizeof *reports, &result);
    if (!valid) {
        REQUIRE(status == GRADCLIP_ERROR_INVALID_ARGUMENT, "status %d", status);
        return;
    }
    REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
    for (size_t i = 0; i < grads->count; i++) {
        uint64_t nan = 0, up = 0, down = 0, zero = 0, first = GRADCLIP_NONE;
        double largest = 0;
        for (uint64_t k = 0; k < grads->tensors[i].length; k++) {
            const double x = element(&grads->tensors[i], k);
            if (!isfinite(x) && first == GRADCLIP_NONE) first = k;
            nan += isnan(x), up += x == INFINITY, down += x == -INFINITY, zero += x == 0;
            if (isfinite(x) && fabs(x) > largest) largest = fabs(x);
        }
        REQUIRE(reports[i].nan_count == nan && reports[i].positive_infinity_count == up &&
                    reports[i].negative_infinity_count == down && reports[i].zero_count == zero &&
                    reports[i].first_nonfinite == first && reports[i].length == grads->tensors[i].length,
                "report of tensor %zu", i);
        const double scaled = largest / options->grad_scale;
        REQUIRE(fabs(reports[i].max_abs - scaled) <= scaled * 1e-15 + 5e-324 || isinf(scaled), "max_abs %a, expected %a", reports[i].max_abs, scaled);
    }
}

/* The norm of differences has the bits of that of an array of them, where sums are exact. */
static void check_difference(input *in, const list *grads, double p, const gradclip_options *options) {
    gradclip_accumulator *of_pairs = NULL, *of_copies = NULL;
    list minus = *grads, copies = *grads;
    gradclip_result got, wanted;
    gradclip_result_init(&got, sizeof got);
    gradclip_result_init(&wanted, sizeof wanted);
    const bool made = gradclip_accumulator_create(p, options, &of_pairs) == GRADCLIP_OK;
    if (!made) return;
    REQUIRE(gradclip_accumulator_create(p, options, &of_copies) == GRADCLIP_OK, "%s", gradclip_last_error());
    for (size_t i = 0; i < grads->count; i++) {
        gradclip_tensor *y = &minus.tensors[i], *d = &copies.tensors[i];
        y->dtype = 1 + take_byte(in) % 4, y->flags = 0, d->dtype = GRADCLIP_F64;
        y->data = place(y->length * element_size(y->dtype), take_byte(in) % 16, &minus.blocks[i]);
        d->data = place(d->length * 8, 0, &copies.blocks[i]);
        uint8_t pattern[8];
        take(in, pattern, sizeof pattern);
        for (uint64_t k = 0; k < y->length; k++) {
            if (k % 64 == 63) take(in, pattern, sizeof pattern);
            memcpy((char *)y->data + k * element_size(y->dtype), pattern, element_size(y->dtype));
            const double difference = element(&grads->tensors[i], k) - element(y, k);
            memcpy((char *)d->data + k * 8, &difference, 8);
        }
    }
    REQUIRE(gradclip_accumulator_add_difference(of_pairs, grads->tensors, minus.tensors, grads->count) == GRADCLIP_OK, "%s", gradclip_last_error());
    REQUIRE(gradclip_accumulator_add(of_copies, copies.tensors, grads->count) == GRADCLIP_OK, "%s", gradclip_last_error());
    REQUIRE(gradclip_accumulator_finish(of_pairs, 1.0, &got) >= 0 && gradclip_accumulator_finish(of_copies, 1.0, &wanted) >= 0, "%s", gradclip_last_error());
    const bool is_exact = isinf(p) || p == 0 || (options->exact_f64 && (p == 1 || p == 2));
    REQUIRE(same(got.total_norm, wanted.total_norm) || (!is_exact && fabs(got.total_norm - wanted.total_norm) <= wanted.total_norm * (1e-14 + 1e-15 / fabs(p)) + 5e-324),
            "p %a: %a, of copies %a", p, got.total_norm, wanted.total_norm);
    REQUIRE(got.nonfinite_count == wanted.nonfinite_count && got.nan_count == wanted.nan_count && got.first_tensor == wanted.first_tensor &&
                got.first_element == wanted.first_element, "counts");
    gradclip_accumulator_free(of_pairs);
    gradclip_accumulator_free(of_copies);
    release(&minus);
    release(&copies);
}

/* A list as the calls for one type take it. */
typedef struct typed {
    uint32_t dtype; /* GRADCLIP_F32, GRADCLIP_F64; 0: the calls for mixed lists */
    float *singles[MOST_TENSORS];
    double *doubles[MOST_TENSORS];
    size_t lengths[MOST_TENSORS];
} typed;

/* CALL(name, arguments after the list...) in the form that the input chose. */
#define CALL(NAME, ...) \
    (form.dtype == GRADCLIP_F32   ? NAME##_f32(form.singles, form.lengths, grads.count, __VA_ARGS__) \
     : form.dtype == GRADCLIP_F64 ? NAME##_f64(form.doubles, form.lengths, grads.count, __VA_ARGS__) \
                                  : NAME(grads.tensors, grads.count, __VA_ARGS__))

typedef struct lines {
    unsigned csv, warnings;
    char last[256];
} lines;

static void take_line(void *user_data, uint32_t kind, const char *text) {
    lines *taken = user_data;
    if (kind == GRADCLIP_LOG_CSV) taken->csv++;
    else taken->warnings++;
    REQUIRE(kind <= GRADCLIP_LOG_WARNING && strlen(text) < sizeof taken->last && strchr(text, '\n') == NULL, "line %s", text);
    if (kind == GRADCLIP_LOG_CSV) strcpy(taken->last, text);
}

/* A number of a line, and the step to the next one. An empty cell is NaN. */
static double next_cell(char **at) {
    char *const cell = *at, *end = cell + strcspn(cell, ",");
    *at = *end ? end + 1 : end;
    char *stop = cell;
    const double value = end == cell ? NAN : strtod(cell, &stop);
    REQUIRE(end == cell || stop == end, "cell %.*s", (int)(end - cell), cell);
    return value;
}

/* Any numbers at all in a result: every line has eight cells, which read back as they were. */
static void check_log(input *in, const gradclip_result *found) {
    gradclip_result result = *found;
    if (result.nonfinite_count == 0) result.first_tensor = GRADCLIP_NONE; /* as every call leaves it */
    lines taken = {0};
    gradclip_monitor monitor;
    gradclip_monitor_init(&monitor, sizeof monitor);
    monitor.callback = take_line, monitor.user_data = &taken;
    take(in, &monitor.step, sizeof monitor.step);
    for (unsigned i = 0; i < 3; i++) {
        const double rate = take_double(in), loss = take_double(in);
        result.total_norm = take_double(in), result.clip_coef = take_double(in);
        if (take_byte(in) & 1) {
            take(in, &result.nonfinite_count, 8);
            take(in, &result.first_tensor, 16);
            if (result.nonfinite_count == 0) result.first_tensor = GRADCLIP_NONE; /* as every call leaves it */
        }
        gradclip_decision decision;
        gradclip_decision_init(&decision, sizeof decision);
        const bool decided = take_byte(in) & 1;
        decision.threshold = take_double(in), decision.action = take_byte(in) % 3;
        const uint64_t step = monitor.step;
        REQUIRE(gradclip_monitor_log(&monitor, &rate, &loss, &result, decided ? &decision : NULL) == GRADCLIP_OK, "%s", gradclip_last_error());
        char *at = taken.last;
        REQUIRE(strtoull(at, &at, 10) == step && *at++ == ',' && monitor.step == step + 1, "step in %s", taken.last);
        const double expected[] = {result.total_norm, result.clip_coef, rate, loss};
        for (int k = 0; k < 4; k++) {
            const double cell = next_cell(&at);
            REQUIRE(same(cell, expected[k]), "cell %d of %s, expected %a", k + 1, taken.last, expected[k]);
        }
        REQUIRE(strtoull(at, &at, 10) == result.nonfinite_count && *at++ == ',', "count in %s", taken.last);
        const bool told = result.nonfinite_count > 0;
        REQUIRE(told ? strtoull(at, &at, 10) == result.first_tensor : true, "tensor in %s", taken.last);
        REQUIRE(*at++ == ',' && (told ? strtoull(at, &at, 10) == result.first_element : true) && *at++ == ',', "element in %s", taken.last);
        if (decided) {
            const double cell = next_cell(&at);
            static const char *const actions[] = {"pass", "clip", "skip"};
            REQUIRE(same(cell, decision.threshold) && strcmp(at, actions[decision.action]) == 0, "the end of %s", taken.last);
        } else {
            REQUIRE(strcmp(at, ",") == 0, "the end of %s", taken.last);
        }
    }
    REQUIRE(taken.csv == 4 && taken.warnings <= 3, "%u lines, %u warnings", taken.csv, taken.warnings);
}

/* What takes no gradients. */
static void check_settings(input *in) {
    int32_t status;
    uint32_t threads;
    take(in, &status, sizeof status);
    take(in, &threads, sizeof threads);
    REQUIRE(strlen(gradclip_status_string(status)) > 0 && strlen(gradclip_isa()) > 0, "no text");
    REQUIRE(gradclip_version() == GRADCLIP_VERSION && strcmp(gradclip_version_string(), GRADCLIP_VERSION_STRING) == 0, "version");
    gradclip_set_num_threads(threads);
    const uint32_t used = gradclip_get_num_threads();
    REQUIRE(threads ? used == (threads < 256 ? threads : 256) : used >= 1 && used <= 256, "%u threads set, %u used", threads, used);
    gradclip_set_num_threads(0);
}

/* An object of another library, and what it says of itself through DLPack. */
typedef struct object {
    int failure;
    struct dl_tensor says;
    int64_t shape[4], strides[4];
} object;

static int read_object(void *one, void *dl_tensor) {
    const object *told = one;
    memcpy(dl_tensor, &told->says, sizeof told->says);
    return told->failure;
}

/* Rows up to the first object that is no row; an oracle of each. */
static void check_dlpack(input *in) {
    static const struct { uint8_t code, bits; uint32_t dtype; } types[] = {{2, 32, GRADCLIP_F32}, {2, 64, GRADCLIP_F64}, {2, 16, GRADCLIP_F16}, {4, 16, GRADCLIP_BF16}, {0, 32, 0}, {2, 8, 0}};
    object objects[4];
    void *pointers[4];
    gradclip_tensor rows[4];
    size_t good = 0, count = take_byte(in) % 5;
    bool is_good = true;
    for (size_t i = 0; i < count; i++) {
        object *o = memset(&objects[i], 0, sizeof *objects);
        pointers[i] = o;
        const uint8_t odd = take_byte(in);
        const int type = take_byte(in) % 8 < 6 ? (int)(odd % 4) : 4 + odd % 2;
        o->failure = odd == 0xff ? -1 : 0;
        o->says.data = odd == 0xfe ? NULL : o;
        o->says.device_type = odd == 0xfd ? 2 : 1;
        o->says.code = types[type].code, o->says.bits = types[type].bits, o->says.lanes = odd == 0xfc ? 2 : 1;
        o->says.ndim = take_byte(in) % 5;
        o->says.byte_offset = take_byte(in);
        int64_t length = 1;
        bool is_dense = true;
        for (int k = o->says.ndim - 1; k >= 0; k--) {
            o->shape[k] = take_byte(in) % 5;
            const uint8_t stride = take_byte(in);
            o->strides[k] = stride < 0xf0 ? length : (int8_t)stride;
            is_dense &= o->shape[k] == 1 || o->strides[k] == length;
            length *= o->shape[k];
        }
        if (o->says.ndim > 0) o->says.shape = o->shape;
        if (take_byte(in) & 1) o->says.strides = o->strides;
        else is_dense = true;
        is_good &= o->failure == 0 && o->says.device_type == 1 && o->says.lanes == 1 && types[type].dtype != 0 &&
                   (length == 0 || (is_dense && o->says.data != NULL));
        good += is_good;
    }
    const gradclip_status status = gradclip_tensors_from_dlpack(pointers, count, read_object, rows);
    REQUIRE(status == (good == count ? GRADCLIP_OK : GRADCLIP_ERROR_UNSUPPORTED), "status %d after %zu of %zu", status, good, count);
    for (size_t i = 0; i < good; i++) {
        const object *o = &objects[i];
        uint64_t length = 1;
        for (int k = 0; k < o->says.ndim; k++) length *= (uint64_t)o->shape[k];
        REQUIRE(rows[i].length == length && (length == 0 || rows[i].data == (char *)o->says.data + o->says.byte_offset), "row %zu: %llu elements", i, (unsigned long long)rows[i].length);
        REQUIRE(element_size(rows[i].dtype) * 8 == o->says.bits && (rows[i].dtype == GRADCLIP_BF16) == (o->says.code == 4) && rows[i].flags == 0 && rows[i].device_type == 1, "row %zu: dtype %u", i, rows[i].dtype);
    }
}

/* Tensors in a small room, or in parts of it far from each other, against every pair. */
static void check_overlap(input *in) {
    gradclip_tensor list[20];
    const size_t count = take_byte(in) % 21;
    const unsigned shift = take_byte(in) % 50;
    for (size_t i = 0; i < count; i++) {
        const uint8_t where = take_byte(in), what = take_byte(in);
        const uintptr_t address = 4096 + where % 64 + ((uintptr_t)(where / 64) << shift);
        list[i] = (gradclip_tensor){.data = (void *)address, .length = what / 4 % 16, .dtype = 1 + what % 4};
    }
    uintptr_t lowest = UINTPTR_MAX;
    bool is_pair[20][20] = {{false}};
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++) {
            const uintptr_t a = (uintptr_t)list[i].data, b = (uintptr_t)list[j].data;
            is_pair[i][j] = a < b + list[j].length * element_size(list[j].dtype) && b < a + list[i].length * element_size(list[i].dtype) && list[i].length && list[j].length;
            if (is_pair[i][j] && (a < b ? a : b) < lowest) lowest = a < b ? a : b;
        }
    size_t first = 77, second = 88;
    REQUIRE(gradclip_find_overlap(list, count, &first, &second) == GRADCLIP_OK, "%s", gradclip_last_error());
    if (lowest == UINTPTR_MAX) REQUIRE(first == count && second == count, "%zu and %zu of %zu do not overlap", first, second, count);
    else REQUIRE(first < second && second < count && is_pair[first][second] && ((uintptr_t)list[first].data == lowest || (uintptr_t)list[second].data == lowest), "%zu and %zu of %zu", first, second, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    const uint8_t chosen = take_byte(&in), what = chosen % 11;
    typed form = {.dtype = what == 5 || what == 6 || what == 8 || what == 10 ? 0 : chosen / 11 % 3};
    const double number = take_double(&in), other = take_double(&in);
    const gradclip_options options = take_options(&in);
    const bool valid = options_are_valid(&options);
    list grads = take_list(&in, form.dtype);
    for (size_t i = 0; i < grads.count; i++) {
        if (form.dtype) grads.tensors[i].flags = 0; /* those calls have none */
        form.singles[i] = grads.tensors[i].data, form.doubles[i] = grads.tensors[i].data;
        form.lengths[i] = grads.tensors[i].length;
    }
    list before = copy_of(&grads);
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    gradclip_status status;
    switch (what) {
    case 0: /* by value */
        status = CALL(gradclip_clip_grad_value, number, &options);
        if (!valid || !(number >= 0)) goto refused;
        REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
        if (number > 0x1p-14 && number < 60000) check_value(&grads, &before, number);
        break;
    case 1: /* scaling */
        status = gradclip_scale(grads.tensors, grads.count, number, &options);
        if (!valid || !isfinite(number)) goto refused;
        REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
        if (number == 1) REQUIRE(same_bytes(&grads, &before), "scaled by 1 and written");
        break;
    case 2: /* by a known norm */
        status = CALL(gradclip_clip_grads_with_norm, number, other, &options, &result);
        if (!valid || !(number >= 0) || !(other >= 0)) goto refused;
        REQUIRE(status >= 0, "%s", gradclip_last_error());
        if (status == GRADCLIP_NON_FINITE) REQUIRE(same_bytes(&grads, &before), "NON_FINITE and written");
        break;
    case 3: /* two ways to the same coefficient */
        status = CALL(gradclip_defer_clip, number, other, &options, &result);
        if (!valid || !(number >= 0) || other != other) goto refused;
        REQUIRE(status >= 0, "%s", gradclip_last_error());
        REQUIRE(same_bytes(&grads, &before), "deferred and written");
        gradclip_result clipped;
        gradclip_result_init(&clipped, sizeof clipped);
        const gradclip_status written = gradclip_clip_grad_norm(grads.tensors, grads.count, number, other, &options, &clipped);
        /* What ZERO replaces is still there where nothing is written. */
        const bool still_there = options.nonfinite == GRADCLIP_NONFINITE_ZERO && clipped.nonfinite_count > 0;
        REQUIRE(status == (still_there ? GRADCLIP_NON_FINITE : written), "deferred %d, written %d", status, written);
        REQUIRE(same(clipped.total_norm, result.total_norm) && same(clipped.clip_coef, result.clip_coef), "another coefficient");
        break;
    case 4: /* the coefficient alone */
    {
        double coef = -7;
        status = gradclip_clip_coef(number, other, &options, &coef);
        if (!valid || !(number >= 0) || !(other >= 0)) {
            REQUIRE(coef == -7, "a failing call wrote");
            goto refused;
        }
        REQUIRE(status == GRADCLIP_OK && coef >= 0 && coef <= 1, "clip_coef %a", coef);
        break;
    }
    case 5:
        check_log(&in, &result);
        break;
    case 6:
        check_settings(&in);
        check_overlap(&in);
        break;
    case 8:
        check_dlpack(&in);
        break;
    case 10:
        check_difference(&in, &grads, other, &options);
        REQUIRE(same_bytes(&grads, &before), "subtracted and written");
        break;
    case 7: /* the norm alone, against a call that would clip by it */
        status = CALL(gradclip_get_total_norm, other, &options, &result);
        if (!valid || other != other) goto refused;
        REQUIRE(status >= 0, "%s", gradclip_last_error());
        gradclip_result deferred;
        gradclip_result_init(&deferred, sizeof deferred);
        const gradclip_status deferring = CALL(gradclip_defer_clip, INFINITY, other, &options, &deferred);
        const bool is_there = options.nonfinite == GRADCLIP_NONFINITE_ZERO && result.nonfinite_count > 0;
        REQUIRE(deferring == (is_there ? GRADCLIP_NON_FINITE : status), "deferred %d, measured %d", deferring, status);
        REQUIRE(same(deferred.total_norm, result.total_norm) && deferred.nonfinite_count == result.nonfinite_count, "another norm");
        REQUIRE(result.clip_coef == 1 && same_bytes(&grads, &before), "measured and written");
        break;
    default:
        check_inspect(&grads, other, &options, valid && other == other);
        REQUIRE(same_bytes(&grads, &before), "inspected and written");
    }
    goto done;
refused:
    REQUIRE(status == GRADCLIP_ERROR_INVALID_ARGUMENT, "status %d", status);
    REQUIRE(*gradclip_last_error() != '\0', "no message");
    REQUIRE(same_bytes(&grads, &before), "a failing call wrote");
done:
    release(&grads);
    release(&before);
    return 0;
}
