/* What the blocks of docs/embedding.md take for granted. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <gradclip.h>
#include <math.h>
#include <stdlib.h>

extern float **grads;
extern size_t *lengths, count;
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
