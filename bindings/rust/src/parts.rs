//! Clipping by tensor, by group, and by the units of the weights.

use crate::grad::{list, Grad, Readable};
use crate::options::Options;
use crate::outcome::{new_result, outcome, Clip, Error, Result};
use crate::raw;

/// What clipping in parts found.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Parts {
    /// The norm of all together, and the smallest coefficient.
    pub total: Clip,
    /// The coefficient of each gradient, group or unit.
    pub clip_coefs: Vec<f64>,
    /// The norm of each gradient or group. Of units there are none.
    pub norms: Vec<f64>,
}

/// Each gradient by its own norm (tf.clip_by_norm): `max_norms` has one limit for all, or
/// one for each.
pub fn clip_by_norm(grads: &mut [Grad<'_>], max_norms: &[f64], norm_type: f64, options: &Options) -> Result<Parts> {
    by_gradient(grads, |grads, result, coefs| unsafe {
        let (limits, options) = (max_norms.as_ptr(), options.raw());
        raw::gradclip_clip_by_norm(
            list(grads),
            grads.len(),
            limits,
            max_norms.len(),
            norm_type,
            &options,
            result,
            coefs.as_mut_ptr(),
        )
    })
}

/// Each gradient by its root mean square (optax.clip_by_block_rms, Adafactor's d).
pub fn clip_by_block_rms(grads: &mut [Grad<'_>], threshold: f64, options: &Options) -> Result<Parts> {
    by_gradient(grads, |grads, result, coefs| unsafe {
        raw::gradclip_clip_by_block_rms(list(grads), grads.len(), threshold, &options.raw(), result, coefs.as_mut_ptr())
    })
}

fn by_gradient(
    grads: &mut [Grad<'_>],
    call: impl FnOnce(&mut [Grad<'_>], &mut raw::gradclip_result, &mut Vec<f64>) -> raw::gradclip_status,
) -> Result<Parts> {
    let (mut clip_coefs, mut norms) = (vec![1.0; grads.len()], vec![0.0; grads.len()]);
    let mut result = new_result();
    result.tensor_norms = norms.as_mut_ptr();
    let status = call(grads, &mut result, &mut clip_coefs);
    Ok(Parts { total: outcome(status, &result)?, clip_coefs, norms })
}

/// Groups of gradients, each by the norm of the group: `groups[i]`, below
/// `max_norms.len()`, is the group of `grads[i]`.
pub fn clip_by_group(
    grads: &mut [Grad<'_>],
    groups: &[u32],
    max_norms: &[f64],
    norm_type: f64,
    options: &Options,
) -> Result<Parts> {
    as_many("groups", groups.len(), grads.len())?;
    let (mut clip_coefs, mut norms) = (vec![1.0; max_norms.len()], vec![0.0; max_norms.len()]);
    let mut result = new_result();
    let status = unsafe {
        raw::gradclip_clip_by_group(
            list(grads),
            grads.len(),
            groups.as_ptr(),
            max_norms.as_ptr(),
            max_norms.len(),
            norm_type,
            &options.raw(),
            &mut result,
            norms.as_mut_ptr(),
            clip_coefs.as_mut_ptr(),
        )
    };
    Ok(Parts { total: outcome(status, &result)?, clip_coefs, norms })
}

/// How a gradient is divided into units, for [`adaptive_clip_grad`]: in memory it is an
/// array of the shape [outer, reduced, inner], and all elements that differ only in the
/// middle index are one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Units(raw::gradclip_units);

impl Units {
    /// `outer * reduced * inner` is the gradient's length.
    pub const fn new(outer: u64, reduced: u64, inner: u64) -> Self {
        Units(raw::gradclip_units { outer, reduced, inner })
    }

    /// How many there are.
    fn count(&self) -> Option<usize> {
        usize::try_from(self.0.outer.checked_mul(self.0.inner)?).ok()
    }

    fn fits(&self, length: usize) -> bool {
        self.count().and_then(|units| units.checked_mul(usize::try_from(self.0.reduced).ok()?)) == Some(length)
    }
}

/// Adaptive gradient clipping (Brock et al., arXiv 2102.06171): each unit of a gradient by
/// its norm against that of the same unit of the weights. `clip_factor` 0.01 and `eps` 1e-3
/// are usual; `gradclip.h` has the formula. `clip_coefs` are those of the units, gradient by
/// gradient.
#[allow(clippy::too_many_arguments)]
pub fn adaptive_clip_grad<W: Readable>(
    grads: &mut [Grad<'_>],
    weights: &[W],
    units: &[Units],
    clip_factor: f64,
    eps: f64,
    norm_type: f64,
    options: &Options,
) -> Result<Parts> {
    as_many("weights", weights.len(), grads.len())?;
    as_many("units", units.len(), grads.len())?;
    let mut count = 0;
    for (i, (grad, unit)) in grads.iter().zip(units).enumerate() {
        // Looked at here too, so that an array of any size is made only for units that exist.
        if grad.len() > 0 && !unit.fits(grad.len()) {
            return Err(Error::InvalidArgument(format!(
                "units[{}] must have outer * reduced * inner = {} (got {} * {} * {})",
                i,
                grad.len(),
                unit.0.outer,
                unit.0.reduced,
                unit.0.inner
            )));
        }
        // An empty gradient may have empty units, as many as are asked for.
        count += unit.count().unwrap_or(0);
    }
    let mut clip_coefs = vec![1.0; count];
    let mut result = new_result();
    let status = unsafe {
        raw::gradclip_adaptive_clip_grad(
            list(grads),
            list(weights),
            units.as_ptr() as *const raw::gradclip_units,
            grads.len(),
            clip_factor,
            eps,
            norm_type,
            &options.raw(),
            &mut result,
            clip_coefs.as_mut_ptr(),
        )
    };
    Ok(Parts { total: outcome(status, &result)?, clip_coefs, norms: Vec::new() })
}

fn as_many(name: &str, got: usize, wanted: usize) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!("{} must be as many as the {} gradients (got {})", name, wanted, got)))
}
