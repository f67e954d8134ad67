//! A norm that is added up piece by piece.

use crate::grad::{list, Grad, Readable};
use crate::options::Options;
use crate::outcome::{check, exported, new_result, outcome, Clip, Error, Result};
use crate::raw;
use std::os::raw::c_void;
use std::ptr::{null_mut, NonNull};

/// A norm that is added up piece by piece: gradients as the backward pass makes them;
/// parts by several threads, each with an accumulator of its own; shards in several
/// processes, which exchange accumulators as bytes.
///
/// For norm_type 1 and 2 over f32, f16 and bf16, and for the infinities, the result
/// has the bits of one call on the whole list, however it was cut and merged.
///
/// It can go to another thread, but two threads cannot use one at a time:
///
/// ```
/// fn send<T: Send>() {}
/// send::<gradclip::Accumulator>();
/// ```
/// ```compile_fail
/// fn sync<T: Sync>() {}
/// sync::<gradclip::Accumulator>();
/// ```
#[derive(Debug)]
pub struct Accumulator {
    // A raw pointer makes the type neither Send nor Sync.
    handle: NonNull<raw::gradclip_accumulator>,
}

// The library ties an accumulator to no thread.
unsafe impl Send for Accumulator {}

impl Accumulator {
    /// The options hold for all that is done with it.
    pub fn new(norm_type: f64, options: &Options) -> Result<Self> {
        let mut handle = null_mut();
        check(unsafe { raw::gradclip_accumulator_create(norm_type, &options.raw(), &mut handle) })?;
        Ok(Accumulator { handle: NonNull::new(handle).expect("an accumulator after status 0") })
    }

    /// Forget all that was added.
    pub fn reset(&mut self) -> Result<()> {
        check(unsafe { raw::gradclip_accumulator_reset(self.handle.as_ptr()) })
    }

    /// The next gradient that is added has this number, those after it the following ones:
    /// what `first_tensor` refers to. A backward pass adds them in the reverse order.
    pub fn set_next_tensor(&mut self, index: u64) -> Result<()> {
        check(unsafe { raw::gradclip_accumulator_set_next_tensor(self.handle.as_ptr(), index) })
    }

    /// Add gradients. They are numbered in the order in which they are added. NaN and
    /// infinities are no error yet: [`finish`](Self::finish) tells.
    pub fn add<G: Readable>(&mut self, grads: &[G]) -> Result<()> {
        check(unsafe { raw::gradclip_accumulator_add(self.handle.as_ptr(), list(grads), grads.len()) })
    }

    /// Add the differences `tensors[i] - minus[i]`, as elements of f64, without a copy of them: how far
    /// weights went. With [`exact_f64`](Options::exact_f64) their sum is exact.
    pub fn add_difference<G: Readable, H: Readable>(&mut self, tensors: &[G], minus: &[H]) -> Result<()> {
        if tensors.len() != minus.len() {
            return Err(Error::InvalidArgument(format!(
                "minus must have as many tensors as there are to subtract from: {} (got {})",
                tensors.len(),
                minus.len()
            )));
        }
        check(unsafe {
            raw::gradclip_accumulator_add_difference(self.handle.as_ptr(), list(tensors), list(minus), tensors.len())
        })
    }

    /// Add what another one holds, as if its gradients came after these.
    pub fn merge(&mut self, other: &Accumulator) -> Result<()> {
        check(unsafe { raw::gradclip_accumulator_merge(self.handle.as_ptr(), other.handle.as_ptr()) })
    }

    /// The state as bytes, at most 1024, the same on every machine.
    pub fn export(&self) -> Result<Vec<u8>> {
        exported(|bytes, size| unsafe { raw::gradclip_accumulator_export(self.handle.as_ptr(), bytes, size) })
    }

    /// Add what bytes from [`export`](Self::export) hold. Damaged or foreign bytes are
    /// [`Error::BadData`](crate::Error::BadData).
    pub fn import(&mut self, bytes: &[u8]) -> Result<()> {
        check(unsafe {
            raw::gradclip_accumulator_import(self.handle.as_ptr(), bytes.as_ptr() as *const c_void, bytes.len())
        })
    }

    /// The accumulator as integers that ranks of a parallel program add up, word by word,
    /// with any all-reduce that sums i64; `gradclip.h` says what the sums need besides
    /// for other orders than 0, 1 and 2, and for f64.
    pub fn to_words(&self, max_norm: f64) -> Result<[i64; raw::GRADCLIP_WORDS as usize]> {
        let mut words = [0; raw::GRADCLIP_WORDS as usize];
        check(unsafe { raw::gradclip_accumulator_to_words(self.handle.as_ptr(), max_norm, words.as_mut_ptr()) })?;
        Ok(words)
    }

    /// Replace what this holds by what all ranks' words add up to.
    pub fn from_words(&mut self, max_norm: f64, sums: &[i64; raw::GRADCLIP_WORDS as usize]) -> Result<()> {
        check(unsafe { raw::gradclip_accumulator_from_words(self.handle.as_ptr(), max_norm, sums.as_ptr()) })
    }

    /// The norm of all that was added, with clip_coef and factor for `max_norm`. Then
    /// [`clip`](Self::clip), or let the optimizer multiply by `factor`.
    pub fn finish(&mut self, max_norm: f64) -> Result<Clip> {
        let mut result = new_result();
        let status = unsafe { raw::gradclip_accumulator_finish(self.handle.as_ptr(), max_norm, &mut result) };
        outcome(status, &result)
    }

    /// The same, and clip `grads` in place by that norm. They are not measured again: as
    /// a rule they are those that were added.
    pub fn clip(&mut self, grads: &mut [Grad<'_>], max_norm: f64) -> Result<Clip> {
        let mut result = new_result();
        let status = unsafe {
            raw::gradclip_accumulator_clip(self.handle.as_ptr(), list(grads), grads.len(), max_norm, &mut result)
        };
        outcome(status, &result)
    }
}

impl Drop for Accumulator {
    fn drop(&mut self) {
        unsafe { raw::gradclip_accumulator_free(self.handle.as_ptr()) }
    }
}
