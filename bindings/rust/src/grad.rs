//! Gradients as the library takes them.

use crate::raw;
use std::marker::PhantomData;
use std::os::raw::c_void;

/// A gradient to be written: a borrowed slice, array or `Vec` of f32, f64, or of the bits of f16 or bf16.
///
/// ```
/// use gradclip::Grad;
/// let (mut weight, mut bias, mut half) = (vec![0f32; 12], [0f64; 3], [0u16; 5]);
/// let grads = [Grad::from(&mut weight), Grad::from(&mut bias), Grad::bf16(&mut half)];
/// assert_eq!(grads.iter().map(|grad| grad.len()).sum::<usize>(), 20);
/// ```
///
/// The slices are borrowed, so a list can neither outlive them nor name one twice:
///
/// ```compile_fail
/// use gradclip::Grad;
/// let mut weight = vec![0f32; 12];
/// let twice = [Grad::from(&mut weight), Grad::from(&mut weight)];
/// assert_eq!(twice.len(), 2);
/// ```
#[repr(transparent)]
#[derive(Debug)]
pub struct Grad<'a> {
    tensor: raw::gradclip_tensor,
    slice: PhantomData<&'a mut [u8]>,
}

/// A gradient to be read only.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct GradRef<'a> {
    tensor: raw::gradclip_tensor,
    slice: PhantomData<&'a [u8]>,
}

// A Grad is a `&mut [T]` and a GradRef a `&[T]` of plain numbers, and as free to
// go to other threads as those are. A `&Grad` gives no way to write.
unsafe impl Send for Grad<'_> {}
unsafe impl Sync for Grad<'_> {}
unsafe impl Send for GradRef<'_> {}
unsafe impl Sync for GradRef<'_> {}

fn tensor<T>(data: *const T, length: usize, dtype: u32) -> raw::gradclip_tensor {
    raw::gradclip_tensor {
        data: data as *mut c_void,
        length: length as u64,
        dtype,
        flags: 0,
        device_type: 1,
        device_id: 0,
    }
}

macro_rules! constructors {
    ($grad:ident, $($mutability:tt)?) => {
        impl<'a> $grad<'a> {
            fn new(tensor: raw::gradclip_tensor) -> Self {
                $grad { tensor, slice: PhantomData }
            }

            /// IEEE binary16, given as its bits.
            pub fn f16(bits: &'a $($mutability)? [u16]) -> Self {
                Self::new(tensor(bits.as_ptr(), bits.len(), raw::GRADCLIP_F16))
            }

            /// bfloat16, given as its bits.
            pub fn bf16(bits: &'a $($mutability)? [u16]) -> Self {
                Self::new(tensor(bits.as_ptr(), bits.len(), raw::GRADCLIP_BF16))
            }

            /// The same, scaled with the others but left out of the norm, and not
            /// looked at for NaN or infinities: a duplicate of something that
            /// another rank counts.
            pub fn uncounted(mut self) -> Self {
                self.tensor.flags |= raw::GRADCLIP_UNCOUNTED;
                self
            }

            /// Elements.
            pub fn len(&self) -> usize {
                self.tensor.length as usize
            }

            pub fn is_empty(&self) -> bool {
                self.tensor.length == 0
            }
        }

        impl<'a> From<&'a $($mutability)? [f32]> for $grad<'a> {
            fn from(slice: &'a $($mutability)? [f32]) -> Self {
                Self::new(tensor(slice.as_ptr(), slice.len(), raw::GRADCLIP_F32))
            }
        }

        impl<'a> From<&'a $($mutability)? [f64]> for $grad<'a> {
            fn from(slice: &'a $($mutability)? [f64]) -> Self {
                Self::new(tensor(slice.as_ptr(), slice.len(), raw::GRADCLIP_F64))
            }
        }

        impl<'a, T, const N: usize> From<&'a $($mutability)? [T; N]> for $grad<'a>
        where
            $grad<'a>: From<&'a $($mutability)? [T]>,
        {
            fn from(array: &'a $($mutability)? [T; N]) -> Self {
                Self::from(&$($mutability)? array[..])
            }
        }

        impl<'a, T> From<&'a $($mutability)? Vec<T>> for $grad<'a>
        where
            $grad<'a>: From<&'a $($mutability)? [T]>,
        {
            fn from(vec: &'a $($mutability)? Vec<T>) -> Self {
                Self::from(&$($mutability)? vec[..])
            }
        }

        impl sealed::Sealed for $grad<'_> {}
        impl Readable for $grad<'_> {
            fn length(&self) -> usize {
                self.len()
            }
        }
    };
}
constructors!(Grad, mut);
constructors!(GradRef,);

mod sealed {
    pub trait Sealed {}
}

/// What the reading functions take a slice of: [`Grad`] and [`GradRef`].
pub trait Readable: sealed::Sealed {
    #[doc(hidden)]
    fn length(&self) -> usize;
}

/// Both types are a `gradclip_tensor` and nothing else, so a slice of them is what
/// C calls an array of tensors.
pub(crate) fn list<G: Readable>(grads: &[G]) -> *const raw::gradclip_tensor {
    grads.as_ptr() as *const raw::gradclip_tensor
}
