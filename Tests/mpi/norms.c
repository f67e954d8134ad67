/*
 * norms FOLDER: a saved gradient (saved_gradient.py), sharded over the ranks at random
 * again and again. Norm, coefficient and clipped gradients are the oracle's, to the
 * bit, for any number of ranks; rank 0 prints the norms for run.sh to compare.
 */
#include "sharding.h"

#include <math.h>

enum { LONGEST = 20000, ROUNDS = 40 };

static unsigned char saved[LONGEST * 8], data[LONGEST * 8], clipped[LONGEST * 8];

static size_t read_file(const char *folder, const char *name, void *to)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        MPI_Abort(MPI_COMM_WORLD, 2);
        exit(2);
    }
    size_t size = fread(to, 1, LONGEST * 8, file);
    fclose(file);
    return size;
}

static const struct element_type *type_named(const char *name)
{
    for (int i = 0; i < ELEMENT_TYPES; i++)
        if (!strcmp(element_types[i].name, name)) return &element_types[i];
    return NULL;
}

/* One call with a list; or an accumulator to which the pieces are added one by one. */
static gradclip_status clip(sharding *s, double max_norm, double p, const gradclip_options *options, int piecewise,
                            gradclip_mpi_result *found)
{
    gradclip_accumulator *accumulator = NULL;
    if (!piecewise) return gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, s->mine, s->count, max_norm, p, options, found);
    CHECK_STATUS(gradclip_accumulator_create(p, options, &accumulator), GRADCLIP_OK);
    for (size_t i = s->count; i-- > 0;) CHECK_STATUS(gradclip_accumulator_add(accumulator, s->mine + i, 1), GRADCLIP_OK);
    gradclip_status status = gradclip_mpi_accumulator_clip(MPI_COMM_WORLD, accumulator, s->mine, s->count, max_norm, found);
    gradclip_accumulator_free(accumulator);
    return status;
}

static void the_oracles_bits_for_any_cut(const char *folder)
{
    char path[4096], line[512], dtype[16], file[64];
    double p, max_norm, total_norm, clip_coef;
    int cases = 0;
    (void)snprintf(path, sizeof path, "%s/cases.txt", folder);
    FILE *list = fopen(path, "r");
    CHECK(list != NULL, "%s", path);
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
        if (sscanf(line, "%15s %lf %lf %lf %lf %63s", dtype, &p, &max_norm, &total_norm, &clip_coef, file) != 6) break;
        const struct element_type *t = type_named(dtype);
        size_t length = read_file(folder, (strcat(strcpy(path, dtype), ".bin"), path), saved) / t->size;
        CHECK(read_file(folder, file, clipped) == length * t->size, "%s", file);
        cases++;
        for (int round = 0; round < ROUNDS; round++) {
            gradclip_mpi_result found;
            memcpy(data, saved, length * t->size);
            sharding s = cut(data, length, t, 1);
            messages = message_bytes = 0;
            CHECK_STATUS(clip(&s, max_norm, p, NULL, round & 1, &found), GRADCLIP_OK);
            CHECK(messages == (isinf(p) ? 2 : 1) && message_bytes == (isinf(p) ? 208 : 192), "%d messages of %d bytes", messages, message_bytes);
            CHECK_NUMBER(found.all.total_norm, total_norm);
            CHECK_NUMBER(found.all.clip_coef, clip_coef);
            CHECK(found.rank == -1 && found.all.nonfinite_count == 0 && found.all.first_tensor == GRADCLIP_NONE, "non-finite?");
            for (size_t i = 0; i < s.count; i++) {
                size_t start = s.start[s.piece_of[i]] * t->size;
                CHECK(same_bits(data + start, clipped + start, s.mine[i].length * t->size), "%s, p %g: a shard", dtype, p);
            }
            /* Nothing of another rank's was touched. */
            for (size_t i = 0; i < s.pieces; i++)
                if (s.owner[i] != my_rank)
                    CHECK(same_bits(data + s.start[i] * t->size, saved + s.start[i] * t->size, s.length[i] * t->size), "piece %zu", i);
            if (my_rank == 0 && round == 0) printf("%s p=%g %a %a\n", dtype, p, found.all.total_norm, found.all.clip_coef);
        }
    }
    if (list != NULL) fclose(list);
    CHECK(cases == 9, "%d cases", cases);
}

/* What is not exact takes other messages; cut at blocks it has the bits of one call. */
static void every_order(void)
{
    static const double orders[] = {3, 0.5, 2.7, -1, -INFINITY, 100, 1, 2};
    for (int round = 0; round < 60; round++) {
        const struct element_type *t = &element_types[below(ELEMENT_TYPES)];
        double p = orders[below(8)], max_norm = below(2) ? 1e-3 : INFINITY;
        size_t length = below(LONGEST);
        unsigned middle = (unsigned)all_ones(t->exponent_bits) / 2;
        gradclip_options options = default_options();
        gradclip_mpi_result found;
        gradclip_result whole = new_result();
        options.grad_scale = below(2) ? 1 : 1024;
        options.exact_f64 = t->dtype == GRADCLIP_F64 && (p == 1 || p == 2) ? (uint32_t)below(2) : 0;
        fill_random(saved, length, t, middle - 3, 5);
        memcpy(data, saved, length * t->size);
        memcpy(clipped, saved, length * t->size);
        gradclip_tensor list = tensor_of(clipped, length, t->dtype);
        CHECK_STATUS(gradclip_clip_grad_norm(&list, 1, max_norm, p, &options, &whole), GRADCLIP_OK);
        sharding s = cut(data, length, t, options.exact_f64 ? 1 : 4096);
        CHECK_STATUS(clip(&s, max_norm, p, &options, round & 1, &found), GRADCLIP_OK);
        CHECK(same_bits(&found.all.total_norm, &whole.total_norm, 8), "%s, p %g: %a, one call %a", t->name, p, found.all.total_norm, whole.total_norm);
        for (size_t i = 0; i < s.count; i++) {
            size_t start = s.start[s.piece_of[i]] * t->size;
            CHECK(same_bits(data + start, clipped + start, s.mine[i].length * t->size), "%s, p %g: a shard", t->name, p);
        }
        /* Cut anywhere: near it, the same on every rank, and the same when done again. */
        sharding any = cut(saved, length, t, 1);
        double norms[2], lowest, highest;
        for (int i = 0; i < 2; i++) {
            CHECK_STATUS(gradclip_mpi_defer_clip(MPI_COMM_WORLD, any.mine, any.count, INFINITY, p, &options, &found), GRADCLIP_OK);
            norms[i] = found.all.total_norm;
        }
        CHECK_NUMBER(norms[0], norms[1]);
        MPI_Allreduce(norms, &lowest, 1, MPI_DOUBLE, MPI_MIN, MPI_COMM_WORLD);
        MPI_Allreduce(norms, &highest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        CHECK_NUMBER(lowest, highest);
        CHECK(fabs(norms[0] - whole.total_norm) <= 1e-12 * whole.total_norm, "%s, p %g: %a, one call %a", t->name, p, norms[0], whole.total_norm);
    }
}

int main(int argc, char **argv)
{
    begin(&argc, &argv);
    CHECK(argc == 2, "usage: norms FOLDER");
    the_oracles_bits_for_any_cut(argv[1]);
    every_order();
    return end("norms");
}
