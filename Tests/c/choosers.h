/* What the tests of choosers share: choosers, decisions, saved states. */
#ifndef CHOOSERS_H
#define CHOOSERS_H

#include "check.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>

static inline gradclip_chooser_options defaults_of(uint32_t kind)
{
    gradclip_chooser_options options;
    CHECK_STATUS(gradclip_chooser_options_init(&options, sizeof options, kind), GRADCLIP_OK);
    return options;
}

static inline gradclip_chooser *new_chooser(const gradclip_chooser_options *options)
{
    gradclip_chooser *made = NULL;
    CHECK_STATUS(gradclip_chooser_create(options, &made), GRADCLIP_OK);
    if (!made) exit(2);
    return made;
}

static inline gradclip_chooser *new_kind(uint32_t kind)
{
    gradclip_chooser_options options = defaults_of(kind);
    return new_chooser(&options);
}

static inline gradclip_decision new_decision(void)
{
    gradclip_decision d;
    CHECK_STATUS(gradclip_decision_init(&d, sizeof d), GRADCLIP_OK);
    return d;
}

static inline gradclip_decision fed(gradclip_chooser *chooser, double norm, gradclip_status expected)
{
    gradclip_decision d = new_decision();
    CHECK_STATUS(gradclip_chooser_feed(chooser, norm, NULL, &d), expected);
    return d;
}

struct bytes { unsigned char *data; size_t size; };

static inline struct bytes exported(const gradclip_chooser *chooser)
{
    struct bytes b = {NULL, 0};
    CHECK_STATUS(gradclip_chooser_export(chooser, NULL, &b.size), GRADCLIP_OK);
    b.data = malloc(b.size);
    CHECK_STATUS(gradclip_chooser_export(chooser, b.data, &b.size), GRADCLIP_OK);
    return b;
}

static inline double random_norm(void) { return ldexp(1 + (double)(next_random() >> 12) * 0x1p-52, (int)below(12) - 6); }

/* A chooser of each kind that has seen `steps` steps. */
static inline gradclip_chooser *seasoned(uint32_t kind, int steps)
{
    gradclip_chooser_options options = defaults_of(kind);
    if (kind == GRADCLIP_ZCLIP) options.warmup_steps = 5;
    if (kind == GRADCLIP_ADAGC) options.warmup_steps = 3;
    if (kind == GRADCLIP_SKIPSTEP) options.window = 16;
    gradclip_chooser *chooser = new_chooser(&options);
    gradclip_decision d = new_decision();
    for (int i = 0; i < steps; i++) {
        double norms[] = {random_norm(), random_norm(), i % 3 ? random_norm() : -1}, loss = random_norm() - 3;
        gradclip_status status = kind == GRADCLIP_ADAGC ? gradclip_chooser_feed_tensors(chooser, norms, 3, &d)
                                                        : gradclip_chooser_feed(chooser, norms[0], &loss, &d);
        CHECK(status == GRADCLIP_OK || status == GRADCLIP_SKIP_STEP, "status %d", (int)status);
    }
    return chooser;
}

#endif
