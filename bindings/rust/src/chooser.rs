//! Choosers of max_norm, which decide from the norms of the steps before.

use crate::grad::{list, Grad, GradRef};
use crate::options::Options;
use crate::outcome::{check, exported, new_result, outcome, Clip, Error, Result};
use crate::raw;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::raw::c_void;
use std::ptr::{null, null_mut, NonNull};

/// Which rule a [`Chooser`] follows; `gradclip.h` has their formulas and papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    AutoClip,
    ZClip,
    AdaGc,
    SkipStep,
}

/// What a [`Chooser`] is made of. `new` gives the defaults of a rule; a rule looks only
/// at what it uses, but all must be in range.
///
/// ```
/// use gradclip::{Chooser, ChooserOptions, Rule};
/// let chooser = Chooser::new(&ChooserOptions::new(Rule::AutoClip).percentile(20.0).window(1000))?;
/// # Ok::<(), gradclip::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ChooserOptions {
    raw: raw::gradclip_chooser_options,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty,)*) => {
        $($(#[$doc])*
        pub fn $name(mut self, $name: $kind) -> Self {
            self.raw.$name = $name;
            self
        })*
    };
}

impl ChooserOptions {
    pub fn new(rule: Rule) -> Self {
        let mut options = std::mem::MaybeUninit::<raw::gradclip_chooser_options>::zeroed();
        let kind = match rule {
            Rule::AutoClip => raw::GRADCLIP_AUTOCLIP,
            Rule::ZClip => raw::GRADCLIP_ZCLIP,
            Rule::AdaGc => raw::GRADCLIP_ADAGC,
            Rule::SkipStep => raw::GRADCLIP_SKIPSTEP,
        };
        // All zeros are a value of the struct, and the call cannot fail: the size and
        // the kind are known to the library.
        let raw = unsafe {
            let size = size_of::<raw::gradclip_chooser_options>();
            raw::gradclip_chooser_options_init(options.as_mut_ptr(), size, kind);
            options.assume_init()
        };
        ChooserOptions { raw }
    }

    setters! {
        /// AutoClip: 0 or 1, ZClip: 0, 1 or 2.
        mode: u32,
        /// AutoClip: 0 (all) to 10^6 norms; SkipStep: 2 to 10^6.
        window: u64,
        /// ZClip and AdaGC.
        warmup_steps: u64,
        /// AutoClip: 0 to 100.
        percentile: f64,
        /// 0 to 1: ZClip's alpha, AdaGC's beta.
        decay: f64,
        /// Finite, >= 0: ZClip; SkipStep's sigma_factor.
        z_threshold: f64,
        /// >= 0: ZClip's cap; AdaGC's lambda_abs.
        max_norm: f64,
        /// AdaGC: finite, >= 0.
        lambda_rel: f64,
        /// ZClip, mode 0: finite, >= 0.
        clip_factor: f64,
        /// Finite, >= 0.
        eps: f64,
    }

    /// ZClip: a spike leaves mean and variance alone.
    pub fn skip_update_on_spike(mut self, skip: bool) -> Self {
        self.raw.skip_update_on_spike = skip as u32;
        self
    }
}

/// What is to be done with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take the gradients as they are.
    Pass,
    /// Multiply them by `clip_coef`.
    Clip,
    /// Leave the step out.
    Skip,
}

/// A chooser's decision about a step.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Decision {
    pub action: Action,
    /// max_norm for this step; infinite if there is none.
    pub threshold: f64,
    /// Between 0 and 1; of AdaGC's the smallest; 1 if the step is skipped.
    pub clip_coef: f64,
    /// ZClip: the mean; SkipStep: the mean of the norms before; otherwise 0.
    pub mean: f64,
    /// ZClip, SkipStep: the deviation; infinite if there are too few norms yet.
    pub deviation: f64,
    /// Norms that entered the history so far.
    pub steps: u64,
    /// Whether this one did.
    pub recorded: bool,
    /// AdaGC: the threshold and the coefficient of each gradient; otherwise empty.
    pub tensor_thresholds: Vec<f64>,
    pub tensor_coefs: Vec<f64>,
}

/// A decision for C to fill in, with room for what AdaGC says of each gradient.
struct Room {
    raw: raw::gradclip_decision,
    thresholds: Vec<f64>,
    coefs: Vec<f64>,
}

impl Room {
    fn new(tensors: usize) -> Self {
        let (mut thresholds, mut coefs) = (vec![0.0; tensors], vec![0.0; tensors]);
        let mut raw = new_decision();
        if tensors > 0 {
            // A Vec's memory stays where it is when the Vec moves.
            raw.tensor_thresholds = thresholds.as_mut_ptr();
            raw.tensor_coefs = coefs.as_mut_ptr();
        }
        Room { raw, thresholds, coefs }
    }

    fn decision(self) -> Decision {
        Decision { tensor_thresholds: self.thresholds, tensor_coefs: self.coefs, ..decision(&self.raw) }
    }
}

pub(crate) fn new_decision() -> raw::gradclip_decision {
    raw::gradclip_decision {
        struct_size: size_of::<raw::gradclip_decision>() as u64,
        threshold: 0.0,
        clip_coef: 0.0,
        mean: 0.0,
        deviation: 0.0,
        steps: 0,
        action: 0,
        recorded: 0,
        tensor_thresholds: null_mut(),
        tensor_coefs: null_mut(),
    }
}

fn decision(d: &raw::gradclip_decision) -> Decision {
    Decision {
        action: match d.action {
            raw::GRADCLIP_ACTION_PASS => Action::Pass,
            raw::GRADCLIP_ACTION_CLIP => Action::Clip,
            _ => Action::Skip,
        },
        threshold: d.threshold,
        clip_coef: d.clip_coef,
        mean: d.mean,
        deviation: d.deviation,
        steps: d.steps,
        recorded: d.recorded != 0,
        tensor_thresholds: Vec::new(),
        tensor_coefs: Vec::new(),
    }
}

/// What a chooser that was told a norm came to. That the step is to be skipped is an error,
/// so that it cannot be overlooked.
fn told(status: raw::gradclip_status, total_norm: f64, decision: Decision) -> Result<Decision> {
    check(status)?;
    let clip = Clip { total_norm, clip_coef: decision.clip_coef, factor: decision.clip_coef, nonfinite: None };
    match status {
        raw::GRADCLIP_NON_FINITE => Err(Error::NonFinite(clip)),
        raw::GRADCLIP_SKIP_STEP => Err(Error::SkipStep(clip, Box::new(decision))),
        _ => Ok(decision),
    }
}

fn pointer(loss: &Option<f64>) -> *const f64 {
    loss.as_ref().map_or(null(), |loss| loss)
}

/// A chooser of max_norm: told the norm of every step, it decides what to do about it,
/// from the norms before. It can go to another thread, but is not [`Sync`].
#[derive(Debug)]
pub struct Chooser {
    handle: NonNull<raw::gradclip_chooser>,
    is_per_tensor: bool,
}

// The library ties a chooser to no thread.
unsafe impl Send for Chooser {}

impl Chooser {
    pub fn new(options: &ChooserOptions) -> Result<Self> {
        let mut handle = null_mut();
        check(unsafe { raw::gradclip_chooser_create(&options.raw, &mut handle) })?;
        Ok(Chooser {
            handle: NonNull::new(handle).expect("a chooser after status 0"),
            is_per_tensor: options.raw.kind == raw::GRADCLIP_ADAGC,
        })
    }

    /// Forget all norms.
    pub fn reset(&mut self) -> Result<()> {
        check(unsafe { raw::gradclip_chooser_reset(self.handle.as_ptr()) })
    }

    /// Tell it the norm of a step, and its loss if the rule is to look at that (SkipStep).
    /// When the step is to be skipped, that is an error: [`Error::SkipStep`], or
    /// [`Error::NonFinite`] for a norm or a loss that is not finite.
    ///
    /// With [`defer_clip`](crate::defer_clip) the optimizer multiplies by
    /// `decision.clip_coef * clip.factor`.
    pub fn feed(&mut self, total_norm: f64, loss: Option<f64>) -> Result<Decision> {
        let mut d = new_decision();
        let status = unsafe { raw::gradclip_chooser_feed(self.handle.as_ptr(), total_norm, pointer(&loss), &mut d) };
        told(status, total_norm, decision(&d))
    }

    /// The same for AdaGc, with the norm of each gradient ([`get_norms`](crate::get_norms));
    /// -1 for one that is not there in this step. Their number is that of the first call.
    /// The optimizer multiplies each gradient by its own of `tensor_coefs`.
    pub fn feed_tensors(&mut self, norms: &[f64]) -> Result<Decision> {
        let mut room = Room::new(norms.len());
        let status = unsafe {
            raw::gradclip_chooser_feed_tensors(self.handle.as_ptr(), norms.as_ptr(), norms.len(), &mut room.raw)
        };
        // What the norms come to together is not asked for here.
        let largest = norms.iter().fold(0.0, |a: f64, &b| if a >= b { a } else { b });
        told(status, largest, room.decision())
    }

    /// AdaGc tensor by tensor, for an optimizer that steps inside the backward pass. What this
    /// gives goes to other threads, and may be used by any number of them at a time.
    pub fn by_tensor(&mut self) -> ByTensor<'_> {
        ByTensor { handle: self.handle, chooser: PhantomData }
    }

    /// Measure gradients, tell the chooser, and clip them in place as it decides. When the
    /// step is to be skipped, that is an error, and nothing was written:
    /// [`Error::SkipStep`], or [`Error::NonFinite`] under the policy `Leave`.
    pub fn clip(
        &mut self,
        grads: &mut [Grad<'_>],
        norm_type: f64,
        loss: Option<f64>,
        options: &Options,
    ) -> Result<(Clip, Decision)> {
        let mut result = new_result();
        let mut room = Room::new(if self.is_per_tensor { grads.len() } else { 0 });
        let status = unsafe {
            raw::gradclip_chooser_clip(
                self.handle.as_ptr(),
                list(grads),
                grads.len(),
                norm_type,
                pointer(&loss),
                &options.raw(),
                &mut result,
                &mut room.raw,
            )
        };
        let clip = outcome(status, &result)?;
        if status == raw::GRADCLIP_SKIP_STEP {
            return Err(Error::SkipStep(clip, Box::new(room.decision())));
        }
        Ok((clip, room.decision()))
    }

    /// The state as bytes, for a checkpoint.
    pub fn export(&self) -> Result<Vec<u8>> {
        exported(|bytes, size| unsafe { raw::gradclip_chooser_export(self.handle.as_ptr(), bytes, size) })
    }

    /// Replace options and history by those in bytes from [`export`](Self::export). Bytes
    /// that are damaged, foreign or of another rule are [`Error::BadData`].
    pub fn import(&mut self, bytes: &[u8]) -> Result<()> {
        check(unsafe {
            raw::gradclip_chooser_import(self.handle.as_ptr(), bytes.as_ptr() as *const c_void, bytes.len())
        })
    }
}

/// A [`Chooser`] of the rule AdaGc that is told one gradient after the other, by any thread.
///
/// ```
/// use gradclip::{Chooser, ChooserOptions, GradRef, Options, Rule};
/// let mut chooser = Chooser::new(&ChooserOptions::new(Rule::AdaGc))?;
/// let by_tensor = chooser.by_tensor();
/// std::thread::scope(|scope| {
///     for i in 0..4 {
///         let by_tensor = &by_tensor;
///         scope.spawn(move || {
///             let grad = [3f32, 4.0];
///             let clip = by_tensor.feed_tensor(i, GradRef::from(&grad), 2.0, &Options::new()).unwrap();
///             assert_eq!((clip.total_norm, (clip.factor * 1e6).round()), (5.0, 2e5));
///         });
///     }
/// });
/// # Ok::<(), gradclip::Error>(())
/// ```
#[derive(Debug)]
pub struct ByTensor<'a> {
    handle: NonNull<raw::gradclip_chooser>,
    chooser: PhantomData<&'a mut Chooser>,
}

// It has this one function, which any number of threads may call; while it lives the chooser is
// borrowed, so that nobody calls another.
unsafe impl Send for ByTensor<'_> {}
unsafe impl Sync for ByTensor<'_> {}

impl ByTensor<'_> {
    /// Measure the gradient of tensor `index`, and say what the optimizer is to multiply it by: `factor`.
    /// Until `warmup_steps` each is clipped by its own norm, for no global norm is known. One that is not
    /// finite is [`Error::NonFinite`], one whose norm exceeds [`f64::MAX`] [`Error::SkipStep`]: leave
    /// this tensor's step out.
    pub fn feed_tensor(&self, index: usize, grad: GradRef<'_>, norm_type: f64, options: &Options) -> Result<Clip> {
        let mut result = new_result();
        let status = unsafe {
            raw::gradclip_chooser_feed_tensor(
                self.handle.as_ptr(),
                index,
                list(&[grad]),
                norm_type,
                &options.raw(),
                &mut result,
            )
        };
        let clip = outcome(status, &result)?;
        if status == raw::GRADCLIP_SKIP_STEP {
            return Err(Error::SkipStep(
                clip,
                Box::new(Decision { action: Action::Skip, ..decision(&new_decision()) }),
            ));
        }
        Ok(clip)
    }
}

impl Drop for Chooser {
    fn drop(&mut self) {
        unsafe { raw::gradclip_chooser_free(self.handle.as_ptr()) }
    }
}
