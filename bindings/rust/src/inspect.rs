//! The report on every gradient.

use crate::grad::{list, Readable};
use crate::options::Options;
use crate::outcome::{new_result, outcome, Clip, Result};
use crate::raw;
use std::mem::size_of;

/// What [`inspect`] tells of one gradient. Magnitudes and mean are of its finite
/// elements, and of gradient / grad_scale.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Report {
    /// Its norm over finite elements.
    pub norm: f64,
    /// The largest magnitude; 0 if there is none.
    pub max_abs: f64,
    /// The mean; 0 if there is no element.
    pub mean: f64,
    /// Elements.
    pub length: u64,
    pub nan_count: u64,
    pub positive_infinity_count: u64,
    pub negative_infinity_count: u64,
    /// Elements that are +0 or -0.
    pub zero_count: u64,
    /// Elements below the smallest normal number of the type, 0 left out.
    pub subnormal_count: u64,
    /// Index of the first NaN or infinity.
    pub first_nonfinite: Option<usize>,
}

/// Look at every gradient: who is large, who is NaN. The [`Clip`] holds the total norm
/// over finite elements and the counts; non-finite elements are no error here.
pub fn inspect<G: Readable>(grads: &[G], norm_type: f64, options: &Options) -> Result<(Vec<Report>, Clip)> {
    let mut reports: Vec<raw::gradclip_report> = Vec::with_capacity(grads.len());
    let mut result = new_result();
    let status = unsafe {
        raw::gradclip_inspect(
            list(grads),
            grads.len(),
            norm_type,
            &options.raw(),
            reports.as_mut_ptr(),
            size_of::<raw::gradclip_report>(),
            &mut result,
        )
    };
    let clip = outcome(status, &result)?;
    // Every field of every report is written when the call succeeds.
    unsafe { reports.set_len(grads.len()) };
    Ok((reports.iter().map(report).collect(), clip))
}

fn report(r: &raw::gradclip_report) -> Report {
    Report {
        norm: r.norm,
        max_abs: r.max_abs,
        mean: r.mean,
        length: r.length,
        nan_count: r.nan_count,
        positive_infinity_count: r.positive_infinity_count,
        negative_infinity_count: r.negative_infinity_count,
        zero_count: r.zero_count,
        subnormal_count: r.subnormal_count,
        first_nonfinite: (r.first_nonfinite != raw::GRADCLIP_NONE).then_some(r.first_nonfinite as usize),
    }
}
