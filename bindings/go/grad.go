package gradclip

// #include <gradclip.h>
import "C"

import "unsafe"

// Grad is one gradient: a slice of Go's, or of memory that C allocated.
type Grad struct {
	data      unsafe.Pointer
	length    int
	dtype     uint32
	uncounted bool
}

// F32 is a gradient of float32.
func F32(grad []float32) Grad { return newGrad(grad, C.GRADCLIP_F32) }

// F64 is a gradient of float64.
func F64(grad []float64) Grad { return newGrad(grad, C.GRADCLIP_F64) }

// F16 is a gradient of IEEE binary16, given as its bits.
func F16(bits []uint16) Grad { return newGrad(bits, C.GRADCLIP_F16) }

// BF16 is a gradient of bfloat16, given as its bits.
func BF16(bits []uint16) Grad { return newGrad(bits, C.GRADCLIP_BF16) }

// List makes a list of float32 or float64 gradients. The slices must not overlap.
func List[T float32 | float64](grads ...[]T) []Grad {
	dtype := uint32(C.GRADCLIP_F32)
	if unsafe.Sizeof(*new(T)) == 8 {
		dtype = C.GRADCLIP_F64
	}
	list := make([]Grad, len(grads))
	for i, grad := range grads {
		list[i] = newGrad(grad, dtype)
	}
	return list
}

func newGrad[T float32 | float64 | uint16](grad []T, dtype uint32) Grad {
	if len(grad) == 0 {
		return Grad{dtype: dtype}
	}
	return Grad{data: unsafe.Pointer(&grad[0]), length: len(grad), dtype: dtype}
}

// Uncounted is the same gradient, scaled with the others but left out of the norm, and
// not looked at for NaN or infinities: a duplicate of something that another rank counts.
func (g Grad) Uncounted() Grad {
	g.uncounted = true
	return g
}

// Len is the number of elements.
func (g Grad) Len() int { return g.length }

// size is the number of bytes.
func (g Grad) size() int {
	switch g.dtype {
	case C.GRADCLIP_F32:
		return 4 * g.length
	case C.GRADCLIP_F64:
		return 8 * g.length
	}
	return 2 * g.length
}

func (g Grad) memory() []byte { return unsafe.Slice((*byte)(g.data), g.size()) }

func (g Grad) bytes() *C.uchar { return (*C.uchar)(g.data) }

func (g Grad) flags() C.uint32_t {
	if g.uncounted {
		return C.GRADCLIP_UNCOUNTED
	}
	return 0
}
