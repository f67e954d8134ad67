/*
 * What ranks decide together: a NaN anywhere is known everywhere, with its rank,
 * tensor and element; ranks that do not agree, or of which one was refused, all get an
 * error; nothing is written then. Duplicates count once; communicators have norms of
 * their own; MPI's errors come back.
 */
#include "sharding.h"

#include <math.h>

enum { LONGEST = 3000, ROUNDS = 60 };
static const struct element_type *const f32 = &element_types[0];
static float saved[LONGEST], data[LONGEST], expected[LONGEST];

static void random_gradient(size_t length)
{
    fill_random(saved, length, f32, 120, 6);
    memcpy(data, saved, sizeof data);
    memcpy(expected, saved, sizeof expected);
}

static int same_text(const char *text) { return !strcmp(gradclip_last_error(), text); }

/* Non-finite elements in any shard, each policy. */
static void everyone_knows_where_the_nan_is(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        size_t length = 1 + below(LONGEST), bad = 1 + below(3);
        int64_t first[3] = {INT64_MAX, 0, 0};
        gradclip_options options = default_options();
        gradclip_mpi_result found;
        gradclip_result whole = new_result();
        options.nonfinite = (uint32_t)round % 3;
        options.grad_scale = below(2) ? 1 : 4;
        double p = (double[]){2, 1, INFINITY, 3}[round / 3 % 4];
        random_gradient(length);
        sharding s = cut(data, length, f32, 4096); /* (for p = 3 one piece, at any rank) */
        if (p != 3) s = cut(data, length, f32, 1);
        for (size_t b = 0; b < bad; b++) {
            size_t at = below(length);
            saved[at] = data[at] = expected[at] = below(2) ? NAN : -INFINITY;
        }
        /* What this rank should learn: tensors are numbered in each rank's own list. */
        int64_t next[64] = {0};
        for (size_t i = 0; i < s.pieces; i++) {
            int64_t tensor = next[s.owner[i]]++;
            for (size_t j = 0; j < s.length[i]; j++)
                if (!isfinite(saved[s.start[i] + j]) && s.owner[i] < first[0]) first[0] = s.owner[i], first[1] = tensor, first[2] = (int64_t)j;
        }
        gradclip_tensor list = tensor_of(expected, length, GRADCLIP_F32);
        gradclip_status status = gradclip_clip_grad_norm(&list, 1, 0.5, p, &options, &whole);
        messages = 0;
        CHECK_STATUS(gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, s.mine, s.count, 0.5, p, &options, &found), status);
        CHECK(messages == (p == 3 ? 4 : isinf(p) ? 3 : 2), "%d messages", messages);
        CHECK(found.rank == (int)first[0] && (int64_t)found.all.first_tensor == first[1] && (int64_t)found.all.first_element == first[2],
              "rank %d tensor %d element %d, not %d %d %d", found.rank, (int)found.all.first_tensor, (int)found.all.first_element, (int)first[0],
              (int)first[1], (int)first[2]);
        CHECK(found.all.nonfinite_count == whole.nonfinite_count && found.all.nan_count == whole.nan_count, "counts");
        for (size_t i = 0; i < s.count; i++)
            for (size_t j = s.start[s.piece_of[i]], end = j + s.mine[i].length; j < end; j++)
                CHECK(isnan(expected[j]) ? isnan(data[j]) : same_bits(data + j, expected + j, 4), "policy %u, p %g, element %zu: %a, not %a",
                      options.nonfinite, p, j, (double)data[j], (double)expected[j]);
    }
}

/* Of what the ranks have added some clip a part, or nobody clips anything: under ZERO the NaN is then still there. */
static void nobody_says_ok_over_a_nan_that_is_left(void)
{
    for (uint32_t policy = 0; policy < 3; policy++)
        for (int writers = 0; writers < 3; writers++) { /* none, the last rank, all */
            float mine[] = {3, my_rank == 0 ? NAN : 0, 4};
            gradclip_options options = default_options();
            gradclip_accumulator *accumulator = NULL;
            gradclip_mpi_result found;
            gradclip_tensor list[2] = {tensor_of(mine, 3, GRADCLIP_F32), tensor_of(NULL, 0, GRADCLIP_F32)};
            options.nonfinite = policy, options.eps = 0;
            CHECK_STATUS(gradclip_accumulator_create(2, &options, &accumulator), GRADCLIP_OK);
            CHECK_STATUS(gradclip_accumulator_add(accumulator, list, 1), GRADCLIP_OK);
            const int writes = writers == 2 || (writers == 1 && my_rank == rank_count - 1);
            gradclip_status expected = policy == GRADCLIP_NONFINITE_PROPAGATE || (policy == GRADCLIP_NONFINITE_ZERO && writers) ? GRADCLIP_OK
                                                                                                                              : GRADCLIP_NON_FINITE;
            /* Without gradients: no list, or one of empty tensors. */
            CHECK_STATUS(gradclip_mpi_accumulator_clip(MPI_COMM_WORLD, accumulator, writes ? list : list + 1, writes || my_rank % 2, 1, &found), expected);
            CHECK(found.rank == 0 && found.all.first_element == 1 && found.all.nonfinite_count == 1, "rank %d", found.rank);
            if (policy == GRADCLIP_NONFINITE_ZERO) {
                CHECK_NUMBER(found.all.factor, 1 / found.all.total_norm);
                CHECK(my_rank != 0 || !writes || mine[1] == 0, "%g", mine[1]);
            }
            gradclip_accumulator_free(accumulator);
        }
}

static void ranks_that_do_not_agree_all_get_an_error(void)
{
    for (int what = 0; what < 7; what++) {
        gradclip_options options = default_options();
        double p = 2, max_norm = 1;
        int odd = rank_count - 1;
        if (my_rank == odd) {
            if (what == 0) p = 1;
            if (what == 1) p = INFINITY;
            if (what == 2) p = 3;
            if (what == 3) max_norm = 2;
            if (what == 4) options.eps = 0;
            if (what == 5) options.grad_scale = 2;
            if (what == 6) options.nonfinite = GRADCLIP_NONFINITE_ZERO;
        }
        random_gradient(100);
        gradclip_tensor mine = tensor_of(data, 100, GRADCLIP_F32);
        gradclip_mpi_result found;
        gradclip_status status = gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, &mine, 1, max_norm, p, &options, &found);
        if (rank_count == 1) continue;
        CHECK(status == GRADCLIP_ERROR_INVALID_ARGUMENT, "%d", (int)status);
        CHECK(same_text("norm_type, max_norm and options must be the same on all ranks"), "\"%s\"", gradclip_mpi_last_error(&found));
        CHECK(same_bits(data, saved, sizeof data), "written");
    }
}

static void a_rank_that_is_refused_is_an_error_for_all(void)
{
    for (int what = 0; what < 4; what++) {
        gradclip_mpi_result found;
        int odd = rank_count / 2, is_odd = my_rank == odd;
        random_gradient(100);
        gradclip_tensor mine[2] = {tensor_of(data, 50, GRADCLIP_F32), tensor_of(data + 50, 50, is_odd && what == 0 ? 9 : GRADCLIP_F32)};
        if (is_odd && what == 1) mine[1].data = NULL;
        double max_norm = is_odd && what == 2 ? -1 : 1, p = is_odd && what == 3 ? NAN : 2;
        gradclip_status status = gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, mine, 2, max_norm, p, NULL, &found);
        CHECK(status == GRADCLIP_ERROR_INVALID_ARGUMENT, "%d", (int)status);
        static const char *const texts[] = {"grads[1].dtype must be GRADCLIP_F32, F64, F16 or BF16 (got 9)",
                                            "grads[1].data must not be NULL where the length is not 0 (got NULL)",
                                            "max_norm must be a number >= 0 (got -1)", "norm_type must be a number (got nan)"};
        CHECK(same_text(is_odd ? texts[what] : "ranks whose call was refused must be none (got 1)"), "%d: \"%s\"", what, gradclip_last_error());
        CHECK(same_bits(data, saved, sizeof data), "written");
    }
    /* The list that an accumulator is to clip is looked at before anything is sent. */
    gradclip_accumulator *accumulator = NULL;
    gradclip_tensor wrong = tensor_of(data, 50, 9);
    gradclip_mpi_result found;
    CHECK_STATUS(gradclip_accumulator_create(2, NULL, &accumulator), GRADCLIP_OK);
    CHECK_STATUS(gradclip_mpi_accumulator_clip(MPI_COMM_WORLD, accumulator, &wrong, my_rank == 0, 1, &found), GRADCLIP_ERROR_INVALID_ARGUMENT);
    gradclip_accumulator_free(accumulator);
    CHECK_STATUS(gradclip_mpi_accumulator_clip(MPI_COMM_WORLD, NULL, NULL, 0, 1, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
}

/* Every rank holds all of it; each tensor is counted by one rank, and scaled by all. */
static void duplicates_count_once(void)
{
    gradclip_tensor mine[8];
    gradclip_mpi_result found;
    gradclip_result whole = new_result();
    random_gradient(800);
    for (int i = 0; i < 8; i++) {
        mine[i] = tensor_of(data + 100 * i, 100, GRADCLIP_F32);
        if (i % rank_count != my_rank) mine[i].flags = GRADCLIP_UNCOUNTED;
    }
    gradclip_tensor list = tensor_of(expected, 800, GRADCLIP_F32);
    CHECK_STATUS(gradclip_clip_grad_norm(&list, 1, 0.5, 2, NULL, &whole), GRADCLIP_OK);
    CHECK_STATUS(gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, mine, 8, 0.5, 2, NULL, &found), GRADCLIP_OK);
    CHECK_NUMBER(found.all.total_norm, whole.total_norm);
    CHECK(same_bits(data, expected, 800 * sizeof *data), "gradients");
}

/* Even and odd ranks: two norms, two decisions. */
static void each_communicator_has_its_norm(void)
{
    MPI_Comm half;
    gradclip_mpi_result found;
    gradclip_result whole = new_result();
    random_gradient(1000);
    int members, parity = my_rank % 2;
    MPI_Comm_split(MPI_COMM_WORLD, parity, my_rank, &half);
    MPI_Comm_size(half, &members);
    for (int i = 0; i < 1000; i++) expected[i] = saved[i] * (parity ? 1.0f : 0.25f);
    if (parity && my_rank == 1) data[7] = NAN;
    else
        for (int i = 0; i < 1000; i++) data[i] = expected[i];
    gradclip_tensor mine = tensor_of(data, 1000, GRADCLIP_F32), *lists = calloc((size_t)members, sizeof *lists);
    gradclip_status status = gradclip_mpi_defer_clip(half, &mine, 1, 0.5, 2, NULL, &found);
    if (parity) CHECK(status == GRADCLIP_NON_FINITE && found.rank == 0 && found.all.first_element == 7, "%d, rank %d", (int)status, found.rank);
    else {
        for (int i = 0; i < members; i++) lists[i] = tensor_of(expected, 1000, GRADCLIP_F32);
        CHECK_STATUS(gradclip_get_total_norm(lists, (size_t)members, 2, NULL, &whole), GRADCLIP_OK);
        CHECK(status == GRADCLIP_OK, "%d", (int)status);
        CHECK_NUMBER(found.all.total_norm, whole.total_norm);
    }
    free(lists);
    MPI_Comm_free(&half);
}

static int failing_message;
static int fail(int number) { return number == failing_message ? MPI_ERR_OTHER : MPI_SUCCESS; }

/* Each message in turn fails, on all ranks: its error comes back and nothing is written. */
static void an_error_of_mpi_comes_back(void)
{
    static const double orders[] = {2, INFINITY, 3};
    before_message = fail;
    for (int i = 0; i < 3; i++)
        for (failing_message = 1; failing_message <= (i == 0 ? 2 : i == 1 ? 3 : 4); failing_message++) {
            gradclip_mpi_result found;
            gradclip_options options = default_options();
            random_gradient(100);
            options.nonfinite = GRADCLIP_NONFINITE_ZERO;
            data[3] = NAN;
            memcpy(saved, data, sizeof saved);
            gradclip_tensor mine = tensor_of(data, 100, GRADCLIP_F32);
            messages = 0;
            CHECK(gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, &mine, 1, 0.5, orders[i], &options, &found) == GRADCLIP_MPI_ERROR, "p %g, message %d",
                  orders[i], failing_message);
            CHECK(found.mpi_error == MPI_ERR_OTHER && strlen(gradclip_mpi_last_error(&found)) > 5, "\"%s\"", gradclip_mpi_last_error(&found));
            CHECK(same_bits(data, saved, sizeof data), "p %g: written after message %d failed", orders[i], failing_message);
        }
    before_message = NULL;
}

int main(int argc, char **argv)
{
    begin(&argc, &argv);
    everyone_knows_where_the_nan_is();
    nobody_says_ok_over_a_nan_that_is_left();
    ranks_that_do_not_agree_all_get_an_error();
    a_rank_that_is_refused_is_an_error_for_all();
    duplicates_count_once();
    each_communicator_has_its_norm();
    an_error_of_mpi_comes_back();
    return end("decisions");
}
