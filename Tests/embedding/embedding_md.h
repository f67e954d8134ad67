/* What the blocks of docs/embedding.md take for granted. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <gradclip.h>
#include <math.h>
#include <stdlib.h>

extern float **grads;
extern size_t *lengths, count, i;
extern gradclip_tensor *tensors;
extern double max_norm, loss_scale, loss, learning_rate, *tensor_norms, *tensor_coefs;
extern gradclip_status status;
extern gradclip_result result;
extern gradclip_options options;
extern gradclip_accumulator *accumulator;
extern gradclip_chooser *chooser;
extern gradclip_decision decision;
extern gradclip_monitor monitor;
void skip_this_step(void), optimizer_step(void), adamw_step(double factor), backward_of_layer(size_t layer);
void adamw_step_of(size_t tensor, double factor), refused(void);

/* What ggml's headers declare, as far as the block needs it. */
#include <stdbool.h>
struct ggml_tensor { int op; void *data; struct ggml_tensor *src[10]; };
enum { GGML_OP_OPT_STEP_ADAMW = 1 };
int64_t ggml_nelements(const struct ggml_tensor *tensor);
typedef struct ggml_backend_sched *ggml_backend_sched_t;
void ggml_backend_sched_set_eval_callback(ggml_backend_sched_t sched, bool (*callback)(struct ggml_tensor *t, bool ask, void *user_data), void *user_data);
extern ggml_backend_sched_t sched;
/* And what the host has for it. */
extern struct clipping {
    gradclip_tensor *grads;
    size_t parameters, count;
    double max_norm;
    gradclip_options options;
    gradclip_result result;
} clipping;
