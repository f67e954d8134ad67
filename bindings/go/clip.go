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
*/
import "C"

import (
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

// GetTotalNorm is the norm alone; ClipCoef is 1. Nothing is written.
func GetTotalNorm(grads []Grad, options ...Option) (Result, error) {
	return DeferClip(grads, math.Inf(1), options...)
}

// DeferClip does everything but the write: Factor is what an optimizer has to multiply
// gradients by while it reads them (deferred clipping: one pass less).
func DeferClip(grads []Grad, maxNorm float64, options ...Option) (Result, error) {
	s := settled(options)
	return measure(grads, maxNorm, &s)
}

func measure(grads []Grad, maxNorm float64, s *settings) (Result, error) {
	a, err := newAccumulator(s)
	if err != nil {
		return Result{}, err
	}
	defer a.Close()
	if err := a.Add(grads...); err != nil {
		return Result{}, err
	}
	return a.Finish(maxNorm)
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
