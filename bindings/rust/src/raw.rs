//! The C interface, declaration for declaration as `gradclip.h` has it, which is its
//! manual. Written by hand; the test `raw_matches_header` compares the two.

#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_void};

pub const GRADCLIP_VERSION_MAJOR: u32 = 1;
pub const GRADCLIP_VERSION_MINOR: u32 = 0;
pub const GRADCLIP_VERSION_PATCH: u32 = 0;

pub type gradclip_status = i32;

pub const GRADCLIP_OK: gradclip_status = 0;
pub const GRADCLIP_NON_FINITE: gradclip_status = 1;
pub const GRADCLIP_SKIP_STEP: gradclip_status = 2;
pub const GRADCLIP_ERROR_INVALID_ARGUMENT: gradclip_status = -1;
pub const GRADCLIP_ERROR_UNSUPPORTED: gradclip_status = -2;
pub const GRADCLIP_ERROR_OUT_OF_MEMORY: gradclip_status = -3;
pub const GRADCLIP_ERROR_BAD_DATA: gradclip_status = -4;

pub const GRADCLIP_F32: u32 = 1;
pub const GRADCLIP_F64: u32 = 2;
pub const GRADCLIP_F16: u32 = 3;
pub const GRADCLIP_BF16: u32 = 4;

pub const GRADCLIP_UNCOUNTED: u32 = 1;

pub const GRADCLIP_NONFINITE_LEAVE: u32 = 0;
pub const GRADCLIP_NONFINITE_PROPAGATE: u32 = 1;
pub const GRADCLIP_NONFINITE_ZERO: u32 = 2;

pub const GRADCLIP_WORDS: u32 = 24;
pub const GRADCLIP_WORD_NONFINITE: u32 = 17;
pub const GRADCLIP_WORD_KIND: u32 = 23;

pub const GRADCLIP_NONE: u64 = u64::MAX;

pub const GRADCLIP_AUTOCLIP: u32 = 1;
pub const GRADCLIP_ZCLIP: u32 = 2;
pub const GRADCLIP_ADAGC: u32 = 3;
pub const GRADCLIP_SKIPSTEP: u32 = 4;
pub const GRADCLIP_EXAMPLE_CLIP: u32 = 0;
pub const GRADCLIP_EXAMPLE_AUTOMATIC: u32 = 1;
pub const GRADCLIP_EXAMPLE_THRESHOLD: u32 = 2;

pub const GRADCLIP_ACTION_PASS: u32 = 0;
pub const GRADCLIP_ACTION_CLIP: u32 = 1;
pub const GRADCLIP_ACTION_SKIP: u32 = 2;

pub const GRADCLIP_LOG_CSV: u32 = 0;
pub const GRADCLIP_LOG_WARNING: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct gradclip_tensor {
    pub data: *mut c_void,
    pub length: u64,
    pub dtype: u32,
    pub flags: u32,
    pub device_type: i32,
    pub device_id: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct gradclip_options {
    pub struct_size: u64,
    pub eps: f64,
    pub grad_scale: f64,
    pub nonfinite: u32,
    pub exact_f64: u32,
    pub num_threads: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct gradclip_result {
    pub struct_size: u64,
    pub total_norm: f64,
    pub clip_coef: f64,
    pub factor: f64,
    pub nonfinite_count: u64,
    pub nan_count: u64,
    pub first_tensor: u64,
    pub first_element: u64,
    pub tensor_norms: *mut f64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct gradclip_report {
    pub norm: f64,
    pub max_abs: f64,
    pub mean: f64,
    pub length: u64,
    pub nan_count: u64,
    pub positive_infinity_count: u64,
    pub negative_infinity_count: u64,
    pub zero_count: u64,
    pub subnormal_count: u64,
    pub first_nonfinite: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct gradclip_chooser_options {
    pub struct_size: u64,
    pub kind: u32,
    pub mode: u32,
    pub window: u64,
    pub warmup_steps: u64,
    pub percentile: f64,
    pub decay: f64,
    pub z_threshold: f64,
    pub max_norm: f64,
    pub lambda_rel: f64,
    pub clip_factor: f64,
    pub eps: f64,
    pub skip_update_on_spike: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct gradclip_decision {
    pub struct_size: u64,
    pub threshold: f64,
    pub clip_coef: f64,
    pub mean: f64,
    pub deviation: f64,
    pub steps: u64,
    pub action: u32,
    pub recorded: u32,
    pub tensor_thresholds: *mut f64,
    pub tensor_coefs: *mut f64,
}

/// A function pointer, or NULL.
pub type gradclip_dlpack_reader = Option<unsafe extern "C" fn(object: *mut c_void, dl_tensor: *mut c_void) -> c_int>;
pub type gradclip_log_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, kind: u32, text: *const c_char)>;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct gradclip_monitor {
    pub struct_size: u64,
    pub step: u64,
    pub callback: gradclip_log_callback,
    pub user_data: *mut c_void,
    pub said: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct gradclip_units {
    pub outer: u64,
    pub reduced: u64,
    pub inner: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct gradclip_per_example_result {
    pub struct_size: u64,
    pub clipped: u64,
    pub nonfinite: u64,
    pub first_nonfinite: u64,
    pub sensitivity: f64,
    pub rounding_bound: f64,
}

/// Opaque: only pointers to it exist here.
#[repr(C)]
pub struct gradclip_accumulator {
    opaque: [u8; 0],
}

/// Opaque.
#[repr(C)]
pub struct gradclip_chooser {
    opaque: [u8; 0],
}

#[rustfmt::skip]
extern "C" {
    pub fn gradclip_version() -> u32;
    pub fn gradclip_version_string() -> *const c_char;
    pub fn gradclip_isa() -> *const c_char;
    pub fn gradclip_set_num_threads(num_threads: u32);
    pub fn gradclip_get_num_threads() -> u32;
    pub fn gradclip_status_string(status: gradclip_status) -> *const c_char;
    pub fn gradclip_last_error() -> *const c_char;
    pub fn gradclip_options_init(options: *mut gradclip_options, struct_size: usize) -> gradclip_status;
    pub fn gradclip_result_init(result: *mut gradclip_result, struct_size: usize) -> gradclip_status;
    pub fn gradclip_clip_grad_norm_f32(grads: *const *mut f32, lengths: *const usize, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_grad_norm_f64(grads: *const *mut f64, lengths: *const usize, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_grad_norm(grads: *const gradclip_tensor, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_grad_norm_to_f32(grads: *const *mut f32, outputs: *const *mut f32, lengths: *const usize, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_grad_norm_to_f64(grads: *const *mut f64, outputs: *const *mut f64, lengths: *const usize, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_grad_norm_to(grads: *const gradclip_tensor, outputs: *const gradclip_tensor, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_get_total_norm_f32(grads: *const *mut f32, lengths: *const usize, count: usize, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_get_total_norm_f64(grads: *const *mut f64, lengths: *const usize, count: usize, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_get_total_norm(grads: *const gradclip_tensor, count: usize, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_defer_clip_f32(grads: *const *mut f32, lengths: *const usize, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_defer_clip_f64(grads: *const *mut f64, lengths: *const usize, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_defer_clip(grads: *const gradclip_tensor, count: usize, max_norm: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_coef(max_norm: f64, total_norm: f64, options: *const gradclip_options, clip_coef: *mut f64) -> gradclip_status;
    pub fn gradclip_clip_grads_with_norm_f32(grads: *const *mut f32, lengths: *const usize, count: usize, max_norm: f64, total_norm: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_grads_with_norm_f64(grads: *const *mut f64, lengths: *const usize, count: usize, max_norm: f64, total_norm: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_grads_with_norm(grads: *const gradclip_tensor, count: usize, max_norm: f64, total_norm: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_scale(grads: *const gradclip_tensor, count: usize, factor: f64, options: *const gradclip_options) -> gradclip_status;
    pub fn gradclip_accumulator_create(norm_type: f64, options: *const gradclip_options, accumulator: *mut *mut gradclip_accumulator) -> gradclip_status;
    pub fn gradclip_accumulator_free(accumulator: *mut gradclip_accumulator);
    pub fn gradclip_accumulator_reset(accumulator: *mut gradclip_accumulator) -> gradclip_status;
    pub fn gradclip_accumulator_set_next_tensor(accumulator: *mut gradclip_accumulator, index: u64) -> gradclip_status;
    pub fn gradclip_accumulator_add(accumulator: *mut gradclip_accumulator, grads: *const gradclip_tensor, count: usize) -> gradclip_status;
    pub fn gradclip_accumulator_add_f32(accumulator: *mut gradclip_accumulator, grad: *const f32, length: usize) -> gradclip_status;
    pub fn gradclip_accumulator_add_f64(accumulator: *mut gradclip_accumulator, grad: *const f64, length: usize) -> gradclip_status;
    pub fn gradclip_accumulator_add_difference(accumulator: *mut gradclip_accumulator, tensors: *const gradclip_tensor, minus: *const gradclip_tensor, count: usize) -> gradclip_status;
    pub fn gradclip_accumulator_merge(accumulator: *mut gradclip_accumulator, other: *const gradclip_accumulator) -> gradclip_status;
    pub fn gradclip_accumulator_export(accumulator: *const gradclip_accumulator, bytes: *mut c_void, size: *mut usize) -> gradclip_status;
    pub fn gradclip_accumulator_import(accumulator: *mut gradclip_accumulator, bytes: *const c_void, size: usize) -> gradclip_status;
    pub fn gradclip_accumulator_to_words(accumulator: *const gradclip_accumulator, max_norm: f64, words: *mut i64) -> gradclip_status;
    pub fn gradclip_accumulator_from_words(accumulator: *mut gradclip_accumulator, max_norm: f64, words: *const i64) -> gradclip_status;
    pub fn gradclip_accumulator_finish(accumulator: *mut gradclip_accumulator, max_norm: f64, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_accumulator_clip(accumulator: *mut gradclip_accumulator, grads: *const gradclip_tensor, count: usize, max_norm: f64, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_inspect(grads: *const gradclip_tensor, count: usize, norm_type: f64, options: *const gradclip_options, reports: *mut gradclip_report, report_size: usize, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_clip_grad_value_f32(grads: *const *mut f32, lengths: *const usize, count: usize, clip_value: f64, options: *const gradclip_options) -> gradclip_status;
    pub fn gradclip_clip_grad_value_f64(grads: *const *mut f64, lengths: *const usize, count: usize, clip_value: f64, options: *const gradclip_options) -> gradclip_status;
    pub fn gradclip_clip_grad_value(grads: *const gradclip_tensor, count: usize, clip_value: f64, options: *const gradclip_options) -> gradclip_status;
    pub fn gradclip_chooser_options_init(options: *mut gradclip_chooser_options, struct_size: usize, kind: u32) -> gradclip_status;
    pub fn gradclip_decision_init(decision: *mut gradclip_decision, struct_size: usize) -> gradclip_status;
    pub fn gradclip_chooser_create(options: *const gradclip_chooser_options, chooser: *mut *mut gradclip_chooser) -> gradclip_status;
    pub fn gradclip_chooser_free(chooser: *mut gradclip_chooser);
    pub fn gradclip_chooser_reset(chooser: *mut gradclip_chooser) -> gradclip_status;
    pub fn gradclip_chooser_feed(chooser: *mut gradclip_chooser, total_norm: f64, loss: *const f64, decision: *mut gradclip_decision) -> gradclip_status;
    pub fn gradclip_chooser_feed_tensors(chooser: *mut gradclip_chooser, tensor_norms: *const f64, count: usize, decision: *mut gradclip_decision) -> gradclip_status;
    pub fn gradclip_chooser_feed_tensor(chooser: *mut gradclip_chooser, index: usize, grad: *const gradclip_tensor, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result) -> gradclip_status;
    pub fn gradclip_chooser_clip(chooser: *mut gradclip_chooser, grads: *const gradclip_tensor, count: usize, norm_type: f64, loss: *const f64, options: *const gradclip_options, result: *mut gradclip_result, decision: *mut gradclip_decision) -> gradclip_status;
    pub fn gradclip_chooser_export(chooser: *const gradclip_chooser, bytes: *mut c_void, size: *mut usize) -> gradclip_status;
    pub fn gradclip_chooser_import(chooser: *mut gradclip_chooser, bytes: *const c_void, size: usize) -> gradclip_status;
    pub fn gradclip_monitor_init(monitor: *mut gradclip_monitor, struct_size: usize) -> gradclip_status;
    pub fn gradclip_monitor_log(monitor: *mut gradclip_monitor, learning_rate: *const f64, loss: *const f64, result: *const gradclip_result, decision: *const gradclip_decision) -> gradclip_status;
    pub fn gradclip_clip_by_norm(grads: *const gradclip_tensor, count: usize, max_norms: *const f64, max_norm_count: usize, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result, clip_coefs: *mut f64) -> gradclip_status;
    pub fn gradclip_clip_by_group(grads: *const gradclip_tensor, count: usize, groups: *const u32, max_norms: *const f64, group_count: usize, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result, group_norms: *mut f64, clip_coefs: *mut f64) -> gradclip_status;
    pub fn gradclip_clip_by_block_rms(grads: *const gradclip_tensor, count: usize, threshold: f64, options: *const gradclip_options, result: *mut gradclip_result, clip_coefs: *mut f64) -> gradclip_status;
    pub fn gradclip_adaptive_clip_grad(grads: *const gradclip_tensor, weights: *const gradclip_tensor, units: *const gradclip_units, count: usize, clip_factor: f64, eps: f64, norm_type: f64, options: *const gradclip_options, result: *mut gradclip_result, clip_coefs: *mut f64) -> gradclip_status;
    pub fn gradclip_clip_per_example(grads: *const gradclip_tensor, sums: *const gradclip_tensor, count: usize, examples: usize, max_norms: *const f64, max_norm_count: usize, rule: u32, options: *const gradclip_options, result: *mut gradclip_per_example_result, norms: *mut f64, factors: *mut f64) -> gradclip_status;
    pub fn gradclip_adapt_max_norm(max_norm: f64, unclipped: f64, examples: f64, quantile: f64, rate: f64, adapted: *mut f64) -> gradclip_status;
    pub fn gradclip_tensors_from_dlpack(objects: *const *mut c_void, count: usize, read: gradclip_dlpack_reader, tensors: *mut gradclip_tensor) -> gradclip_status;
    pub fn gradclip_find_overlap(grads: *const gradclip_tensor, count: usize, first: *mut usize, second: *mut usize) -> gradclip_status;
}
