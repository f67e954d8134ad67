//! The log of a training run.

use crate::chooser::Decision;
use crate::outcome::{check, new_result, Clip, Result};
use crate::raw;
use std::any::Any;
use std::ffi::CStr;
use std::fmt;
use std::mem::size_of;
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr::null_mut;

/// What a line of a [`Monitor`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// The header or a line of the CSV.
    Csv,
    /// A sentence that names the step, and gradient and element.
    Warning,
}

type Writer = Box<dyn FnMut(LogKind, &str) + Send>;

/// A line of CSV for every step, and a warning the first time that a gradient is not finite,
/// that all are zero, that the loss is not finite. `gradclip advise` reads the CSV.
///
/// ```
/// use gradclip::{clip_grad_norm, Error, Grad, LogKind, Monitor, Options};
/// let (sender, lines) = std::sync::mpsc::channel();
/// let mut monitor = Monitor::new(move |kind, line| {
///     if kind == LogKind::Csv { sender.send(line.to_string()).unwrap() } else { eprintln!("{}", line) }
/// });
/// let mut grad = vec![3.0f32, 4.0];
/// match clip_grad_norm(&mut [Grad::from(&mut grad)], 5.0, 2.0, &Options::new().eps(0.0)) {
///     Ok(clip) | Err(Error::NonFinite(clip)) => monitor.log(&clip, Some(0.1), Some(2.5))?,
///     Err(error) => return Err(error),
/// }
/// assert!(lines.recv().unwrap().starts_with("step,grad_norm,clip_coef,"));
/// assert!(lines.recv().unwrap().starts_with("1,5,1,0.1,2.5,0"));
/// # Ok::<(), Error>(())
/// ```
pub struct Monitor {
    state: raw::gradclip_monitor,
    write: Writer,
}

// The pointers in the state are null but during a call.
unsafe impl Send for Monitor {}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("step", &self.state.step).field("said", &self.state.said).finish()
    }
}

/// A call's writer, and what it panicked with: no panic may pass through C.
struct Call<'a> {
    write: &'a mut Writer,
    panic: Option<Box<dyn Any + Send>>,
}

unsafe extern "C" fn line(data: *mut c_void, kind: u32, text: *const c_char) {
    let call = &mut *(data as *mut Call<'_>);
    if call.panic.is_some() {
        return;
    }
    let kind = if kind == raw::GRADCLIP_LOG_CSV { LogKind::Csv } else { LogKind::Warning };
    let text = CStr::from_ptr(text).to_string_lossy();
    let write = &mut *call.write;
    call.panic = catch_unwind(AssertUnwindSafe(|| write(kind, &text))).err();
}

impl Monitor {
    /// `write` takes lines, which have no newline at their end.
    pub fn new(write: impl FnMut(LogKind, &str) + Send + 'static) -> Self {
        let state = raw::gradclip_monitor {
            struct_size: size_of::<raw::gradclip_monitor>() as u64,
            step: 1,
            callback: None,
            user_data: null_mut(),
            said: 0,
            reserved: 0,
        };
        Monitor { state, write: Box::new(write) }
    }

    /// The same, to go on with a log: the number of the next step, and what was said already
    /// ([`said`](Self::said); 1 for a file that has the header).
    pub fn resume(mut self, step: u64, said: u32) -> Self {
        self.state.step = step;
        self.state.said = said;
        self
    }

    /// The number of the next step.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// What was said already: 1 the header, 4 not finite, 8 all zero, 16 the loss.
    pub fn said(&self) -> u32 {
        self.state.said
    }

    /// Log a step: what clipping it found ([`Error::NonFinite`](crate::Error) holds that, too),
    /// its learning rate and its loss. A panic of the writer goes on after the call.
    pub fn log(&mut self, clip: &Clip, learning_rate: Option<f64>, loss: Option<f64>) -> Result<()> {
        self.log_decision(clip, learning_rate, loss, None)
    }

    /// The same, with what a chooser decided about the step.
    pub fn log_decision(
        &mut self,
        clip: &Clip,
        learning_rate: Option<f64>,
        loss: Option<f64>,
        decision: Option<&Decision>,
    ) -> Result<()> {
        let given = decision.map(|decision| raw::gradclip_decision {
            struct_size: std::mem::size_of::<raw::gradclip_decision>() as u64,
            threshold: decision.threshold,
            action: decision.action as u32,
            ..unsafe { std::mem::zeroed() }
        });
        let mut result = new_result();
        result.total_norm = clip.total_norm;
        result.clip_coef = clip.clip_coef;
        result.factor = clip.factor;
        result.first_tensor = raw::GRADCLIP_NONE;
        result.first_element = raw::GRADCLIP_NONE;
        if let Some(found) = &clip.nonfinite {
            result.nonfinite_count = found.count;
            result.nan_count = found.nan_count;
            result.first_tensor = found.first_tensor as u64;
            result.first_element = found.first_element as u64;
        }
        let mut call = Call { write: &mut self.write, panic: None };
        self.state.callback = Some(line);
        self.state.user_data = &mut call as *mut Call<'_> as *mut c_void;
        let pointer = |value: &Option<f64>| value.as_ref().map_or(std::ptr::null(), |value| value as *const f64);
        let status = unsafe {
            raw::gradclip_monitor_log(
                &mut self.state,
                pointer(&learning_rate),
                pointer(&loss),
                &result,
                given.as_ref().map_or(std::ptr::null(), |given| given),
            )
        };
        self.state.callback = None;
        self.state.user_data = null_mut();
        if let Some(panic) = call.panic {
            resume_unwind(panic);
        }
        check(status)
    }
}
