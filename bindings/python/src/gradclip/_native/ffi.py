"""gradclip.h in ctypes: each C declaration, and below it its typed twin.

Nothing is checked or converted here beyond what ctypes does; `call` turns a
status into an exception. The header's own comments are the documentation.
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    POINTER,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, TypeVar, cast

from .load import load

_library, library_path = load()

_F = TypeVar("_F", bound=Callable[..., Any])
_Pointer = Any  # a ctypes array, structure, pointer or byref(); None is NULL


def _c(restype: Any, *argtypes: Any, library: ctypes.CDLL = _library) -> Callable[[_F], _F]:
    """Puts the C function of the same name in place of a declaration."""

    def bind(declaration: _F) -> _F:
        function = getattr(library, declaration.__name__)
        function.restype = restype
        function.argtypes = argtypes
        function.names = declaration.__code__.co_varnames  # for the messages of errors
        return cast(_F, function)

    return bind


# ---------------------------------------------------------------- constants --

# enum { GRADCLIP_OK = 0, GRADCLIP_NON_FINITE = 1, GRADCLIP_SKIP_STEP = 2,
#        GRADCLIP_ERROR_INVALID_ARGUMENT = -1, GRADCLIP_ERROR_UNSUPPORTED = -2,
#        GRADCLIP_ERROR_OUT_OF_MEMORY = -3, GRADCLIP_ERROR_BAD_DATA = -4 };
GRADCLIP_OK = 0
GRADCLIP_NON_FINITE = 1
GRADCLIP_SKIP_STEP = 2
GRADCLIP_ERROR_INVALID_ARGUMENT = -1
GRADCLIP_ERROR_UNSUPPORTED = -2
GRADCLIP_ERROR_OUT_OF_MEMORY = -3
GRADCLIP_ERROR_BAD_DATA = -4

# enum { GRADCLIP_F32 = 1, GRADCLIP_F64 = 2, GRADCLIP_F16 = 3, GRADCLIP_BF16 = 4 };
GRADCLIP_F32 = 1
GRADCLIP_F64 = 2
GRADCLIP_F16 = 3
GRADCLIP_BF16 = 4

# enum { GRADCLIP_UNCOUNTED = 1u };
GRADCLIP_UNCOUNTED = 1

# enum { GRADCLIP_NONFINITE_LEAVE = 0, GRADCLIP_NONFINITE_PROPAGATE = 1,
#        GRADCLIP_NONFINITE_ZERO = 2 };
GRADCLIP_NONFINITE_LEAVE = 0
GRADCLIP_NONFINITE_PROPAGATE = 1
GRADCLIP_NONFINITE_ZERO = 2

# enum { GRADCLIP_WORDS = 24, GRADCLIP_WORD_NONFINITE = 17, GRADCLIP_WORD_KIND = 23 };
GRADCLIP_WORDS = 24
GRADCLIP_WORD_NONFINITE = 17
GRADCLIP_WORD_KIND = 23

# enum { GRADCLIP_AUTOCLIP = 1, GRADCLIP_ZCLIP = 2, GRADCLIP_ADAGC = 3, GRADCLIP_SKIPSTEP = 4 };
GRADCLIP_AUTOCLIP = 1
GRADCLIP_ZCLIP = 2
GRADCLIP_ADAGC = 3
GRADCLIP_SKIPSTEP = 4

# enum { GRADCLIP_ACTION_PASS = 0, GRADCLIP_ACTION_CLIP = 1, GRADCLIP_ACTION_SKIP = 2 };
GRADCLIP_ACTION_PASS = 0
GRADCLIP_ACTION_CLIP = 1
GRADCLIP_ACTION_SKIP = 2

# enum { GRADCLIP_LOG_CSV = 0, GRADCLIP_LOG_WARNING = 1 };
GRADCLIP_LOG_CSV = 0
GRADCLIP_LOG_WARNING = 1

# enum { GRADCLIP_EXAMPLE_CLIP = 0, GRADCLIP_EXAMPLE_AUTOMATIC = 1,
#        GRADCLIP_EXAMPLE_THRESHOLD = 2 };
GRADCLIP_EXAMPLE_CLIP = 0
GRADCLIP_EXAMPLE_AUTOMATIC = 1
GRADCLIP_EXAMPLE_THRESHOLD = 2

# #define GRADCLIP_NONE UINT64_MAX
GRADCLIP_NONE = 2**64 - 1


# --------------------------------------------------------------- structures --


# typedef struct gradclip_tensor {
#     void *data;
#     uint64_t length;
#     uint32_t dtype;
#     uint32_t flags;
#     int32_t device_type;
#     int32_t device_id;
# } gradclip_tensor;
class gradclip_tensor(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p),
        ("length", c_uint64),
        ("dtype", c_uint32),
        ("flags", c_uint32),
        ("device_type", c_int32),
        ("device_id", c_int32),
    ]


# typedef struct gradclip_options {
#     uint64_t struct_size;
#     double eps;
#     double grad_scale;
#     uint32_t nonfinite;
#     uint32_t exact_f64;
#     uint32_t num_threads;
#     uint32_t reserved;
# } gradclip_options;
class gradclip_options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint64),
        ("eps", c_double),
        ("grad_scale", c_double),
        ("nonfinite", c_uint32),
        ("exact_f64", c_uint32),
        ("num_threads", c_uint32),
        ("reserved", c_uint32),
    ]


# typedef struct gradclip_result {
#     uint64_t struct_size;
#     double total_norm;
#     double clip_coef;
#     double factor;
#     uint64_t nonfinite_count;
#     uint64_t nan_count;
#     uint64_t first_tensor;
#     uint64_t first_element;
#     double *tensor_norms;
# } gradclip_result;
class gradclip_result(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint64),
        ("total_norm", c_double),
        ("clip_coef", c_double),
        ("factor", c_double),
        ("nonfinite_count", c_uint64),
        ("nan_count", c_uint64),
        ("first_tensor", c_uint64),
        ("first_element", c_uint64),
        ("tensor_norms", POINTER(c_double)),
    ]


# typedef struct gradclip_report {
#     double norm;
#     double max_abs;
#     double mean;
#     uint64_t length;
#     uint64_t nan_count;
#     uint64_t positive_infinity_count;
#     uint64_t negative_infinity_count;
#     uint64_t zero_count;
#     uint64_t subnormal_count;
#     uint64_t first_nonfinite;
# } gradclip_report;
class gradclip_report(ctypes.Structure):
    _fields_ = [
        ("norm", c_double),
        ("max_abs", c_double),
        ("mean", c_double),
        ("length", c_uint64),
        ("nan_count", c_uint64),
        ("positive_infinity_count", c_uint64),
        ("negative_infinity_count", c_uint64),
        ("zero_count", c_uint64),
        ("subnormal_count", c_uint64),
        ("first_nonfinite", c_uint64),
    ]


# typedef struct gradclip_chooser_options {
#     uint64_t struct_size;
#     uint32_t kind;
#     uint32_t mode;
#     uint64_t window;
#     uint64_t warmup_steps;
#     double percentile;
#     double decay;
#     double z_threshold;
#     double max_norm;
#     double lambda_rel;
#     double clip_factor;
#     double eps;
#     uint32_t skip_update_on_spike;
#     uint32_t reserved;
# } gradclip_chooser_options;
class gradclip_chooser_options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint64),
        ("kind", c_uint32),
        ("mode", c_uint32),
        ("window", c_uint64),
        ("warmup_steps", c_uint64),
        ("percentile", c_double),
        ("decay", c_double),
        ("z_threshold", c_double),
        ("max_norm", c_double),
        ("lambda_rel", c_double),
        ("clip_factor", c_double),
        ("eps", c_double),
        ("skip_update_on_spike", c_uint32),
        ("reserved", c_uint32),
    ]


# typedef struct gradclip_decision {
#     uint64_t struct_size;
#     double threshold;
#     double clip_coef;
#     double mean;
#     double deviation;
#     uint64_t steps;
#     uint32_t action;
#     uint32_t recorded;
#     double *tensor_thresholds;
#     double *tensor_coefs;
# } gradclip_decision;
class gradclip_decision(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint64),
        ("threshold", c_double),
        ("clip_coef", c_double),
        ("mean", c_double),
        ("deviation", c_double),
        ("steps", c_uint64),
        ("action", c_uint32),
        ("recorded", c_uint32),
        ("tensor_thresholds", POINTER(c_double)),
        ("tensor_coefs", POINTER(c_double)),
    ]


# typedef void (*gradclip_log_callback)(void *user_data, uint32_t kind, const char *text);
gradclip_log_callback = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_char_p)


# typedef struct gradclip_monitor {
#     uint64_t struct_size;
#     uint64_t step;
#     gradclip_log_callback callback;
#     void *user_data;
#     uint32_t said;
#     uint32_t reserved;
# } gradclip_monitor;
class gradclip_monitor(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint64),
        ("step", c_uint64),
        ("callback", gradclip_log_callback),
        ("user_data", c_void_p),
        ("said", c_uint32),
        ("reserved", c_uint32),
    ]


# typedef struct gradclip_units {
#     uint64_t outer;
#     uint64_t reduced;
#     uint64_t inner;
# } gradclip_units;
class gradclip_units(ctypes.Structure):
    _fields_ = [
        ("outer", c_uint64),
        ("reduced", c_uint64),
        ("inner", c_uint64),
    ]


# typedef struct gradclip_per_example_result {
#     uint64_t struct_size;
#     uint64_t clipped;
#     uint64_t nonfinite;
#     uint64_t first_nonfinite;
#     double sensitivity;
#     double rounding_bound;
# } gradclip_per_example_result;
class gradclip_per_example_result(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint64),
        ("clipped", c_uint64),
        ("nonfinite", c_uint64),
        ("first_nonfinite", c_uint64),
        ("sensitivity", c_double),
        ("rounding_bound", c_double),
    ]


_float_pointers = POINTER(POINTER(c_float))  # float *const *
_double_pointers = POINTER(POINTER(c_double))  # double *const *
_sizes = POINTER(c_size_t)  # const size_t *
_words = POINTER(c_int64)  # const int64_t *
_tensors = POINTER(gradclip_tensor)  # const gradclip_tensor *
_options = POINTER(gradclip_options)
_result = POINTER(gradclip_result)
_doubles = POINTER(c_double)
_units = POINTER(gradclip_units)  # const gradclip_units *
_per_example_result = POINTER(gradclip_per_example_result)
_accumulator = c_void_p  # gradclip_accumulator *, opaque
_chooser_options = POINTER(gradclip_chooser_options)
_chooser = c_void_p  # gradclip_chooser *, opaque
_decision = POINTER(gradclip_decision)
_double = POINTER(c_double)
_monitor = POINTER(gradclip_monitor)


# -------------------------------------------------------- versions, statuses --


# uint32_t gradclip_version(void);
@_c(c_uint32)
def gradclip_version() -> int: ...


# const char *gradclip_version_string(void);
@_c(c_char_p)
def gradclip_version_string() -> bytes: ...


# const char *gradclip_isa(void);
@_c(c_char_p)
def gradclip_isa() -> bytes: ...


# const char *gradclip_status_string(gradclip_status status);
@_c(c_char_p, c_int32)
def gradclip_status_string(status: int) -> bytes: ...


# const char *gradclip_last_error(void);
@_c(c_char_p)
def gradclip_last_error() -> bytes: ...


# gradclip_status gradclip_options_init(gradclip_options *options, size_t struct_size);
@_c(c_int32, _options, c_size_t)
def gradclip_options_init(options: _Pointer, struct_size: int) -> int: ...


# gradclip_status gradclip_result_init(gradclip_result *result, size_t struct_size);
@_c(c_int32, _result, c_size_t)
def gradclip_result_init(result: _Pointer, struct_size: int) -> int: ...


# ------------------------------------------------------------------- threads --


# void gradclip_set_num_threads(uint32_t num_threads);
@_c(None, c_uint32)
def gradclip_set_num_threads(num_threads: int) -> None: ...


# uint32_t gradclip_get_num_threads(void);
@_c(c_uint32)
def gradclip_get_num_threads() -> int: ...


# ------------------------------------------------------- clip by global norm --


# gradclip_status gradclip_clip_grad_norm_f32(float *const *grads, const size_t *lengths,
#     size_t count, double max_norm, double norm_type, const gradclip_options *options,
#     gradclip_result *result);
@_c(c_int32, _float_pointers, _sizes, c_size_t, c_double, c_double, _options, _result)
def gradclip_clip_grad_norm_f32(
    grads: _Pointer,
    lengths: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_grad_norm_f64(double *const *grads, const size_t *lengths,
#     size_t count, double max_norm, double norm_type, const gradclip_options *options,
#     gradclip_result *result);
@_c(c_int32, _double_pointers, _sizes, c_size_t, c_double, c_double, _options, _result)
def gradclip_clip_grad_norm_f64(
    grads: _Pointer,
    lengths: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_grad_norm(const gradclip_tensor *grads, size_t count,
#     double max_norm, double norm_type, const gradclip_options *options, gradclip_result *result);
@_c(c_int32, _tensors, c_size_t, c_double, c_double, _options, _result)
def gradclip_clip_grad_norm(
    grads: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_grad_norm_to_f32(float *const *grads, float *const *outputs,
#     const size_t *lengths, size_t count, double max_norm, double norm_type,
#     const gradclip_options *options, gradclip_result *result);
@_c(
    c_int32,
    _float_pointers,
    _float_pointers,
    _sizes,
    c_size_t,
    c_double,
    c_double,
    _options,
    _result,
)
def gradclip_clip_grad_norm_to_f32(
    grads: _Pointer,
    outputs: _Pointer,
    lengths: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_grad_norm_to_f64(double *const *grads, double *const *outputs,
#     const size_t *lengths, size_t count, double max_norm, double norm_type,
#     const gradclip_options *options, gradclip_result *result);
@_c(
    c_int32,
    _double_pointers,
    _double_pointers,
    _sizes,
    c_size_t,
    c_double,
    c_double,
    _options,
    _result,
)
def gradclip_clip_grad_norm_to_f64(
    grads: _Pointer,
    outputs: _Pointer,
    lengths: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_grad_norm_to(const gradclip_tensor *grads,
#     const gradclip_tensor *outputs, size_t count, double max_norm, double norm_type,
#     const gradclip_options *options, gradclip_result *result);
@_c(c_int32, _tensors, _tensors, c_size_t, c_double, c_double, _options, _result)
def gradclip_clip_grad_norm_to(
    grads: _Pointer,
    outputs: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# -------------------------------------------- the same job in separate steps --


# gradclip_status gradclip_get_total_norm_f32(float *const *grads, const size_t *lengths,
#     size_t count, double norm_type, const gradclip_options *options, gradclip_result *result);
@_c(c_int32, _float_pointers, _sizes, c_size_t, c_double, _options, _result)
def gradclip_get_total_norm_f32(
    grads: _Pointer,
    lengths: _Pointer,
    count: int,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_get_total_norm_f64(double *const *grads, const size_t *lengths,
#     size_t count, double norm_type, const gradclip_options *options, gradclip_result *result);
@_c(c_int32, _double_pointers, _sizes, c_size_t, c_double, _options, _result)
def gradclip_get_total_norm_f64(
    grads: _Pointer,
    lengths: _Pointer,
    count: int,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_get_total_norm(const gradclip_tensor *grads, size_t count,
#     double norm_type, const gradclip_options *options, gradclip_result *result);
@_c(c_int32, _tensors, c_size_t, c_double, _options, _result)
def gradclip_get_total_norm(
    grads: _Pointer, count: int, norm_type: float, options: _Pointer, result: _Pointer
) -> int: ...


# gradclip_status gradclip_clip_coef(double max_norm, double total_norm,
#     const gradclip_options *options, double *clip_coef);
@_c(c_int32, c_double, c_double, _options, POINTER(c_double))
def gradclip_clip_coef(
    max_norm: float, total_norm: float, options: _Pointer, clip_coef: _Pointer
) -> int: ...


# gradclip_status gradclip_defer_clip_f32(float *const *grads, const size_t *lengths, size_t
#     count, double max_norm, double norm_type, const gradclip_options *options, gradclip_result
#     *result);
@_c(c_int32, _float_pointers, _sizes, c_size_t, c_double, c_double, _options, _result)
def gradclip_defer_clip_f32(
    grads: _Pointer,
    lengths: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_defer_clip_f64(double *const *grads, const size_t *lengths, size_t
#     count, double max_norm, double norm_type, const gradclip_options *options, gradclip_result
#     *result);
@_c(c_int32, _double_pointers, _sizes, c_size_t, c_double, c_double, _options, _result)
def gradclip_defer_clip_f64(
    grads: _Pointer,
    lengths: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_defer_clip(const gradclip_tensor *grads, size_t count, double max_norm,
#     double norm_type, const gradclip_options *options, gradclip_result *result);
@_c(c_int32, _tensors, c_size_t, c_double, c_double, _options, _result)
def gradclip_defer_clip(
    grads: _Pointer,
    count: int,
    max_norm: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_grads_with_norm_f32(float *const *grads, const size_t *lengths,
#     size_t count, double max_norm, double total_norm, const gradclip_options *options,
#     gradclip_result *result);
@_c(c_int32, _float_pointers, _sizes, c_size_t, c_double, c_double, _options, _result)
def gradclip_clip_grads_with_norm_f32(
    grads: _Pointer,
    lengths: _Pointer,
    count: int,
    max_norm: float,
    total_norm: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_grads_with_norm_f64(double *const *grads, const size_t *lengths,
#     size_t count, double max_norm, double total_norm, const gradclip_options *options,
#     gradclip_result *result);
@_c(c_int32, _double_pointers, _sizes, c_size_t, c_double, c_double, _options, _result)
def gradclip_clip_grads_with_norm_f64(
    grads: _Pointer,
    lengths: _Pointer,
    count: int,
    max_norm: float,
    total_norm: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_grads_with_norm(const gradclip_tensor *grads, size_t count,
#     double max_norm, double total_norm, const gradclip_options *options, gradclip_result *result);
@_c(c_int32, _tensors, c_size_t, c_double, c_double, _options, _result)
def gradclip_clip_grads_with_norm(
    grads: _Pointer,
    count: int,
    max_norm: float,
    total_norm: float,
    options: _Pointer,
    result: _Pointer,
) -> int: ...


# gradclip_status gradclip_scale(const gradclip_tensor *grads, size_t count, double factor,
#     const gradclip_options *options);
@_c(c_int32, _tensors, c_size_t, c_double, _options)
def gradclip_scale(grads: _Pointer, count: int, factor: float, options: _Pointer) -> int: ...


# ------------------------------------------------------------------ choosers --


# gradclip_status gradclip_chooser_options_init(gradclip_chooser_options *options,
#     size_t struct_size, uint32_t kind);
@_c(c_int32, _chooser_options, c_size_t, c_uint32)
def gradclip_chooser_options_init(options: _Pointer, struct_size: int, kind: int) -> int: ...


# gradclip_status gradclip_decision_init(gradclip_decision *decision, size_t struct_size);
@_c(c_int32, _decision, c_size_t)
def gradclip_decision_init(decision: _Pointer, struct_size: int) -> int: ...


# gradclip_status gradclip_chooser_create(const gradclip_chooser_options *options,
#     gradclip_chooser **chooser);
@_c(c_int32, _chooser_options, POINTER(_chooser))
def gradclip_chooser_create(options: _Pointer, chooser: _Pointer) -> int: ...


# void gradclip_chooser_free(gradclip_chooser *chooser);
@_c(None, _chooser)
def gradclip_chooser_free(chooser: _Pointer) -> None: ...


# gradclip_status gradclip_chooser_reset(gradclip_chooser *chooser);
@_c(c_int32, _chooser)
def gradclip_chooser_reset(chooser: _Pointer) -> int: ...


# gradclip_status gradclip_chooser_feed(gradclip_chooser *chooser, double total_norm,
#     const double *loss, gradclip_decision *decision);
@_c(c_int32, _chooser, c_double, _double, _decision)
def gradclip_chooser_feed(
    chooser: _Pointer, total_norm: float, loss: _Pointer, decision: _Pointer
) -> int: ...


# gradclip_status gradclip_chooser_feed_tensors(gradclip_chooser *chooser,
#     const double *tensor_norms, size_t count, gradclip_decision *decision);
@_c(c_int32, _chooser, _double, c_size_t, _decision)
def gradclip_chooser_feed_tensors(
    chooser: _Pointer, tensor_norms: _Pointer, count: int, decision: _Pointer
) -> int: ...


# gradclip_status gradclip_chooser_clip(gradclip_chooser *chooser, const gradclip_tensor *grads,
#     size_t count, double norm_type, const double *loss, const gradclip_options *options,
#     gradclip_result *result, gradclip_decision *decision);
@_c(c_int32, _chooser, _tensors, c_size_t, c_double, _double, _options, _result, _decision)
def gradclip_chooser_clip(
    chooser: _Pointer,
    grads: _Pointer,
    count: int,
    norm_type: float,
    loss: _Pointer,
    options: _Pointer,
    result: _Pointer,
    decision: _Pointer,
) -> int: ...


# gradclip_status gradclip_chooser_export(const gradclip_chooser *chooser, void *bytes,
#     size_t *size);
@_c(c_int32, _chooser, c_void_p, _sizes)
def gradclip_chooser_export(chooser: _Pointer, bytes: _Pointer, size: _Pointer) -> int: ...


# gradclip_status gradclip_chooser_import(gradclip_chooser *chooser, const void *bytes,
#     size_t size);
@_c(c_int32, _chooser, c_void_p, c_size_t)
def gradclip_chooser_import(chooser: _Pointer, bytes: _Pointer, size: int) -> int: ...


# ------------------------------------------------------------------- monitor --


# gradclip_status gradclip_monitor_init(gradclip_monitor *monitor, size_t struct_size);
@_c(c_int32, _monitor, c_size_t)
def gradclip_monitor_init(monitor: _Pointer, struct_size: int) -> int: ...


# gradclip_status gradclip_monitor_log(gradclip_monitor *monitor, const double *learning_rate,
#     const double *loss, const gradclip_result *result, const gradclip_decision *decision);
@_c(c_int32, _monitor, _double, _double, _result, _decision)
def gradclip_monitor_log(
    monitor: _Pointer,
    learning_rate: _Pointer,
    loss: _Pointer,
    result: _Pointer,
    decision: _Pointer,
) -> int: ...


# ------------------------------------------------------------- clip by value --


# gradclip_status gradclip_clip_grad_value_f32(float *const *grads, const size_t *lengths,
#     size_t count, double clip_value, const gradclip_options *options);
@_c(c_int32, _float_pointers, _sizes, c_size_t, c_double, _options)
def gradclip_clip_grad_value_f32(
    grads: _Pointer, lengths: _Pointer, count: int, clip_value: float, options: _Pointer
) -> int: ...


# gradclip_status gradclip_clip_grad_value_f64(double *const *grads, const size_t *lengths,
#     size_t count, double clip_value, const gradclip_options *options);
@_c(c_int32, _double_pointers, _sizes, c_size_t, c_double, _options)
def gradclip_clip_grad_value_f64(
    grads: _Pointer, lengths: _Pointer, count: int, clip_value: float, options: _Pointer
) -> int: ...


# gradclip_status gradclip_clip_grad_value(const gradclip_tensor *grads, size_t count,
#     double clip_value, const gradclip_options *options);
@_c(c_int32, _tensors, c_size_t, c_double, _options)
def gradclip_clip_grad_value(
    grads: _Pointer, count: int, clip_value: float, options: _Pointer
) -> int: ...


# -------------------------------------------------------------- accumulator --


# gradclip_status gradclip_accumulator_create(double norm_type, const gradclip_options *options,
#     gradclip_accumulator **accumulator);
@_c(c_int32, c_double, _options, POINTER(_accumulator))
def gradclip_accumulator_create(
    norm_type: float, options: _Pointer, accumulator: _Pointer
) -> int: ...


# void gradclip_accumulator_free(gradclip_accumulator *accumulator);
@_c(None, _accumulator)
def gradclip_accumulator_free(accumulator: _Pointer) -> None: ...


# gradclip_status gradclip_accumulator_reset(gradclip_accumulator *accumulator);
@_c(c_int32, _accumulator)
def gradclip_accumulator_reset(accumulator: _Pointer) -> int: ...


# gradclip_status gradclip_accumulator_set_next_tensor(gradclip_accumulator *accumulator,
#     uint64_t index);
@_c(c_int32, _accumulator, c_uint64)
def gradclip_accumulator_set_next_tensor(accumulator: _Pointer, index: int) -> int: ...


# gradclip_status gradclip_accumulator_add(gradclip_accumulator *accumulator, const
#     gradclip_tensor *grads, size_t count);
@_c(c_int32, _accumulator, _tensors, c_size_t)
def gradclip_accumulator_add(accumulator: _Pointer, grads: _Pointer, count: int) -> int: ...


# gradclip_status gradclip_accumulator_add_f32(gradclip_accumulator *accumulator, const float
#     *grad, size_t length);
@_c(c_int32, _accumulator, POINTER(c_float), c_size_t)
def gradclip_accumulator_add_f32(accumulator: _Pointer, grad: _Pointer, length: int) -> int: ...


# gradclip_status gradclip_accumulator_add_f64(gradclip_accumulator *accumulator, const double
#     *grad, size_t length);
@_c(c_int32, _accumulator, POINTER(c_double), c_size_t)
def gradclip_accumulator_add_f64(accumulator: _Pointer, grad: _Pointer, length: int) -> int: ...


# gradclip_status gradclip_accumulator_merge(gradclip_accumulator *accumulator, const
#     gradclip_accumulator *other);
@_c(c_int32, _accumulator, _accumulator)
def gradclip_accumulator_merge(accumulator: _Pointer, other: _Pointer) -> int: ...


# gradclip_status gradclip_accumulator_export(const gradclip_accumulator *accumulator, void
#     *bytes, size_t *size);
@_c(c_int32, _accumulator, c_void_p, _sizes)
def gradclip_accumulator_export(accumulator: _Pointer, bytes: _Pointer, size: _Pointer) -> int: ...


# gradclip_status gradclip_accumulator_import(gradclip_accumulator *accumulator, const void
#     *bytes, size_t size);
@_c(c_int32, _accumulator, c_void_p, c_size_t)
def gradclip_accumulator_import(accumulator: _Pointer, bytes: _Pointer, size: int) -> int: ...


# gradclip_status gradclip_accumulator_to_words(const gradclip_accumulator *accumulator, double
#     max_norm, int64_t *words);
@_c(c_int32, _accumulator, c_double, _words)
def gradclip_accumulator_to_words(
    accumulator: _Pointer, max_norm: float, words: _Pointer
) -> int: ...


# gradclip_status gradclip_accumulator_from_words(gradclip_accumulator *accumulator, double
#     max_norm, const int64_t *words);
@_c(c_int32, _accumulator, c_double, _words)
def gradclip_accumulator_from_words(
    accumulator: _Pointer, max_norm: float, words: _Pointer
) -> int: ...


# gradclip_status gradclip_accumulator_finish(gradclip_accumulator *accumulator, double max_norm,
#     gradclip_result *result);
@_c(c_int32, _accumulator, c_double, _result)
def gradclip_accumulator_finish(
    accumulator: _Pointer, max_norm: float, result: _Pointer
) -> int: ...


# gradclip_status gradclip_accumulator_clip(gradclip_accumulator *accumulator, const
#     gradclip_tensor *grads, size_t count, double max_norm, gradclip_result *result);
@_c(c_int32, _accumulator, _tensors, c_size_t, c_double, _result)
def gradclip_accumulator_clip(
    accumulator: _Pointer, grads: _Pointer, count: int, max_norm: float, result: _Pointer
) -> int: ...


# ------------------------------------------------------------------- report --


# gradclip_status gradclip_inspect(const gradclip_tensor *grads, size_t count, double norm_type,
#     const gradclip_options *options, gradclip_report *reports, size_t report_size,
#     gradclip_result *result);
@_c(c_int32, _tensors, c_size_t, c_double, _options, POINTER(gradclip_report), c_size_t, _result)
def gradclip_inspect(
    grads: _Pointer,
    count: int,
    norm_type: float,
    options: _Pointer,
    reports: _Pointer,
    report_size: int,
    result: _Pointer,
) -> int: ...


# ------------------------------------------------------------ clip in parts --


# gradclip_status gradclip_clip_by_norm(const gradclip_tensor *grads, size_t count,
#     const double *max_norms, size_t max_norm_count, double norm_type,
#     const gradclip_options *options, gradclip_result *result, double *clip_coefs);
@_c(c_int32, _tensors, c_size_t, _doubles, c_size_t, c_double, _options, _result, _doubles)
def gradclip_clip_by_norm(
    grads: _Pointer,
    count: int,
    max_norms: _Pointer,
    max_norm_count: int,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
    clip_coefs: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_by_group(const gradclip_tensor *grads, size_t count,
#     const uint32_t *groups, const double *max_norms, size_t group_count, double norm_type,
#     const gradclip_options *options, gradclip_result *result, double *group_norms,
#     double *clip_coefs);
@_c(
    c_int32,
    _tensors,
    c_size_t,
    POINTER(c_uint32),
    _doubles,
    c_size_t,
    c_double,
    _options,
    _result,
    _doubles,
    _doubles,
)
def gradclip_clip_by_group(
    grads: _Pointer,
    count: int,
    groups: _Pointer,
    max_norms: _Pointer,
    group_count: int,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
    group_norms: _Pointer,
    clip_coefs: _Pointer,
) -> int: ...


# gradclip_status gradclip_clip_by_block_rms(const gradclip_tensor *grads, size_t count,
#     double threshold, const gradclip_options *options, gradclip_result *result,
#     double *clip_coefs);
@_c(c_int32, _tensors, c_size_t, c_double, _options, _result, _doubles)
def gradclip_clip_by_block_rms(
    grads: _Pointer,
    count: int,
    threshold: float,
    options: _Pointer,
    result: _Pointer,
    clip_coefs: _Pointer,
) -> int: ...


# ------------------------------------------------------ clip by the weights --


# gradclip_status gradclip_adaptive_clip_grad(const gradclip_tensor *grads,
#     const gradclip_tensor *weights, const gradclip_units *units, size_t count,
#     double clip_factor, double eps, double norm_type, const gradclip_options *options,
#     gradclip_result *result, double *clip_coefs);
@_c(
    c_int32,
    _tensors,
    _tensors,
    _units,
    c_size_t,
    c_double,
    c_double,
    c_double,
    _options,
    _result,
    _doubles,
)
def gradclip_adaptive_clip_grad(
    grads: _Pointer,
    weights: _Pointer,
    units: _Pointer,
    count: int,
    clip_factor: float,
    eps: float,
    norm_type: float,
    options: _Pointer,
    result: _Pointer,
    clip_coefs: _Pointer,
) -> int: ...


# --------------------------------------------------------- clip per example --


# gradclip_status gradclip_clip_per_example(const gradclip_tensor *grads,
#     const gradclip_tensor *sums, size_t count, size_t examples, const double *max_norms,
#     size_t max_norm_count, uint32_t rule, const gradclip_options *options,
#     gradclip_per_example_result *result, double *norms, double *factors);
@_c(
    c_int32,
    _tensors,
    _tensors,
    c_size_t,
    c_size_t,
    _doubles,
    c_size_t,
    c_uint32,
    _options,
    _per_example_result,
    _doubles,
    _doubles,
)
def gradclip_clip_per_example(
    grads: _Pointer,
    sums: _Pointer,
    count: int,
    examples: int,
    max_norms: _Pointer,
    max_norm_count: int,
    rule: int,
    options: _Pointer,
    result: _Pointer,
    norms: _Pointer,
    factors: _Pointer,
) -> int: ...


# gradclip_status gradclip_adapt_max_norm(double max_norm, double unclipped, double examples,
#     double quantile, double rate, double *adapted);
@_c(c_int32, c_double, c_double, c_double, c_double, c_double, _doubles)
def gradclip_adapt_max_norm(
    max_norm: float,
    unclipped: float,
    examples: float,
    quantile: float,
    rate: float,
    adapted: _Pointer,
) -> int: ...


# typedef int (*gradclip_dlpack_reader)(void *object, void *dl_tensor);
gradclip_dlpack_reader = ctypes.PYFUNCTYPE(c_int, c_void_p, c_void_p)


# gradclip_status gradclip_tensors_from_dlpack(void *const *objects, size_t count,
#     gradclip_dlpack_reader read, gradclip_tensor *tensors);
# Python's lock is held, as such functions want it, and what they raise is raised.
@_c(
    c_int32,
    c_void_p,
    c_size_t,
    gradclip_dlpack_reader,
    _tensors,
    library=ctypes.PyDLL(library_path, handle=_library._handle),
)
def gradclip_tensors_from_dlpack(
    objects: _Pointer, count: int, read: _Pointer, tensors: _Pointer
) -> int: ...


# gradclip_status gradclip_find_overlap(const gradclip_tensor *grads, size_t count,
#     size_t *first, size_t *second);
@_c(c_int32, _tensors, c_size_t, _sizes, _sizes)
def gradclip_find_overlap(
    grads: _Pointer, count: int, first: _Pointer, second: _Pointer
) -> int: ...
