package gradclip

/*
#include <gradclip.h>
#include <stdlib.h>

static gradclip_status clip_per_example(unsigned char *data, uint64_t length, uint32_t dtype, unsigned char *sum,
                                        uint64_t sum_length, uint32_t sum_dtype, int has_sum, size_t examples,
                                        double *max_norm, uint32_t rule, gradclip_options *options,
                                        gradclip_per_example_result *result, double *norms, double *factors) {
	gradclip_tensor grad = {data, length, dtype, 0, 1, 0}, to = {sum, sum_length, sum_dtype, 0, 1, 0};
	return gradclip_clip_per_example(&grad, has_sum ? &to : NULL, 1, examples, max_norm, 1, rule, options, result,
	                                 norms, factors);
}
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// ExampleRule is how an example's coefficient follows from its norm n.
type ExampleRule uint32

const (
	// ExampleClip is min(1, max_norm / (n + eps)).
	ExampleClip ExampleRule = C.GRADCLIP_EXAMPLE_CLIP
	// ExampleAutomatic is max_norm / (n + eps), also above 1.
	ExampleAutomatic ExampleRule = C.GRADCLIP_EXAMPLE_AUTOMATIC
	// ExampleThreshold is 1 if n <= max_norm, otherwise 0.
	ExampleThreshold ExampleRule = C.GRADCLIP_EXAMPLE_THRESHOLD
)

// PerExample is what ClipPerExample found.
type PerExample struct {
	// Clipped is how many examples have a norm above their max_norm; Nonfinite how many were
	// dropped for a NaN or an infinity, FirstNonfinite the first of them or -1.
	Clipped, Nonfinite uint64
	FirstNonfinite     int
	// Sensitivity is what the norm of no contribution exceeds; RoundingBound what the norm of
	// the sums' rounding error does not.
	Sensitivity, RoundingBound float64
	// Norms and Factors are those of the examples, len(maxNorms) together.
	Norms, Factors []float64
}

// ClipPerExample clips the gradient of every example by its own norm over all gradients, and
// adds up. grads are of the shape [examples, ...]; sums receive the sums, or are nil to
// measure only. maxNorms has one limit, or one a gradient. An example that is not finite is
// dropped, which is told and no error.
//
// A list of one gradient is read where it is. The norm of an example needs all gradients in
// one call, so a longer list is copied to memory of C's for the time of the call.
func ClipPerExample(grads, sums []Grad, examples int, maxNorms []float64, rule ExampleRule, options ...Option) (PerExample, error) {
	if len(sums) != 0 && len(sums) != len(grads) {
		return PerExample{}, &Error{InvalidArgument, fmt.Sprintf(
			"sums must be as many as the %d gradients, or none (got %d)", len(grads), len(sums))}
	}
	if examples < 0 {
		return PerExample{}, &Error{InvalidArgument, fmt.Sprintf("examples must be >= 0 (got %d)", examples)}
	}
	for i := range grads {
		if examples > 0 && grads[i].length%examples != 0 {
			return PerExample{}, &Error{InvalidArgument, fmt.Sprintf(
				"grads[%d] must have a length that is a multiple of examples (got %d and %d)", i, grads[i].length, examples)}
		}
	}
	s := settled(options)
	room := 0
	if len(grads) > 0 {
		room = examples * len(maxNorms)
	}
	// (With room for one more: the address of the first must exist.)
	norms, factors, given := make([]float64, room+1), make([]float64, room+1), append(append([]float64(nil), maxNorms...), 0)
	found := C.gradclip_per_example_result{struct_size: C.sizeof_gradclip_per_example_result}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var status C.gradclip_status
	if len(grads) == 1 && len(maxNorms) == 1 {
		g, sum, has := &grads[0], &Grad{dtype: C.GRADCLIP_F64}, C.int(len(sums))
		if len(sums) == 1 {
			sum = &sums[0]
		}
		status = C.clip_per_example(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), sum.bytes(),
			C.uint64_t(sum.length), C.uint32_t(sum.dtype), has, C.size_t(examples), (*C.double)(&given[0]), C.uint32_t(rule),
			&s.options, &found, (*C.double)(&norms[0]), (*C.double)(&factors[0]))
	} else {
		read, to := newCopies(grads, true), newCopies(sums, false)
		defer read.free()
		defer to.free()
		status = C.gradclip_clip_per_example(read.list(), to.list(), C.size_t(len(grads)), C.size_t(examples),
			(*C.double)(&given[0]), C.size_t(len(maxNorms)), C.uint32_t(rule), &s.options, &found,
			(*C.double)(&norms[0]), (*C.double)(&factors[0]))
		if status == C.GRADCLIP_OK {
			to.copyBack(sums)
		}
	}
	if err := check(status); err != nil {
		return PerExample{}, err
	}
	made := PerExample{
		Clipped: uint64(found.clipped), Nonfinite: uint64(found.nonfinite), FirstNonfinite: -1,
		Sensitivity: float64(found.sensitivity), RoundingBound: float64(found.rounding_bound),
		Norms: norms[:room], Factors: factors[:room],
	}
	if made.Nonfinite > 0 {
		made.FirstNonfinite = int(found.first_nonfinite)
	}
	return made, nil
}

// AdaptMaxNorm is the max_norm for the next step, if a share `quantile` of the examples is
// to stay unclipped (Andrew et al., arXiv 1905.03871); 0.5 and a rate of 0.2 are usual.
func AdaptMaxNorm(maxNorm, unclipped, examples, quantile, rate float64) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var adapted C.double
	err := check(C.gradclip_adapt_max_norm(C.double(maxNorm), C.double(unclipped), C.double(examples), C.double(quantile),
		C.double(rate), &adapted))
	return float64(adapted), err
}

// copies are gradients in memory of C's, and a list of them there.
type copies struct {
	tensors *C.gradclip_tensor
	count   int
}

func newCopies(grads []Grad, filled bool) copies {
	c := copies{count: len(grads)}
	if c.count == 0 {
		return c
	}
	c.tensors = (*C.gradclip_tensor)(C.calloc(C.size_t(c.count), C.sizeof_gradclip_tensor))
	for i, t := range c.slice() {
		g := &grads[i]
		t.data = C.malloc(C.size_t(g.size() + 1))
		t.length, t.dtype, t.flags, t.device_type = C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(), 1
		if filled {
			copy(unsafe.Slice((*byte)(t.data), g.size()), g.memory())
		}
		c.slice()[i] = t
	}
	return c
}

func (c copies) list() *C.gradclip_tensor { return c.tensors }

func (c copies) slice() []C.gradclip_tensor {
	if c.count == 0 {
		return nil
	}
	return unsafe.Slice(c.tensors, c.count)
}

func (c copies) copyBack(grads []Grad) {
	for i, t := range c.slice() {
		copy(grads[i].memory(), unsafe.Slice((*byte)(t.data), grads[i].size()))
	}
}

func (c copies) free() {
	for _, t := range c.slice() {
		C.free(t.data)
	}
	C.free(unsafe.Pointer(c.tensors))
}
