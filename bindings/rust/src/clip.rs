//! Clipping whole lists.

use crate::grad::{list, Grad, Readable};
use crate::options::Options;
use crate::outcome::{check, new_result, outcome, Clip, Error, Result};
use crate::raw;

/// Clip gradients in place so that their norm is at most `max_norm`, as
/// `torch.nn.utils.clip_grad_norm_` does.
///
/// `max_norm` is >= 0 and may be infinite (measure only); `norm_type` is the order p,
/// any number but NaN. Nothing is written when nothing needs clipping, nor after an
/// error.
pub fn clip_grad_norm(grads: &mut [Grad<'_>], max_norm: f64, norm_type: f64, options: &Options) -> Result<Clip> {
    let mut result = new_result();
    let status = unsafe {
        raw::gradclip_clip_grad_norm(list(grads), grads.len(), max_norm, norm_type, &options.raw(), &mut result)
    };
    outcome(status, &result)
}

/// The same out of place: `outputs[i]` receives `grads[i]`, clipped, and has its type
/// and length. It is always written, unless the call returns an error.
pub fn clip_grad_norm_to<G: Readable>(
    grads: &[G],
    outputs: &mut [Grad<'_>],
    max_norm: f64,
    norm_type: f64,
    options: &Options,
) -> Result<Clip> {
    if grads.len() != outputs.len() {
        return Err(Error::InvalidArgument(format!(
            "outputs must be as many as the {} gradients (got {})",
            grads.len(),
            outputs.len()
        )));
    }
    let mut result = new_result();
    let status = unsafe {
        raw::gradclip_clip_grad_norm_to(
            list(grads),
            list(outputs),
            grads.len(),
            max_norm,
            norm_type,
            &options.raw(),
            &mut result,
        )
    };
    outcome(status, &result)
}

/// Only the norm: `clip_coef` is 1. Nothing is written. NaNs and infinities are an error
/// unless a policy is named.
pub fn get_total_norm<G: Readable>(grads: &[G], norm_type: f64, options: &Options) -> Result<Clip> {
    let mut result = new_result();
    let status =
        unsafe { raw::gradclip_get_total_norm(list(grads), grads.len(), norm_type, &options.raw(), &mut result) };
    outcome(status, &result)
}

/// The norm of every gradient; 0 for one that is empty or not counted. NaNs and infinities
/// are [`Error::NonFinite`], unless a policy is named: under `Propagate` such a gradient has
/// the norm that the formula gives, under `Zero` that of the rest.
pub fn get_norms<G: Readable>(grads: &[G], norm_type: f64, options: &Options) -> Result<Vec<f64>> {
    let mut norms = vec![0.0; grads.len()];
    let mut result = new_result();
    result.tensor_norms = norms.as_mut_ptr();
    let status =
        unsafe { raw::gradclip_get_total_norm(list(grads), grads.len(), norm_type, &options.raw(), &mut result) };
    // Of a policy that is named nothing is left to do: this call writes nothing.
    match outcome(status, &result) {
        Err(Error::NonFinite(_)) if options.is_policy_named() => {}
        Err(error) => return Err(error),
        Ok(clip) if clip.nonfinite.is_some() && !options.is_policy_named() => return Err(Error::NonFinite(clip)),
        Ok(_) => {}
    }
    Ok(norms)
}

/// Everything but the write: `factor` is what an optimizer has to multiply gradients
/// by while it reads them (deferred clipping: one pass less).
pub fn defer_clip<G: Readable>(grads: &[G], max_norm: f64, norm_type: f64, options: &Options) -> Result<Clip> {
    let mut result = new_result();
    let status =
        unsafe { raw::gradclip_defer_clip(list(grads), grads.len(), max_norm, norm_type, &options.raw(), &mut result) };
    outcome(status, &result)
}

/// The coefficient that belongs to a norm: min(1, max_norm / (total_norm + eps)).
pub fn clip_coef(max_norm: f64, total_norm: f64, options: &Options) -> Result<f64> {
    let mut coefficient = 0.0;
    check(unsafe { raw::gradclip_clip_coef(max_norm, total_norm, &options.raw(), &mut coefficient) })?;
    Ok(coefficient)
}

/// Clip in place by a norm that is known already, that of gradient / grad_scale.
pub fn clip_grads_with_norm(grads: &mut [Grad<'_>], max_norm: f64, total_norm: f64, options: &Options) -> Result<Clip> {
    let mut result = new_result();
    // Of the counts nothing is set: outcome() shall find none.
    let status = unsafe {
        raw::gradclip_clip_grads_with_norm(list(grads), grads.len(), max_norm, total_norm, &options.raw(), &mut result)
    };
    result.nonfinite_count = 0;
    outcome(status, &result)
}

/// Multiply all gradients by a finite factor, in place. Of the options only
/// num_threads counts.
pub fn scale(grads: &mut [Grad<'_>], factor: f64, options: &Options) -> Result<()> {
    check(unsafe { raw::gradclip_scale(list(grads), grads.len(), factor, &options.raw()) })
}

/// Clamp every element to [-clip_value, clip_value], in place (torch's
/// clip_grad_value_). NaN stays NaN. Of the options only num_threads counts.
pub fn clip_grad_value(grads: &mut [Grad<'_>], clip_value: f64, options: &Options) -> Result<()> {
    check(unsafe { raw::gradclip_clip_grad_value(list(grads), grads.len(), clip_value, &options.raw()) })
}
