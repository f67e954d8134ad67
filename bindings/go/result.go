package gradclip

// #include <gradclip.h>
import "C"

import (
	"fmt"
	"math"
)

// Result is what a call found and did.
type Result struct {
	// TotalNorm is the norm before clipping, of gradient / scale.
	TotalNorm float64
	// ClipCoef is between 0 and 1; 1 if nothing was clipped.
	ClipCoef float64
	// Factor is ClipCoef / scale: what elements were multiplied by, or are to be.
	Factor float64
	// NonfiniteCount is how many elements are NaN or infinite, NaNCount how many of
	// those are NaN.
	NonfiniteCount, NaNCount uint64
	// FirstTensor and FirstElement say where the first of them is; -1 if there is none.
	FirstTensor, FirstElement int
}

// NonFiniteError says that there are NaNs or infinities and that the gradients were
// left as they are. Skip the step.
type NonFiniteError struct{ Result Result }

func (e *NonFiniteError) Error() string {
	r := e.Result
	if r.NonfiniteCount == 0 { // a norm or a loss that was given
		if math.IsNaN(r.TotalNorm) || math.IsInf(r.TotalNorm, 0) {
			return fmt.Sprintf("gradclip: the norm is not finite (%v)", r.TotalNorm)
		}
		return "gradclip: the loss is not finite"
	}
	return fmt.Sprintf("gradclip: not finite: %d (%d NaN); the first is element %d of gradient %d",
		r.NonfiniteCount, r.NaNCount, r.FirstElement, r.FirstTensor)
}

// SkipStepError says that a Chooser found the step an outlier. Nothing was written: skip it.
type SkipStepError struct {
	Result   Result
	Decision Decision
}

func (e *SkipStepError) Error() string {
	return fmt.Sprintf("gradclip: the step is an outlier: norm %v, threshold %v", e.Result.TotalNorm, e.Decision.Threshold)
}

// Error is a call that was refused. Nothing was written.
type Error struct {
	// Status is below 0: one of the constants below.
	Status int
	// Message names the argument and its value.
	Message string
}

// What an Error's Status can be.
const (
	InvalidArgument = C.GRADCLIP_ERROR_INVALID_ARGUMENT
	Unsupported     = C.GRADCLIP_ERROR_UNSUPPORTED
	OutOfMemory     = C.GRADCLIP_ERROR_OUT_OF_MEMORY
	BadData         = C.GRADCLIP_ERROR_BAD_DATA
)

func (e *Error) Error() string { return "gradclip: " + e.Message }

// check turns a status below 0 into an error. The message belongs to the thread that
// made the call: callers hold on to theirs (runtime.LockOSThread).
func check(status C.gradclip_status) error {
	if status >= 0 {
		return nil
	}
	return &Error{int(status), C.GoString(C.gradclip_last_error())}
}

func newResult() C.gradclip_result {
	var r C.gradclip_result
	C.gradclip_result_init(&r, C.sizeof_gradclip_result)
	return r
}

func outcome(status C.gradclip_status, r *C.gradclip_result) (Result, error) {
	if err := check(status); err != nil {
		return Result{}, err
	}
	result := Result{
		TotalNorm: float64(r.total_norm), ClipCoef: float64(r.clip_coef), Factor: float64(r.factor),
		NonfiniteCount: uint64(r.nonfinite_count), NaNCount: uint64(r.nan_count),
		FirstTensor: -1, FirstElement: -1,
	}
	if r.nonfinite_count > 0 {
		result.FirstTensor, result.FirstElement = int(r.first_tensor), int(r.first_element)
	}
	if status == C.GRADCLIP_NON_FINITE {
		return result, &NonFiniteError{result}
	}
	return result, nil
}
