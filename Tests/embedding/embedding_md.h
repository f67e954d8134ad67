/* What the blocks of docs/embedding.md take for granted. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <gradclip.h>
#include <stdlib.h>

extern float **grads;
extern size_t *lengths, count;
extern gradclip_tensor *tensors;
extern double max_norm, loss_scale;
extern gradclip_status status;
extern gradclip_result result;
extern gradclip_options options;
extern gradclip_accumulator *accumulator;
void skip_this_step(void), optimizer_step(void), adamw_step(double factor), backward_of_layer(size_t layer);

void refused(void);
