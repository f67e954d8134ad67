package gradclip

/*
#include <gradclip.h>

static gradclip_status clip_by_norm(unsigned char *data, uint64_t length, uint32_t dtype, uint32_t flags,
                                    double max_norm, double norm_type, gradclip_options *options,
                                    gradclip_result *result, double *norm, double *coef) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	gradclip_result found = *result; // on C's stack: C must not store an address of Go's in memory of Go's
	found.tensor_norms = norm;
	gradclip_status status = gradclip_clip_by_norm(&tensor, 1, &max_norm, 1, norm_type, options, &found, coef);
	found.tensor_norms = NULL;
	*result = found;
	return status;
}

// The same limit for a group of one. (Groups of more are clipped through accumulators.)
static gradclip_status clip_by_group(unsigned char *data, uint64_t length, uint32_t dtype, uint32_t flags,
                                     uint32_t group, double *max_norms, size_t group_count, double norm_type,
                                     gradclip_options *options, gradclip_result *result, double *norms,
                                     double *coefs) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	return gradclip_clip_by_group(&tensor, 1, &group, max_norms, group_count, norm_type, options, result, norms, coefs);
}

static gradclip_status clip_by_block_rms(unsigned char *data, uint64_t length, uint32_t dtype, uint32_t flags,
                                         double threshold, gradclip_options *options, gradclip_result *result,
                                         double *norm, double *coef) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	gradclip_result found = *result; // on C's stack: C must not store an address of Go's in memory of Go's
	found.tensor_norms = norm;
	gradclip_status status = gradclip_clip_by_block_rms(&tensor, 1, threshold, options, &found, coef);
	found.tensor_norms = NULL;
	*result = found;
	return status;
}

static gradclip_status adaptive_clip_grad(unsigned char *data, unsigned char *weights, uint64_t length, uint32_t dtype,
                                          uint32_t weight_dtype, uint32_t flags, uint64_t weight_length,
                                          gradclip_units units, double clip_factor, double eps, double norm_type,
                                          gradclip_options *options, gradclip_result *result, double *coefs) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0}, weight = {weights, weight_length, weight_dtype, 0, 1, 0};
	return gradclip_adaptive_clip_grad(&tensor, &weight, &units, 1, clip_factor, eps, norm_type, options, result, coefs);
}
*/
import "C"

import (
	"fmt"
	"math"
	"runtime"
)

// Parts is what clipping in parts found. Total has the norm of all gradients and the
// smallest coefficient.
type Parts struct {
	Total Result
	// ClipCoefs are those of each gradient, group or unit.
	ClipCoefs []float64
	// Norms are those of each gradient or group. Of units there are none.
	Norms []float64
}

// ClipByNorm clips each gradient by its own norm (tf.clip_by_norm). maxNorms has one limit
// for all, or one for each.
func ClipByNorm(grads []Grad, maxNorms []float64, options ...Option) (Parts, error) {
	if len(maxNorms) != 1 && len(maxNorms) != len(grads) {
		return Parts{}, &Error{InvalidArgument, fmt.Sprintf(
			"maxNorms must be 1 or as many as the %d gradients (got %d)", len(grads), len(maxNorms))}
	}
	if err := limits("maxNorms", maxNorms); err != nil {
		return Parts{}, err
	}
	s := settled(options)
	return eachPart(grads, &s, func(i int, g *Grad, r *C.gradclip_result, norm, coef *C.double) C.gradclip_status {
		return C.clip_by_norm(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(),
			C.double(maxNorms[i%len(maxNorms)]), C.double(s.normType), &s.options, r, norm, coef)
	})
}

// ClipByBlockRMS clips each gradient by its root mean square (optax.clip_by_block_rms). Of
// the norm types only 2 is meant.
func ClipByBlockRMS(grads []Grad, threshold float64, options ...Option) (Parts, error) {
	s := settled(options)
	s.normType = 2
	return eachPart(grads, &s, func(i int, g *Grad, r *C.gradclip_result, norm, coef *C.double) C.gradclip_status {
		return C.clip_by_block_rms(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(),
			C.double(threshold), &s.options, r, norm, coef)
	})
}

func limits(name string, maxNorms []float64) error {
	for i, maxNorm := range maxNorms {
		if !(maxNorm >= 0) {
			return &Error{InvalidArgument, fmt.Sprintf("%s[%d] must be a number >= 0 (got %v)", name, i, maxNorm)}
		}
	}
	return nil
}

// eachPart clips gradients one after the other. What is wrong with an argument shows at the
// first call, of an empty gradient; and what is not finite when all are measured, before
// anything is written.
func eachPart(grads []Grad, s *settings,
	clip func(i int, g *Grad, r *C.gradclip_result, norm, coef *C.double) C.gradclip_status) (Parts, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := newResult()
	if err := check(clip(0, &Grad{dtype: C.GRADCLIP_F32}, &r, nil, nil)); err != nil {
		return Parts{}, err
	}
	made := Parts{ClipCoefs: ones(len(grads)), Norms: make([]float64, len(grads))}
	total, err := measure(grads, s)
	made.Total = total
	if err != nil {
		return made, err
	}
	for i := range grads {
		r := newResult()
		status := clip(i, &grads[i], &r, (*C.double)(&made.Norms[i]), (*C.double)(&made.ClipCoefs[i]))
		if err := check(status); err != nil {
			return made, err
		}
	}
	made.Total.smallest(made.ClipCoefs, s)
	return made, nil
}

// smallest makes the coefficient the smallest of some.
func (r *Result) smallest(coefs []float64, s *settings) {
	for _, coef := range coefs {
		if coef < r.ClipCoef || math.IsNaN(coef) {
			r.ClipCoef = coef
		}
	}
	r.Factor = r.ClipCoef / float64(s.options.grad_scale)
}

func ones(count int) []float64 {
	made := make([]float64, count)
	for i := range made {
		made[i] = 1
	}
	return made
}

// ClipByGroup clips groups of gradients, each by the norm of the group: groups[i], below
// len(maxNorms), is the group of grads[i].
func ClipByGroup(grads []Grad, groups []uint32, maxNorms []float64, options ...Option) (Parts, error) {
	if len(groups) != len(grads) {
		return Parts{}, &Error{InvalidArgument, fmt.Sprintf(
			"groups must be as many as the %d gradients (got %d)", len(grads), len(groups))}
	}
	for i, group := range groups {
		if int64(group) >= int64(len(maxNorms)) {
			return Parts{}, &Error{InvalidArgument, fmt.Sprintf("groups[%d] must be < %d (got %d)", i, len(maxNorms), group)}
		}
	}
	if err := limits("maxNorms", maxNorms); err != nil {
		return Parts{}, err
	}
	s := settled(options)
	if len(grads) == 1 {
		return clipOneGroup(&grads[0], groups[0], maxNorms, &s)
	}
	made := Parts{ClipCoefs: ones(len(maxNorms)), Norms: make([]float64, len(maxNorms))}
	total, err := measure(grads, &s)
	made.Total = total
	if err != nil {
		return made, err
	}
	members := make([][]Grad, len(maxNorms))
	for i, group := range groups {
		members[group] = append(members[group], grads[i])
	}
	for group, grads := range members {
		a, err := newAccumulator(&s)
		if err != nil {
			return made, err
		}
		defer a.Close()
		if err := a.Add(grads...); err != nil {
			return made, err
		}
		result, err := a.Clip(maxNorms[group], grads...)
		if err != nil {
			return made, err
		}
		made.Norms[group] = result.TotalNorm
		if len(grads) > 0 {
			made.ClipCoefs[group] = result.ClipCoef
		}
	}
	made.Total.smallest(made.ClipCoefs, &s)
	return made, nil
}

func clipOneGroup(g *Grad, group uint32, maxNorms []float64, s *settings) (Parts, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	made, r := Parts{ClipCoefs: ones(len(maxNorms)), Norms: make([]float64, len(maxNorms))}, newResult()
	status := C.clip_by_group(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(), C.uint32_t(group),
		(*C.double)(&maxNorms[0]), C.size_t(len(maxNorms)), C.double(s.normType), &s.options, &r,
		(*C.double)(&made.Norms[0]), (*C.double)(&made.ClipCoefs[0]))
	total, err := outcome(status, &r)
	made.Total = total
	return made, err
}

// Units say how a gradient is divided, for AdaptiveClipGrad: in memory it is an array of the
// shape [Outer, Reduced, Inner], and all elements that differ only in the middle index are
// one unit.
type Units struct{ Outer, Reduced, Inner uint64 }

// count is how many units there are; false if they do not come to the length.
func (u Units) count(length int) (int, bool) {
	if length == 0 {
		return 0, u.Outer == 0 || u.Reduced == 0 || u.Inner == 0
	}
	n := uint64(length)
	if u.Outer == 0 || u.Reduced == 0 || u.Inner == 0 || n%u.Outer != 0 || n/u.Outer%u.Reduced != 0 ||
		n/u.Outer/u.Reduced != u.Inner {
		return 0, false
	}
	return int(n / u.Reduced), true
}

// AdaptiveClipGrad clips each unit of a gradient by its norm against that of the same unit
// of the weights (Brock et al., arXiv 2102.06171; gradclip.h has the formula). clipFactor
// 0.01 and eps 1e-3 are usual. ClipCoefs are those of the units, gradient by gradient. An
// empty gradient has no units here.
func AdaptiveClipGrad(grads, weights []Grad, units []Units, clipFactor, eps float64, options ...Option) (Parts, error) {
	if len(weights) != len(grads) || len(units) != len(grads) {
		return Parts{}, &Error{InvalidArgument, fmt.Sprintf(
			"weights and units must be as many as the %d gradients (got %d and %d)", len(grads), len(weights), len(units))}
	}
	s := settled(options)
	count := 0
	for i, unit := range units {
		n, fits := unit.count(grads[i].length)
		if !fits || weights[i].length != grads[i].length {
			return Parts{}, &Error{InvalidArgument, fmt.Sprintf(
				"weights[%d] and units[%d] must come to the %d elements of the gradient (got %d, and %d * %d * %d)",
				i, i, grads[i].length, weights[i].length, unit.Outer, unit.Reduced, unit.Inner)}
		}
		count += n
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	call := func(g, w *Grad, u Units, r *C.gradclip_result, coefs *C.double) C.gradclip_status {
		return C.adaptive_clip_grad(g.bytes(), w.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype),
			C.uint32_t(w.dtype), g.flags(), C.uint64_t(w.length),
			C.gradclip_units{outer: C.uint64_t(u.Outer), reduced: C.uint64_t(u.Reduced), inner: C.uint64_t(u.Inner)},
			C.double(clipFactor), C.double(eps), C.double(s.normType), &s.options, r, coefs)
	}
	r, nothing := newResult(), Grad{dtype: C.GRADCLIP_F32}
	if err := check(call(&nothing, &nothing, Units{}, &r, nil)); err != nil {
		return Parts{}, err
	}
	made := Parts{ClipCoefs: ones(count)}
	total, err := measure(grads, &s)
	made.Total = total
	if err != nil {
		return made, err
	}
	// Weights that are not finite are an error before anything is written, too.
	if s.options.nonfinite != C.GRADCLIP_NONFINITE_PROPAGATE {
		plain := settled(nil)
		if _, err := measure(weights, &plain); err != nil {
			return made, &Error{InvalidArgument, "weights: " + err.Error()}
		}
	}
	at := 0
	for i := range grads {
		n, _ := units[i].count(grads[i].length)
		if n == 0 {
			continue
		}
		r := newResult()
		if err := check(call(&grads[i], &weights[i], units[i], &r, (*C.double)(&made.ClipCoefs[at]))); err != nil {
			return made, err
		}
		at += n
	}
	made.Total.smallest(made.ClipCoefs, &s)
	return made, nil
}
