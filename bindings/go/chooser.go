package gradclip

/*
#include <gradclip.h>
#include <stdlib.h>

static gradclip_status chooser_clip(gradclip_chooser *chooser, unsigned char *data, uint64_t length, uint32_t dtype,
                                    uint32_t flags, double norm_type, double *loss, gradclip_options *options,
                                    gradclip_result *result, gradclip_decision *decision) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	return gradclip_chooser_clip(chooser, &tensor, 1, norm_type, loss, options, result, decision);
}

static gradclip_status chooser_feed_tensor(gradclip_chooser *chooser, size_t index, unsigned char *data,
                                           uint64_t length, uint32_t dtype, uint32_t flags, double norm_type,
                                           gradclip_options *options, gradclip_result *result) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	return gradclip_chooser_feed_tensor(chooser, index, &tensor, norm_type, options, result);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// Rule is what a Chooser goes by; gradclip.h has the formulas and the papers.
type Rule uint32

const (
	AutoClip Rule = C.GRADCLIP_AUTOCLIP
	ZClip    Rule = C.GRADCLIP_ZCLIP
	AdaGC    Rule = C.GRADCLIP_ADAGC
	SkipStep Rule = C.GRADCLIP_SKIPSTEP
)

// ChooserOptions are those of gradclip_chooser_options. Begin with
// DefaultChooserOptions, then set what differs.
type ChooserOptions struct {
	Rule              Rule
	Mode              uint32
	Window            uint64
	WarmupSteps       uint64
	Percentile        float64
	Decay             float64
	ZThreshold        float64
	MaxNorm           float64
	LambdaRel         float64
	ClipFactor        float64
	Eps               float64
	SkipUpdateOnSpike bool
}

// DefaultChooserOptions are the defaults of a rule.
func DefaultChooserOptions(rule Rule) ChooserOptions {
	var o C.gradclip_chooser_options
	C.gradclip_chooser_options_init(&o, C.sizeof_gradclip_chooser_options, C.uint32_t(rule))
	return ChooserOptions{
		Rule: rule, Mode: uint32(o.mode), Window: uint64(o.window), WarmupSteps: uint64(o.warmup_steps),
		Percentile: float64(o.percentile), Decay: float64(o.decay), ZThreshold: float64(o.z_threshold),
		MaxNorm: float64(o.max_norm), LambdaRel: float64(o.lambda_rel), ClipFactor: float64(o.clip_factor),
		Eps: float64(o.eps), SkipUpdateOnSpike: o.skip_update_on_spike != 0,
	}
}

func (o ChooserOptions) c() C.gradclip_chooser_options {
	var skip C.uint32_t
	if o.SkipUpdateOnSpike {
		skip = 1
	}
	return C.gradclip_chooser_options{
		struct_size: C.sizeof_gradclip_chooser_options, kind: C.uint32_t(o.Rule), mode: C.uint32_t(o.Mode),
		window: C.uint64_t(o.Window), warmup_steps: C.uint64_t(o.WarmupSteps), percentile: C.double(o.Percentile),
		decay: C.double(o.Decay), z_threshold: C.double(o.ZThreshold), max_norm: C.double(o.MaxNorm),
		lambda_rel: C.double(o.LambdaRel), clip_factor: C.double(o.ClipFactor), eps: C.double(o.Eps),
		skip_update_on_spike: skip,
	}
}

// Action is what is to be done with a step.
type Action uint32

const (
	// Pass takes the gradients as they are.
	Pass Action = C.GRADCLIP_ACTION_PASS
	// Clip multiplies them by ClipCoef.
	Clip Action = C.GRADCLIP_ACTION_CLIP
	// Skip leaves the step out.
	Skip Action = C.GRADCLIP_ACTION_SKIP
)

// Decision is a chooser's about a step.
type Decision struct {
	Action Action
	// Threshold is max_norm for this step; infinite if there is none.
	Threshold float64
	// ClipCoef is between 0 and 1; of AdaGC's the smallest; 1 if the step is skipped.
	ClipCoef float64
	// TensorThresholds and TensorCoefs are AdaGC's, from FeedTensors and Clip.
	TensorThresholds, TensorCoefs []float64
	// Mean and Deviation are what ZClip and SkipStep went by.
	Mean, Deviation float64
	// Steps is how many norms entered the history so far; Recorded whether this one did.
	Steps    uint64
	Recorded bool
}

// Chooser picks max_norm from the norms of the steps before. Clip measures, decides and
// clips; or, told the norm of every step (DeferClip, Accumulator.Finish), it decides what
// an optimizer is to multiply by: ClipCoef times the Factor of that call. Two goroutines
// must not use one at a time, but for FeedTensor, and it must not be copied (go vet finds copies).
type Chooser struct {
	_      noCopy
	handle *C.gradclip_chooser
	rule   Rule
}

// NewChooser makes one.
func NewChooser(options ChooserOptions) (*Chooser, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, o := &Chooser{rule: options.Rule}, options.c()
	if err := check(C.gradclip_chooser_create(&o, &c.handle)); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(c, (*Chooser).Close)
	return c, nil
}

// Close releases it. It may be called twice.
func (c *Chooser) Close() error {
	C.gradclip_chooser_free(c.handle)
	c.handle = nil
	runtime.SetFinalizer(c, nil)
	return nil
}

// Reset forgets all norms.
func (c *Chooser) Reset() error {
	return c.call(func() C.gradclip_status { return C.gradclip_chooser_reset(c.handle) })
}

// Feed tells it the norm of a step. When the step is to be skipped that is an error: a
// *SkipStepError, or a *NonFiniteError for a norm or a loss that is not finite.
func (c *Chooser) Feed(totalNorm float64) (Decision, error) {
	return c.feed(totalNorm, nil)
}

// FeedLoss is the same with the loss of the step, which SkipStep looks at.
func (c *Chooser) FeedLoss(totalNorm, loss float64) (Decision, error) {
	return c.feed(totalNorm, (*C.double)(&loss))
}

func (c *Chooser) feed(totalNorm float64, loss *C.double) (Decision, error) {
	var d C.gradclip_decision
	C.gradclip_decision_init(&d, C.sizeof_gradclip_decision)
	var status C.gradclip_status
	err := c.call(func() C.gradclip_status {
		status = C.gradclip_chooser_feed(c.handle, C.double(totalNorm), loss, &d)
		return status
	})
	if err != nil {
		return Decision{}, err
	}
	return told(status, totalNorm, decision(&d))
}

// told is what a decision comes to: that the step is to be skipped must not be overlooked.
func told(status C.gradclip_status, totalNorm float64, d Decision) (Decision, error) {
	r := Result{TotalNorm: totalNorm, ClipCoef: d.ClipCoef, Factor: d.ClipCoef, FirstTensor: -1, FirstElement: -1}
	switch status {
	case C.GRADCLIP_NON_FINITE:
		return d, &NonFiniteError{r}
	case C.GRADCLIP_SKIP_STEP:
		return d, &SkipStepError{r, d}
	}
	return d, nil
}

// Clip measures gradients, decides, and clips them in place. The options are those of
// ClipGradNorm. When the step is to be skipped that is an error, and nothing was written: a
// *SkipStepError, or a *NonFiniteError under the policy Leave.
//
// A list of one gradient is one call of gradclip_chooser_clip. A longer one is measured,
// told and scaled gradient by gradient, with the same decisions; only, gradients whose norm
// exceeds the largest float64 are skipped, and AdaGC's coefficients in its warm-up may differ
// in the last digit.
func (c *Chooser) Clip(grads []Grad, options ...Option) (Result, Decision, error) {
	return c.clip(grads, nil, options)
}

// ClipLoss is the same with the loss of the step, which SkipStep looks at.
func (c *Chooser) ClipLoss(grads []Grad, loss float64, options ...Option) (Result, Decision, error) {
	return c.clip(grads, (*C.double)(&loss), options)
}

func (c *Chooser) clip(grads []Grad, loss *C.double, options []Option) (Result, Decision, error) {
	s := settled(options)
	if len(grads) == 1 {
		return c.clipOne(&grads[0], loss, &s)
	}
	if c.rule == AdaGC {
		return c.clipTensors(grads, &s)
	}
	a, err := newAccumulator(&s)
	if err != nil {
		return Result{}, Decision{}, err
	}
	defer a.Close()
	if err := a.Add(grads...); err != nil {
		return Result{}, Decision{}, err
	}
	result, err := a.clipNothing(math.Inf(1))
	var left *NonFiniteError
	if err != nil && !errors.As(err, &left) {
		return result, Decision{}, err
	}
	d, skip := c.feed(result.TotalNorm, loss)
	if left != nil {
		return result, d, err
	}
	if skip != nil && !(errors.As(skip, &left) && s.options.nonfinite == C.GRADCLIP_NONFINITE_PROPAGATE && result.NonfiniteCount > 0) {
		result.ClipCoef, result.Factor = 1, 1 // nothing is written
		var outlier *SkipStepError
		if errors.As(skip, &outlier) {
			return result, d, &SkipStepError{result, d}
		}
		return result, d, &NonFiniteError{result}
	}
	maxNorm := d.Threshold
	if c.rule == SkipStep {
		maxNorm = math.Inf(1) // its threshold says what is skipped; nothing is clipped
	}
	result, err = a.Clip(maxNorm, grads...)
	d.ClipCoef = result.ClipCoef
	return result, d, err
}

func (c *Chooser) clipOne(g *Grad, loss *C.double, s *settings) (Result, Decision, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.KeepAlive(c)
	var d C.gradclip_decision
	C.gradclip_decision_init(&d, C.sizeof_gradclip_decision)
	room := newRoom(&d, c.rule, 1)
	defer room.free()
	r := newResult()
	status := C.chooser_clip(c.handle, g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(),
		C.double(s.normType), loss, &s.options, &r, &d)
	result, err := outcome(status, &r)
	made := decision(&d)
	room.fill(&made)
	if status == C.GRADCLIP_SKIP_STEP {
		return result, made, &SkipStepError{result, made}
	}
	return result, made, err
}

// clipTensors is AdaGC's Clip of a list: each gradient by its own coefficient.
func (c *Chooser) clipTensors(grads []Grad, s *settings) (Result, Decision, error) {
	for i := range grads {
		if grads[i].uncounted {
			return Result{}, Decision{}, &Error{InvalidArgument, fmt.Sprintf("grads[%d] must be counted: AdaGC has a threshold for each", i)}
		}
	}
	result, err := measure(grads, s)
	if err != nil {
		return result, Decision{}, err
	}
	norms, err := getNorms(grads, s)
	if err != nil {
		return result, Decision{}, err
	}
	for i := range grads {
		if grads[i].length == 0 {
			norms[i] = -1
		}
	}
	d, err := c.FeedTensors(norms)
	var left *NonFiniteError
	switch {
	case err == nil:
	case errors.As(err, &left) && s.options.nonfinite == C.GRADCLIP_NONFINITE_PROPAGATE && result.NonfiniteCount > 0:
		// What torch does: everything is multiplied by the coefficient of the norm.
		result, err = ClipGradNorm(grads, 1, func(given *settings) { *given = *s })
		return result, d, err
	default:
		return result, d, err
	}
	// Of the options the policy and grad_scale are still to be done: by norms that are known.
	zero := s.options
	result.ClipCoef, result.Factor = d.ClipCoef, d.ClipCoef/float64(s.options.grad_scale)
	zero.eps = 0
	for i := range grads {
		if err := clipByKnownNorm(&grads[i], d.TensorCoefs[i], &zero); err != nil {
			return result, d, err
		}
	}
	return result, d, nil
}

// FeedTensors is Feed for AdaGC, with the norm of each gradient; -1 for one that is not
// there in this step. Their number is that of the first call.
func (c *Chooser) FeedTensors(norms []float64) (Decision, error) {
	var d C.gradclip_decision
	C.gradclip_decision_init(&d, C.sizeof_gradclip_decision)
	var given *C.double
	if len(norms) > 0 {
		given = (*C.double)(&norms[0])
	}
	room := newRoom(&d, AdaGC, len(norms))
	defer room.free()
	var status C.gradclip_status
	err := c.call(func() C.gradclip_status {
		status = C.gradclip_chooser_feed_tensors(c.handle, given, C.size_t(len(norms)), &d)
		return status
	})
	if err != nil {
		return Decision{}, err
	}
	made := decision(&d)
	room.fill(&made)
	largest := 0.0
	for _, norm := range norms {
		if !(norm <= largest) {
			largest = norm
		}
	}
	return told(status, largest, made)
}

// FeedTensor is AdaGC gradient by gradient, for an optimizer that steps inside the backward
// pass: it multiplies gradient `index` by the Factor of the result. Any number of goroutines may
// call it at a time, but no other method meanwhile. Until WarmupSteps each gradient is
// clipped by its own norm, for no global norm is known. A *NonFiniteError, or a *SkipStepError for a norm beyond the
// largest float64, says to leave this gradient's step out.
func (c *Chooser) FeedTensor(index int, grad Grad, options ...Option) (Result, error) {
	s := settled(options)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.KeepAlive(c)
	r := newResult()
	status := C.chooser_feed_tensor(c.handle, C.size_t(index), grad.bytes(), C.uint64_t(grad.length),
		C.uint32_t(grad.dtype), grad.flags(), C.double(s.normType), &s.options, &r)
	result, err := outcome(status, &r)
	if status == C.GRADCLIP_SKIP_STEP {
		return result, &SkipStepError{result, Decision{Action: Skip, Threshold: math.Inf(1), ClipCoef: 1}}
	}
	return result, err
}

// room is what a decision points to for AdaGC's thresholds and coefficients: C's memory,
// for to Go's it must not point.
type room struct {
	thresholds, coefs *C.double
	count             int
}

func newRoom(d *C.gradclip_decision, rule Rule, count int) room {
	if rule != AdaGC {
		return room{}
	}
	r := room{(*C.double)(C.calloc(C.size_t(count)+1, 8)), (*C.double)(C.calloc(C.size_t(count)+1, 8)), count}
	d.tensor_thresholds, d.tensor_coefs = r.thresholds, r.coefs
	return r
}

func (r room) fill(d *Decision) {
	d.TensorThresholds, d.TensorCoefs = floats(r.thresholds, r.count), floats(r.coefs, r.count)
}

func (r room) free() {
	C.free(unsafe.Pointer(r.thresholds))
	C.free(unsafe.Pointer(r.coefs))
}

// floats copies doubles of C's.
func floats(from *C.double, count int) []float64 {
	if count == 0 || from == nil {
		return nil
	}
	return append([]float64(nil), unsafe.Slice((*float64)(unsafe.Pointer(from)), count)...)
}

func decision(d *C.gradclip_decision) Decision {
	return Decision{
		Action: Action(d.action), Threshold: float64(d.threshold), ClipCoef: float64(d.clip_coef),
		Mean: float64(d.mean), Deviation: float64(d.deviation), Steps: uint64(d.steps), Recorded: d.recorded != 0,
	}
}

// Export is options and history as bytes, for a checkpoint.
func (c *Chooser) Export() ([]byte, error) {
	var size C.size_t
	err := c.call(func() C.gradclip_status { return C.gradclip_chooser_export(c.handle, nil, &size) })
	if err != nil {
		return nil, err
	}
	bytes := make([]byte, size)
	err = c.call(func() C.gradclip_status {
		return C.gradclip_chooser_export(c.handle, unsafe.Pointer(&bytes[0]), &size)
	})
	return bytes[:size], err
}

// Import replaces options and history by those in bytes from Export.
func (c *Chooser) Import(bytes []byte) error {
	var data unsafe.Pointer
	if len(bytes) > 0 {
		data = unsafe.Pointer(&bytes[0])
	}
	return c.call(func() C.gradclip_status { return C.gradclip_chooser_import(c.handle, data, C.size_t(len(bytes))) })
}

func (c *Chooser) call(f func() C.gradclip_status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.KeepAlive(c)
	return check(f())
}
