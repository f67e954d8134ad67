//! Clipping by example, for differentially private training.

use crate::grad::{list, Grad, Readable};
use crate::options::Options;
use crate::outcome::{check, Error, Result};
use crate::raw;
use std::mem::size_of;
use std::ptr::{null, null_mut};

/// How an example's coefficient follows from its norm n; `gradclip.h` has the papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExampleRule {
    /// min(1, max_norm / (n + eps)).
    Clip,
    /// max_norm / (n + eps), also above 1.
    Automatic,
    /// 1 if n <= max_norm, otherwise 0.
    Threshold,
}

/// What [`clip_per_example`] found.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct PerExample {
    /// Examples with a norm above their max_norm; the dropped are not among them.
    pub clipped: u64,
    /// Examples that were dropped for a NaN or an infinity.
    pub nonfinite: u64,
    /// The first of them.
    pub first_nonfinite: Option<usize>,
    /// What the norm of no contribution exceeds.
    pub sensitivity: f64,
    /// What the norm of the sums' rounding error does not exceed.
    pub rounding_bound: f64,
    /// The norms and the factors of the examples, `max_norms.len()` of each together.
    pub norms: Vec<f64>,
    pub factors: Vec<f64>,
}

/// Clip the gradient of every example by its own norm over all tensors, and add up.
///
/// `grads` are of the shape [examples, ...]; `sums` receive the sums, or are empty to
/// measure only. `max_norms` has one limit, or one a gradient (per-layer clipping). An
/// example that is not finite is dropped, which is told and no error.
pub fn clip_per_example<G: Readable>(
    grads: &[G],
    sums: &mut [Grad<'_>],
    examples: usize,
    max_norms: &[f64],
    rule: ExampleRule,
    options: &Options,
) -> Result<PerExample> {
    if !sums.is_empty() && sums.len() != grads.len() {
        return Err(Error::InvalidArgument(format!(
            "sums must be as many as the {} gradients, or none (got {})",
            grads.len(),
            sums.len()
        )));
    }
    // Without a gradient nothing bounds how many examples there are: then nothing is told of each.
    let told = if grads.is_empty() { 0 } else { examples };
    let room = match told.checked_mul(max_norms.len()) {
        Some(room) if grads.iter().all(|grad| examples == 0 || grad.length() % examples == 0) => room,
        _ => {
            return Err(Error::InvalidArgument(format!(
                "grads must have lengths that are multiples of examples (got {})",
                examples
            )))
        }
    };
    let (mut norms, mut factors) = (vec![0.0; room], vec![0.0; room]);
    let mut found = raw::gradclip_per_example_result {
        struct_size: size_of::<raw::gradclip_per_example_result>() as u64,
        clipped: 0,
        nonfinite: 0,
        first_nonfinite: 0,
        sensitivity: 0.0,
        rounding_bound: 0.0,
    };
    let rule = match rule {
        ExampleRule::Clip => raw::GRADCLIP_EXAMPLE_CLIP,
        ExampleRule::Automatic => raw::GRADCLIP_EXAMPLE_AUTOMATIC,
        ExampleRule::Threshold => raw::GRADCLIP_EXAMPLE_THRESHOLD,
    };
    let output = |values: &mut Vec<f64>| if values.is_empty() { null_mut() } else { values.as_mut_ptr() };
    check(unsafe {
        raw::gradclip_clip_per_example(
            list(grads),
            if sums.is_empty() { null() } else { list(sums) },
            grads.len(),
            examples,
            max_norms.as_ptr(),
            max_norms.len(),
            rule,
            &options.raw(),
            &mut found,
            output(&mut norms),
            output(&mut factors),
        )
    })?;
    Ok(PerExample {
        clipped: found.clipped,
        nonfinite: found.nonfinite,
        first_nonfinite: (found.first_nonfinite != raw::GRADCLIP_NONE).then_some(found.first_nonfinite as usize),
        sensitivity: found.sensitivity,
        rounding_bound: found.rounding_bound,
        norms,
        factors,
    })
}

/// The max_norm for the next step, if a share `quantile` of the examples is to stay
/// unclipped (Andrew et al., arXiv 1905.03871). `quantile` 0.5 and `rate` 0.2 are usual.
pub fn adapt_max_norm(max_norm: f64, unclipped: f64, examples: f64, quantile: f64, rate: f64) -> Result<f64> {
    let mut adapted = 0.0;
    check(unsafe { raw::gradclip_adapt_max_norm(max_norm, unclipped, examples, quantile, rate, &mut adapted) })?;
    Ok(adapted)
}
