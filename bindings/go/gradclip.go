// Package gradclip clips gradients with libgradclip: slices in, errors as values.
//
//	weight, bias := []float32{3, 0}, []float32{4}
//	result, err := gradclip.ClipGradNorm(gradclip.List(weight, bias), 1.0)
//
// What is computed is said in gradclip.h. Every function may be called from any
// goroutine at any time, on different gradients. Nothing is kept after a call.
//
// # How gradients reach C
//
// cgo forbids to hand C a pointer to memory that holds Go pointers, and so an array
// of tensors. A list of one gradient (a flat arena) is handed over in one call; of a
// longer list each gradient is added to the norm by a call of its own, and scaled by
// another, which gives the same bits. Keep small gradients in one slice, and clip
// that, to save the calls.
package gradclip

/*
#cgo LDFLAGS: -lgradclip
#include <gradclip.h>
*/
import "C"

import "math"

// Version of the library, "1.0.0" for instance.
func Version() string { return C.GoString(C.gradclip_version_string()) }

// ISA is the instruction set that the kernels of this process use.
func ISA() string { return C.GoString(C.gradclip_isa()) }

// NumThreads is how many threads a call uses at most, the caller's included.
func NumThreads() int { return int(C.gradclip_get_num_threads()) }

// SetNumThreads sets how many threads calls use at most, in the whole process; 0 (or less): as
// many as the process may run on. The results have the same bits for any number.
func SetNumThreads(n int) {
	C.gradclip_set_num_threads(threads(n))
}

// threads is a number of threads as C has it: 0 leaves the choice to the library.
func threads(n int) C.uint32_t {
	switch {
	case n < 0:
		return 0
	case n > math.MaxInt32:
		return math.MaxInt32
	}
	return C.uint32_t(n)
}

// noCopy is what go vet looks for: a value that has one must not be copied.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
