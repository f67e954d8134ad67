"""gradclip.h in ctypes: its structures and declarations in its own words.

Nothing is checked or converted here beyond what ctypes does; `call` turns a
status into an exception. The header's own comments are the documentation. Its
functions for one type of element (..._f32, ..._f64) are left out: those that take
gradclip_tensor do the same for every type.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, Structure, c_char_p, c_void_p
from typing import Any

from .load import load

_library, library_path = load()

# ---------------------------------------------------------------- constants --

GRADCLIP_OK = 0
GRADCLIP_NON_FINITE = 1
GRADCLIP_SKIP_STEP = 2
GRADCLIP_ERROR_INVALID_ARGUMENT = -1
GRADCLIP_ERROR_UNSUPPORTED = -2
GRADCLIP_ERROR_OUT_OF_MEMORY = -3
GRADCLIP_ERROR_BAD_DATA = -4

GRADCLIP_F32 = 1
GRADCLIP_F64 = 2
GRADCLIP_F16 = 3
GRADCLIP_BF16 = 4

GRADCLIP_UNCOUNTED = 1

GRADCLIP_NONFINITE_LEAVE = 0
GRADCLIP_NONFINITE_PROPAGATE = 1
GRADCLIP_NONFINITE_ZERO = 2

GRADCLIP_WORDS = 24
GRADCLIP_WORD_NONFINITE = 17
GRADCLIP_WORD_KIND = 23

GRADCLIP_AUTOCLIP = 1
GRADCLIP_ZCLIP = 2
GRADCLIP_ADAGC = 3
GRADCLIP_SKIPSTEP = 4

GRADCLIP_ACTION_PASS = 0
GRADCLIP_ACTION_CLIP = 1
GRADCLIP_ACTION_SKIP = 2

GRADCLIP_LOG_CSV = 0
GRADCLIP_LOG_WARNING = 1

GRADCLIP_EXAMPLE_CLIP = 0
GRADCLIP_EXAMPLE_AUTOMATIC = 1
GRADCLIP_EXAMPLE_THRESHOLD = 2

# #define GRADCLIP_NONE UINT64_MAX
GRADCLIP_NONE = 2**64 - 1

# -------------------------------------------------------------------- types --

# typedef void (*gradclip_log_callback)(void *user_data, uint32_t kind, const char *text);
gradclip_log_callback = ctypes.CFUNCTYPE(None, c_void_p, ctypes.c_uint32, c_char_p)

# typedef int (*gradclip_dlpack_reader)(void *object, void *dl_tensor);
gradclip_dlpack_reader = ctypes.PYFUNCTYPE(ctypes.c_int, c_void_p, c_void_p)

# C's types in ctypes. A pointer to one of them need not be listed.
_TYPES: dict[str, Any] = {
    "void": None,
    "void *": c_void_p,
    "void *const *": c_void_p,
    "char *": c_char_p,
    "double": ctypes.c_double,
    "size_t": ctypes.c_size_t,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "gradclip_status": ctypes.c_int32,
    "gradclip_accumulator *": c_void_p,
    "gradclip_chooser *": c_void_p,
    "gradclip_log_callback": gradclip_log_callback,
    "gradclip_dlpack_reader": gradclip_dlpack_reader,
}


def _type(text: str) -> Any:
    text = text.removeprefix("const ")
    if text not in _TYPES:
        _TYPES[text] = POINTER(_type(text[:-1].rstrip()))
    return _TYPES[text]


def _named(declaration: str) -> tuple[str, Any]:
    """A name and its type: "max_norm" and c_double of "double max_norm"."""
    start = declaration.rfind("*") + 1 or declaration.rfind(" ") + 1
    return declaration[start:].strip(), _type(declaration[:start].strip())


def _declarations(text: str) -> Iterator[str]:
    """What ends in a semicolon, each on one line."""
    return (" ".join(one.split()) for one in text.split(";")[:-1])


# --------------------------------------------------------------- structures --

_STRUCTURES = """
typedef struct gradclip_tensor {
    void *data;
    uint64_t length;
    uint32_t dtype;
    uint32_t flags;
    int32_t device_type;
    int32_t device_id;
} gradclip_tensor;
typedef struct gradclip_options {
    uint64_t struct_size;
    double eps;
    double grad_scale;
    uint32_t nonfinite;
    uint32_t exact_f64;
    uint32_t num_threads;
    uint32_t reserved;
} gradclip_options;
typedef struct gradclip_result {
    uint64_t struct_size;
    double total_norm;
    double clip_coef;
    double factor;
    uint64_t nonfinite_count;
    uint64_t nan_count;
    uint64_t first_tensor;
    uint64_t first_element;
    double *tensor_norms;
} gradclip_result;
typedef struct gradclip_report {
    double norm;
    double max_abs;
    double mean;
    uint64_t length;
    uint64_t nan_count;
    uint64_t positive_infinity_count;
    uint64_t negative_infinity_count;
    uint64_t zero_count;
    uint64_t subnormal_count;
    uint64_t first_nonfinite;
} gradclip_report;
typedef struct gradclip_chooser_options {
    uint64_t struct_size;
    uint32_t kind;
    uint32_t mode;
    uint64_t window;
    uint64_t warmup_steps;
    double percentile;
    double decay;
    double z_threshold;
    double max_norm;
    double lambda_rel;
    double clip_factor;
    double eps;
    uint32_t skip_update_on_spike;
    uint32_t reserved;
} gradclip_chooser_options;
typedef struct gradclip_decision {
    uint64_t struct_size;
    double threshold;
    double clip_coef;
    double mean;
    double deviation;
    uint64_t steps;
    uint32_t action;
    uint32_t recorded;
    double *tensor_thresholds;
    double *tensor_coefs;
} gradclip_decision;
typedef struct gradclip_monitor {
    uint64_t struct_size;
    uint64_t step;
    gradclip_log_callback callback;
    void *user_data;
    uint32_t said;
    uint32_t reserved;
} gradclip_monitor;
typedef struct gradclip_units {
    uint64_t outer;
    uint64_t reduced;
    uint64_t inner;
} gradclip_units;
typedef struct gradclip_per_example_result {
    uint64_t struct_size;
    uint64_t clipped;
    uint64_t nonfinite;
    uint64_t first_nonfinite;
    double sensitivity;
    double rounding_bound;
} gradclip_per_example_result;
"""


def _make_structures() -> None:
    """Makes each structure a class of this module."""
    for text in _STRUCTURES.split("typedef struct ")[1:]:
        name, _, fields = text.partition(" {")
        fields = fields.partition("}")[0]
        kind = type(name, (Structure,), {"_fields_": list(map(_named, _declarations(fields)))})
        globals()[name] = _TYPES[name] = kind


_make_structures()

# ---------------------------------------------------------------- functions --

_FUNCTIONS = """
uint32_t gradclip_version(void);
const char *gradclip_version_string(void);
const char *gradclip_isa(void);
const char *gradclip_status_string(gradclip_status status);
const char *gradclip_last_error(void);
gradclip_status gradclip_options_init(gradclip_options *options, size_t struct_size);
gradclip_status gradclip_result_init(gradclip_result *result, size_t struct_size);

void gradclip_set_num_threads(uint32_t num_threads);
uint32_t gradclip_get_num_threads(void);

gradclip_status gradclip_clip_grad_norm(const gradclip_tensor *grads, size_t count,
    double max_norm, double norm_type, const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_clip_grad_norm_to(const gradclip_tensor *grads,
    const gradclip_tensor *outputs, size_t count, double max_norm, double norm_type,
    const gradclip_options *options, gradclip_result *result);

gradclip_status gradclip_get_total_norm(const gradclip_tensor *grads, size_t count,
    double norm_type, const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_clip_coef(double max_norm, double total_norm,
    const gradclip_options *options, double *clip_coef);
gradclip_status gradclip_defer_clip(const gradclip_tensor *grads, size_t count, double max_norm,
    double norm_type, const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_clip_grads_with_norm(const gradclip_tensor *grads, size_t count,
    double max_norm, double total_norm, const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_scale(const gradclip_tensor *grads, size_t count, double factor,
    const gradclip_options *options);

gradclip_status gradclip_chooser_options_init(gradclip_chooser_options *options,
    size_t struct_size, uint32_t kind);
gradclip_status gradclip_decision_init(gradclip_decision *decision, size_t struct_size);
gradclip_status gradclip_chooser_create(const gradclip_chooser_options *options,
    gradclip_chooser **chooser);
void gradclip_chooser_free(gradclip_chooser *chooser);
gradclip_status gradclip_chooser_reset(gradclip_chooser *chooser);
gradclip_status gradclip_chooser_feed(gradclip_chooser *chooser, double total_norm,
    const double *loss, gradclip_decision *decision);
gradclip_status gradclip_chooser_feed_tensors(gradclip_chooser *chooser,
    const double *tensor_norms, size_t count, gradclip_decision *decision);
gradclip_status gradclip_chooser_feed_tensor(gradclip_chooser *chooser, size_t index,
    const gradclip_tensor *grad, double norm_type, const gradclip_options *options,
    gradclip_result *result);
gradclip_status gradclip_chooser_clip(gradclip_chooser *chooser, const gradclip_tensor *grads,
    size_t count, double norm_type, const double *loss, const gradclip_options *options,
    gradclip_result *result, gradclip_decision *decision);
gradclip_status gradclip_chooser_export(const gradclip_chooser *chooser, void *bytes,
    size_t *size);
gradclip_status gradclip_chooser_import(gradclip_chooser *chooser, const void *bytes,
    size_t size);

gradclip_status gradclip_monitor_init(gradclip_monitor *monitor, size_t struct_size);
gradclip_status gradclip_monitor_log(gradclip_monitor *monitor, const double *learning_rate,
    const double *loss, const gradclip_result *result, const gradclip_decision *decision);

gradclip_status gradclip_clip_grad_value(const gradclip_tensor *grads, size_t count,
    double clip_value, const gradclip_options *options);

gradclip_status gradclip_accumulator_create(double norm_type, const gradclip_options *options,
    gradclip_accumulator **accumulator);
void gradclip_accumulator_free(gradclip_accumulator *accumulator);
gradclip_status gradclip_accumulator_reset(gradclip_accumulator *accumulator);
gradclip_status gradclip_accumulator_set_next_tensor(gradclip_accumulator *accumulator,
    uint64_t index);
gradclip_status gradclip_accumulator_add(gradclip_accumulator *accumulator,
    const gradclip_tensor *grads, size_t count);
gradclip_status gradclip_accumulator_add_difference(gradclip_accumulator *accumulator,
    const gradclip_tensor *tensors, const gradclip_tensor *minus, size_t count);
gradclip_status gradclip_accumulator_merge(gradclip_accumulator *accumulator,
    const gradclip_accumulator *other);
gradclip_status gradclip_accumulator_export(const gradclip_accumulator *accumulator, void *bytes,
    size_t *size);
gradclip_status gradclip_accumulator_import(gradclip_accumulator *accumulator, const void *bytes,
    size_t size);
gradclip_status gradclip_accumulator_to_words(const gradclip_accumulator *accumulator,
    double max_norm, int64_t *words);
gradclip_status gradclip_accumulator_from_words(gradclip_accumulator *accumulator,
    double max_norm, const int64_t *words);
gradclip_status gradclip_accumulator_finish(gradclip_accumulator *accumulator, double max_norm,
    gradclip_result *result);
gradclip_status gradclip_accumulator_clip(gradclip_accumulator *accumulator,
    const gradclip_tensor *grads, size_t count, double max_norm, gradclip_result *result);

gradclip_status gradclip_inspect(const gradclip_tensor *grads, size_t count, double norm_type,
    const gradclip_options *options, gradclip_report *reports, size_t report_size,
    gradclip_result *result);

gradclip_status gradclip_clip_by_norm(const gradclip_tensor *grads, size_t count,
    const double *max_norms, size_t max_norm_count, double norm_type,
    const gradclip_options *options, gradclip_result *result, double *clip_coefs);
gradclip_status gradclip_clip_by_group(const gradclip_tensor *grads, size_t count,
    const uint32_t *groups, const double *max_norms, size_t group_count, double norm_type,
    const gradclip_options *options, gradclip_result *result, double *group_norms,
    double *clip_coefs);
gradclip_status gradclip_clip_by_block_rms(const gradclip_tensor *grads, size_t count,
    double threshold, const gradclip_options *options, gradclip_result *result,
    double *clip_coefs);

gradclip_status gradclip_adaptive_clip_grad(const gradclip_tensor *grads,
    const gradclip_tensor *weights, const gradclip_units *units, size_t count, double clip_factor,
    double eps, double norm_type, const gradclip_options *options, gradclip_result *result,
    double *clip_coefs);

gradclip_status gradclip_clip_per_example(const gradclip_tensor *grads,
    const gradclip_tensor *sums, size_t count, size_t examples, const double *max_norms,
    size_t max_norm_count, uint32_t rule, const gradclip_options *options,
    gradclip_per_example_result *result, double *norms, double *factors);
gradclip_status gradclip_adapt_max_norm(double max_norm, double unclipped, double examples,
    double quantile, double rate, double *adapted);
gradclip_status gradclip_find_overlap(const gradclip_tensor *grads, size_t count, size_t *first,
    size_t *second);
"""

# Python's lock is held, as the readers want it, and what they raise is raised.
_FUNCTIONS_WITH_THE_LOCK = """
gradclip_status gradclip_tensors_from_dlpack(void *const *objects, size_t count,
    gradclip_dlpack_reader read, gradclip_tensor *tensors);
"""


_LIBRARIES = (
    (_library, _FUNCTIONS),
    (ctypes.PyDLL(library_path, handle=_library._handle), _FUNCTIONS_WITH_THE_LOCK),
)
# Each function's library, and its declaration.
FUNCTIONS: dict[str, tuple[ctypes.CDLL, str]] = {
    declaration.partition("(")[0].split()[-1].lstrip("*"): (library, declaration)
    for library, text in _LIBRARIES
    for declaration in _declarations(text)
}


def __getattr__(name: str) -> Any:
    """A function when it is first used: to make all of them takes a tenth of the package's import."""
    if name not in FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    library, declaration = FUNCTIONS[name]
    head, _, tail = declaration.rstrip(")").partition("(")
    parameters = [] if tail == "void" else list(map(_named, tail.split(",")))
    function: Any = getattr(library, name)
    function.restype = _named(head)[1]
    function.argtypes = [kind for _, kind in parameters]
    function.names = [parameter for parameter, _ in parameters]  # for the messages of errors
    globals()[name] = function
    return function
