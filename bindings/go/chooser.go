package gradclip

/*
#include <gradclip.h>
#include <stdlib.h>
*/
import "C"

import (
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
	// TensorCoefs are AdaGC's, from FeedTensors.
	TensorCoefs []float64
	// Mean and Deviation are what ZClip and SkipStep went by.
	Mean, Deviation float64
	// Steps is how many norms entered the history so far; Recorded whether this one did.
	Steps    uint64
	Recorded bool
}

// Chooser picks max_norm from the norms of the steps before: told the norm of every
// step (GetTotalNorm, Accumulator.Finish), it decides what to do about it (Scale by
// ClipCoef, or leave the step out). Two goroutines must not use one at a time.
type Chooser struct{ handle *C.gradclip_chooser }

// NewChooser makes one.
func NewChooser(options ChooserOptions) (*Chooser, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, o := new(Chooser), options.c()
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

// Feed tells it the norm of a step. One that is not finite is no error: Skip it.
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
	err := c.call(func() C.gradclip_status {
		return C.gradclip_chooser_feed(c.handle, C.double(totalNorm), loss, &d)
	})
	return decision(&d), err
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
	// The decision points to room for the coefficients: C's, for Go's it must not.
	size := C.size_t(len(norms))
	d.tensor_coefs = (*C.double)(C.calloc(size+1, 8))
	defer C.free(unsafe.Pointer(d.tensor_coefs))
	err := c.call(func() C.gradclip_status { return C.gradclip_chooser_feed_tensors(c.handle, given, size, &d) })
	made := decision(&d)
	if err == nil {
		for _, coef := range unsafe.Slice(d.tensor_coefs, len(norms)) {
			made.TensorCoefs = append(made.TensorCoefs, float64(coef))
		}
	}
	return made, err
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
