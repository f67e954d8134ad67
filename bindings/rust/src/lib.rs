#![doc = include_str!("../README.md")]

mod accumulator;
mod chooser;
mod clip;
mod example;
mod grad;
mod inspect;
mod monitor;
mod options;
mod outcome;
mod parts;
pub mod raw;

pub use accumulator::Accumulator;
pub use chooser::{Action, Chooser, ChooserOptions, Decision, Rule};
pub use clip::{
    clip_coef, clip_grad_norm, clip_grad_norm_to, clip_grad_value, clip_grads_with_norm, defer_clip, get_norms,
    get_total_norm, scale,
};
pub use example::{adapt_max_norm, clip_per_example, ExampleRule, PerExample};
pub use grad::{Grad, GradRef, Readable};
pub use inspect::{inspect, Report};
pub use monitor::{LogKind, Monitor};
pub use options::{Nonfinite, Options};
pub use outcome::{Clip, Error, NonFinite, Result};
pub use parts::{adaptive_clip_grad, clip_by_block_rms, clip_by_group, clip_by_norm, Parts, Units};

use std::ffi::CStr;
use std::os::raw::c_char;

/// The version of the library, "1.0.0" for instance.
pub fn version() -> &'static str {
    text(unsafe { raw::gradclip_version_string() })
}

/// The instruction set that the kernels of this process use.
pub fn isa() -> &'static str {
    text(unsafe { raw::gradclip_isa() })
}

/// How many threads a call uses at most, the caller's included.
pub fn num_threads() -> u32 {
    unsafe { raw::gradclip_get_num_threads() }
}

/// Set how many threads calls use at most, in the whole process; 0: as many as the
/// process may run on. The results have the same bits for any number.
pub fn set_num_threads(num_threads: u32) {
    unsafe { raw::gradclip_set_num_threads(num_threads) }
}

/// A static string of the library's; they are ASCII.
fn text(pointer: *const c_char) -> &'static str {
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or("")
}
