//! What a call found, and what went wrong.

use crate::raw;
use crate::Decision;
use std::ffi::CStr;
use std::fmt;
use std::os::raw::c_void;
use std::ptr::null_mut;

/// What a call found and did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Clip {
    /// The norm before clipping, of gradient / grad_scale.
    pub total_norm: f64,
    /// Between 0 and 1; 1 if nothing was clipped.
    pub clip_coef: f64,
    /// clip_coef / grad_scale: what elements were multiplied by, or are to be.
    pub factor: f64,
    /// The NaNs and infinities, if there are any.
    pub nonfinite: Option<NonFinite>,
}

/// NaNs and infinities among the gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonFinite {
    /// How many elements are NaN or infinite.
    pub count: u64,
    /// How many of those are NaN.
    pub nan_count: u64,
    /// The first of them: which gradient of the list,
    pub first_tensor: usize,
    /// and which element of that.
    pub first_element: usize,
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} not finite ({} NaN, {} infinite): the first is element {} of gradient {}",
            if self.count == 1 { "1 element is".into() } else { format!("{} elements are", self.count) },
            self.nan_count,
            self.count - self.nan_count,
            self.first_element,
            self.first_tensor
        )
    }
}

/// Why a call did nothing. No gradient was written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// There are NaNs or infinities (or the norm or the loss is one), and no policy that
    /// takes care of them. Skip the step.
    /// `total_norm` is what the formula gives; `nonfinite` says where they are.
    NonFinite(Clip),
    /// A [`Chooser`](crate::Chooser) found the step an outlier. Skip it.
    SkipStep(Clip, Box<Decision>),
    /// An argument is outside its range; the text names it and its value.
    InvalidArgument(String),
    /// The request is valid, but this library cannot do it.
    Unsupported(String),
    /// Scratch memory could not be had.
    OutOfMemory(String),
    /// Bytes that were to be read back are damaged or foreign.
    BadData(String),
    /// A status that this version of the crate does not know.
    Other(i32, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NonFinite(clip) => match clip.nonfinite {
                Some(nonfinite) => nonfinite.fmt(f),
                // A chooser was told a loss that is not.
                None if clip.total_norm.is_finite() => f.write_str("the loss is not finite"),
                // clip_grads_with_norm() and feed() are given a norm and look at nothing else.
                None => write!(f, "the norm is not finite ({})", clip.total_norm),
            },
            Error::SkipStep(clip, decision) => {
                write!(f, "the step is an outlier: norm {}, threshold {}", clip.total_norm, decision.threshold)
            }
            Error::InvalidArgument(text)
            | Error::Unsupported(text)
            | Error::OutOfMemory(text)
            | Error::BadData(text) => f.write_str(text),
            Error::Other(status, text) => write!(f, "status {}: {}", status, text),
        }
    }
}

impl std::error::Error for Error {}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// A result for C to fill in.
pub(crate) fn new_result() -> raw::gradclip_result {
    raw::gradclip_result {
        struct_size: std::mem::size_of::<raw::gradclip_result>() as u64,
        total_norm: 0.0,
        clip_coef: 0.0,
        factor: 0.0,
        nonfinite_count: 0,
        nan_count: 0,
        first_tensor: 0,
        first_element: 0,
        tensor_norms: std::ptr::null_mut(),
    }
}

/// A status below 0 as an error. Must run on the thread that made the call, at once:
/// the text is the thread's last.
pub(crate) fn check(status: raw::gradclip_status) -> Result<()> {
    if status >= 0 {
        return Ok(());
    }
    let text = unsafe { CStr::from_ptr(raw::gradclip_last_error()) }.to_string_lossy().into_owned();
    Err(match status {
        raw::GRADCLIP_ERROR_INVALID_ARGUMENT => Error::InvalidArgument(text),
        raw::GRADCLIP_ERROR_UNSUPPORTED => Error::Unsupported(text),
        raw::GRADCLIP_ERROR_OUT_OF_MEMORY => Error::OutOfMemory(text),
        raw::GRADCLIP_ERROR_BAD_DATA => Error::BadData(text),
        _ => Error::Other(status, text),
    })
}

/// The status and the result of a call, as Rust has them.
pub(crate) fn outcome(status: raw::gradclip_status, result: &raw::gradclip_result) -> Result<Clip> {
    check(status)?;
    let nonfinite = (result.nonfinite_count > 0).then_some(NonFinite {
        count: result.nonfinite_count,
        nan_count: result.nan_count,
        first_tensor: result.first_tensor as usize,
        first_element: result.first_element as usize,
    });
    let clip = Clip { total_norm: result.total_norm, clip_coef: result.clip_coef, factor: result.factor, nonfinite };
    if status == raw::GRADCLIP_NON_FINITE {
        Err(Error::NonFinite(clip))
    } else {
        Ok(clip)
    }
}

/// The bytes of a state: `export` tells how many there are, then writes them.
pub(crate) fn exported(export: impl Fn(*mut c_void, *mut usize) -> raw::gradclip_status) -> Result<Vec<u8>> {
    let mut size = 0;
    check(export(null_mut(), &mut size))?;
    let mut bytes = vec![0; size];
    check(export(bytes.as_mut_ptr() as *mut c_void, &mut size))?;
    bytes.truncate(size);
    Ok(bytes)
}
