package gradclip

/*
#include <gradclip.h>

static gradclip_status clip_grads_with_norm(unsigned char *data, uint64_t length, uint32_t dtype, uint32_t flags,
                                            double max_norm, double total_norm, gradclip_options *options) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	return gradclip_clip_grads_with_norm(&tensor, 1, max_norm, total_norm, options, NULL);
}

static gradclip_status scale(unsigned char *data, uint64_t length, uint32_t dtype, double factor,
                             gradclip_options *options) {
	gradclip_tensor tensor = {data, length, dtype, 0, 1, 0};
	return gradclip_scale(&tensor, 1, factor, options);
}

static gradclip_status clip_grad_value(unsigned char *data, uint64_t length, uint32_t dtype, double clip_value,
                                       gradclip_options *options) {
	gradclip_tensor tensor = {data, length, dtype, 0, 1, 0};
	return gradclip_clip_grad_value(&tensor, 1, clip_value, options);
}

static gradclip_status clip_grad_norm(unsigned char *data, uint64_t length, uint32_t dtype, uint32_t flags,
                                      double max_norm, double norm_type, gradclip_options *options,
                                      gradclip_result *result) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	return gradclip_clip_grad_norm(&tensor, 1, max_norm, norm_type, options, result);
}

static gradclip_status clip_grad_norm_to(unsigned char *data, unsigned char *output, uint64_t length, uint32_t dtype,
                                         uint32_t flags, double max_norm, double norm_type, gradclip_options *options,
                                         gradclip_result *result) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0}, to = {output, length, dtype, 0, 1, 0};
	return gradclip_clip_grad_norm_to(&tensor, &to, 1, max_norm, norm_type, options, result);
}

static gradclip_status get_total_norm(unsigned char *data, uint64_t length, uint32_t dtype, uint32_t flags,
                                      double norm_type, gradclip_options *options, gradclip_result *result,
                                      double *norm) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	gradclip_result found = *result; // on C's stack: C must not store an address of Go's in memory of Go's
	found.tensor_norms = norm;
	gradclip_status status = gradclip_get_total_norm(&tensor, 1, norm_type, options, &found);
	found.tensor_norms = NULL;
	*result = found;
	return status;
}
*/
import "C"

import (
	"fmt"
	"math"
	"runtime"
)

// ClipGradNorm clips gradients in place so that their norm is at most maxNorm, as
// torch.nn.utils.clip_grad_norm_ does. maxNorm is >= 0 and may be infinite (measure
// only). Nothing is written when nothing needs clipping, nor when there is an error.
func ClipGradNorm(grads []Grad, maxNorm float64, options ...Option) (Result, error) {
	s := settled(options)
	if len(grads) == 1 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		g, r := grads[0], newResult()
		status := C.clip_grad_norm(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(),
			C.double(maxNorm), C.double(s.normType), &s.options, &r)
		return outcome(status, &r)
	}
	a, err := newAccumulator(&s)
	if err != nil {
		return Result{}, err
	}
	defer a.Close()
	if err := a.Add(grads...); err != nil {
		return Result{}, err
	}
	return a.Clip(maxNorm, grads...)
}

// GetTotalNorm is the norm alone; ClipCoef is 1. Nothing is written. NaN and infinities
// are an error unless a policy is named.
func GetTotalNorm(grads []Grad, options ...Option) (Result, error) {
	s := settled(options)
	return measure(grads, &s)
}

// GetNorms is the norm of each gradient; 0 for one that is empty or not counted. NaN and
// infinities are an error unless a policy is named: under Propagate such a gradient has
// the norm that the formula gives, under Zero that of the rest.
func GetNorms(grads []Grad, options ...Option) ([]float64, error) {
	s := settled(options)
	return getNorms(grads, &s)
}

func getNorms(grads []Grad, s *settings) ([]float64, error) {
	norms := make([]float64, len(grads))
	all := Result{FirstTensor: -1, FirstElement: -1}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := check(C.get_total_norm(nil, 0, C.GRADCLIP_F32, 0, C.double(s.normType), &s.options, &C.gradclip_result{
		struct_size: C.sizeof_gradclip_result}, nil)); err != nil {
		return nil, err
	}
	for i := range grads {
		g, r := &grads[i], newResult()
		status := C.get_total_norm(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(),
			C.double(s.normType), &s.options, &r, (*C.double)(&norms[i]))
		if err := check(status); err != nil {
			return nil, err
		}
		if r.nonfinite_count > 0 && all.NonfiniteCount == 0 {
			all.FirstTensor, all.FirstElement, all.TotalNorm = i, int(r.first_element), norms[i]
		}
		all.NonfiniteCount += uint64(r.nonfinite_count)
		all.NaNCount += uint64(r.nan_count)
	}
	if all.NonfiniteCount > 0 && s.options.nonfinite == C.GRADCLIP_NONFINITE_LEAVE {
		all.ClipCoef, all.Factor = 1, 1
		return norms, &NonFiniteError{all}
	}
	return norms, nil
}

// ClipGradNormTo is ClipGradNorm out of place: outputs[i] receives grads[i], clipped, has
// its type and length, and is the same memory or overlaps nothing.
func ClipGradNormTo(grads, outputs []Grad, maxNorm float64, options ...Option) (Result, error) {
	if len(outputs) != len(grads) {
		return Result{}, &Error{InvalidArgument, fmt.Sprintf(
			"outputs must be as many as the %d gradients (got %d)", len(grads), len(outputs))}
	}
	for i := range grads {
		if outputs[i].length != grads[i].length || outputs[i].dtype != grads[i].dtype {
			return Result{}, &Error{InvalidArgument, fmt.Sprintf(
				"outputs[%d] must have the type and the length of the gradient", i)}
		}
	}
	s := settled(options)
	a, err := newAccumulator(&s)
	if err != nil {
		return Result{}, err
	}
	defer a.Close()
	if err := a.Add(grads...); err != nil {
		return Result{}, err
	}
	result, err := a.clipNothing(maxNorm)
	if err != nil {
		return result, err
	}
	// A copy each, which is then clipped in place by the norm of all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	copied := s.options
	copied.grad_scale, copied.nonfinite = 1, C.GRADCLIP_NONFINITE_PROPAGATE
	for i := range grads {
		g := &grads[i]
		status := C.clip_grad_norm_to(g.bytes(), outputs[i].bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype),
			C.GRADCLIP_UNCOUNTED, C.double(math.Inf(1)), 2, &copied, nil)
		if err := check(status); err != nil {
			return result, err
		}
	}
	if result.Factor == 1 && result.NonfiniteCount == 0 {
		return result, nil
	}
	return result, a.clipEach(maxNorm, outputs)
}

// DeferClip does everything but the write: Factor is what an optimizer has to multiply
// gradients by while it reads them (deferred clipping: one pass less).
func DeferClip(grads []Grad, maxNorm float64, options ...Option) (Result, error) {
	s := settled(options)
	a, err := newAccumulator(&s)
	if err != nil {
		return Result{}, err
	}
	defer a.Close()
	if err := a.Add(grads...); err != nil {
		return Result{}, err
	}
	return a.Finish(maxNorm)
}

func measure(grads []Grad, s *settings) (Result, error) {
	a, err := newAccumulator(s)
	if err != nil {
		return Result{}, err
	}
	defer a.Close()
	if err := a.Add(grads...); err != nil {
		return Result{}, err
	}
	return a.clipNothing(math.Inf(1))
}

// ClipCoef is the coefficient that belongs to a norm: min(1, maxNorm / (totalNorm + eps)).
func ClipCoef(maxNorm, totalNorm float64, options ...Option) (float64, error) {
	s := settled(options)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var coefficient C.double
	err := check(C.gradclip_clip_coef(C.double(maxNorm), C.double(totalNorm), &s.options, &coefficient))
	return float64(coefficient), err
}

// ClipGradsWithNorm clips in place by a norm that is known already, that of
// gradient / scale. An infinite one is treated by the policy.
func ClipGradsWithNorm(grads []Grad, maxNorm, totalNorm float64, options ...Option) (Result, error) {
	s, r := settled(options), newResult()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	result, err := outcome(C.gradclip_clip_grads_with_norm(nil, 0, C.double(maxNorm), C.double(totalNorm), &s.options, &r), &r)
	if err != nil {
		return result, err
	}
	return result, each(grads, func(g *Grad) C.gradclip_status {
		return C.clip_grads_with_norm(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(),
			C.double(maxNorm), C.double(totalNorm), &s.options)
	})
}

// clipByKnownNorm multiplies a gradient by a coefficient / grad_scale, with the policy of the
// options for elements that are not finite.
func clipByKnownNorm(g *Grad, coefficient float64, options *C.gradclip_options) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// With a norm of 1 and eps 0 the coefficient is max_norm.
	return check(C.clip_grads_with_norm(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(),
		C.double(coefficient), 1, options))
}

// Scale multiplies all gradients by a finite factor, in place.
func Scale(grads []Grad, factor float64, options ...Option) error {
	s := settled(options)
	return each(grads, func(g *Grad) C.gradclip_status {
		return C.scale(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), C.double(factor), &s.options)
	})
}

// ClipGradValue clamps every element to [-clipValue, clipValue], in place. NaN stays NaN.
func ClipGradValue(grads []Grad, clipValue float64, options ...Option) error {
	s := settled(options)
	return each(grads, func(g *Grad) C.gradclip_status {
		return C.clip_grad_value(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), C.double(clipValue), &s.options)
	})
}

// each calls f with no gradient, and then with each. What is wrong with the other
// arguments shows at the first call, before anything is written.
func each(grads []Grad, f func(*Grad) C.gradclip_status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := check(f(&Grad{dtype: C.GRADCLIP_F32})); err != nil {
		return err
	}
	for i := range grads {
		if status := f(&grads[i]); status < 0 {
			return check(status)
		}
	}
	return nil
}
