//! Options of a call.

use crate::raw;

/// What to do about NaN and infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nonfinite {
    /// Write nothing and return [`Error::NonFinite`](crate::Error::NonFinite). The default.
    Leave,
    /// What torch does: multiply everything by the coefficient of the non-finite norm.
    Propagate,
    /// Leave them out of the norm and replace them by 0.
    Zero,
}

/// Options of a call, `Options::new()` being the defaults of the library.
///
/// ```
/// use gradclip::{Nonfinite, Options};
/// let options = Options::new().grad_scale(65536.0).nonfinite(Nonfinite::Zero);
/// assert_ne!(options, Options::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    eps: f64,
    grad_scale: f64,
    nonfinite: Nonfinite,
    exact_f64: bool,
    num_threads: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The defaults: eps 1e-6, grad_scale 1, non-finite gradients left alone.
    pub const fn new() -> Self {
        Options { eps: 1e-6, grad_scale: 1.0, nonfinite: Nonfinite::Leave, exact_f64: false, num_threads: 0 }
    }

    /// Added to total_norm in clip_coef; finite, >= 0. 0 gives the formula of optax and TensorFlow.
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The factor that gradients are still multiplied by (loss scaling); finite, > 2^-1024.
    pub const fn grad_scale(mut self, grad_scale: f64) -> Self {
        self.grad_scale = grad_scale;
        self
    }

    /// What to do about NaN and infinities.
    pub const fn nonfinite(mut self, nonfinite: Nonfinite) -> Self {
        self.nonfinite = nonfinite;
        self
    }

    /// Sum float64 gradients exactly too, for norm_type 1 and 2.
    pub const fn exact_f64(mut self, exact_f64: bool) -> Self {
        self.exact_f64 = exact_f64;
        self
    }

    /// Threads to use at most; 0: [`num_threads()`](crate::num_threads).
    pub const fn num_threads(mut self, num_threads: u32) -> Self {
        self.num_threads = num_threads;
        self
    }

    /// Whether something else than an error was asked for where gradients are not finite.
    pub(crate) fn is_policy_named(&self) -> bool {
        self.nonfinite != Nonfinite::Leave
    }

    pub(crate) fn raw(&self) -> raw::gradclip_options {
        raw::gradclip_options {
            struct_size: std::mem::size_of::<raw::gradclip_options>() as u64,
            eps: self.eps,
            grad_scale: self.grad_scale,
            nonfinite: match self.nonfinite {
                Nonfinite::Leave => raw::GRADCLIP_NONFINITE_LEAVE,
                Nonfinite::Propagate => raw::GRADCLIP_NONFINITE_PROPAGATE,
                Nonfinite::Zero => raw::GRADCLIP_NONFINITE_ZERO,
            },
            exact_f64: self.exact_f64 as u32,
            num_threads: self.num_threads,
            reserved: 0,
        }
    }
}
