package gradclip

/*
#include <gradclip.h>

// The gradient comes as an argument of its own, as cgo demands of a pointer of Go's;
// the tensor that names it lives on C's stack until the call returns. (Bytes, not
// void: of an unsafe.Pointer cgo would search all that was allocated with it.)
static gradclip_status add(gradclip_accumulator *a, unsigned char *data, uint64_t length, uint32_t dtype,
                           uint32_t flags) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	return gradclip_accumulator_add(a, &tensor, 1);
}

static gradclip_status add_difference(gradclip_accumulator *a, unsigned char *data, unsigned char *minus, uint64_t length,
                                      uint64_t minus_length, uint32_t dtype, uint32_t minus_dtype, uint32_t flags,
                                      uint32_t minus_flags) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	gradclip_tensor subtrahend = {minus, minus_length, minus_dtype, minus_flags, 1, 0};
	return gradclip_accumulator_add_difference(a, &tensor, &subtrahend, 1);
}

static gradclip_status clip(gradclip_accumulator *a, unsigned char *data, uint64_t length, uint32_t dtype,
                            uint32_t flags, double max_norm) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	// (Alone an empty one is nothing to clip.)
	return length == 0 ? GRADCLIP_OK : gradclip_accumulator_clip(a, &tensor, 1, max_norm, NULL);
}

// What clipping by the accumulator's norm comes to: of a zero, which stays one. (Without gradients it would
// be what a deferred call comes to.)
static gradclip_status clip_nothing(gradclip_accumulator *a, double max_norm, gradclip_result *result) {
	float zero = 0;
	gradclip_tensor tensor = {&zero, 1, GRADCLIP_F32, GRADCLIP_UNCOUNTED, 1, 0};
	return gradclip_accumulator_clip(a, &tensor, 1, max_norm, result);
}
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Accumulator adds up a norm piece by piece: gradients as the backward pass makes
// them; parts by several goroutines, each with one of its own; shards in several
// processes, which exchange accumulators as bytes. For p = 1 and 2 over float32,
// float16 and bfloat16 the result has the bits of one call, however it was cut.
//
// One accumulator must not be used by two goroutines at a time, nor be copied (go vet
// finds copies).
type Accumulator struct {
	_      noCopy
	handle *C.gradclip_accumulator
}

// NewAccumulator makes one; the options hold for all that is done with it.
func NewAccumulator(options ...Option) (*Accumulator, error) {
	s := settled(options)
	return newAccumulator(&s)
}

func newAccumulator(s *settings) (*Accumulator, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	a := new(Accumulator)
	if err := check(C.gradclip_accumulator_create(C.double(s.normType), &s.options, &a.handle)); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(a, (*Accumulator).Close)
	return a, nil
}

// Close releases it. It may be called twice; an accumulator that is forgotten is
// released by the garbage collector.
func (a *Accumulator) Close() error {
	C.gradclip_accumulator_free(a.handle)
	a.handle = nil
	runtime.SetFinalizer(a, nil)
	return nil
}

// Reset forgets all that was added.
func (a *Accumulator) Reset() error {
	return a.call(func() C.gradclip_status { return C.gradclip_accumulator_reset(a.handle) })
}

// SetNextTensor gives the next gradient that is added this number, those after it the
// following ones: what FirstTensor refers to. A backward pass adds them in the reverse order.
func (a *Accumulator) SetNextTensor(index uint64) error {
	return a.call(func() C.gradclip_status {
		return C.gradclip_accumulator_set_next_tensor(a.handle, C.uint64_t(index))
	})
}

// Add adds gradients. They are numbered in the order in which they are added. NaN and
// infinities are no error yet: Finish tells. After an error the gradients before the
// one that was refused have been added.
func (a *Accumulator) Add(grads ...Grad) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.KeepAlive(a)
	for i := range grads {
		g := &grads[i]
		status := C.add(a.handle, g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags())
		if status < 0 {
			return check(status)
		}
	}
	return nil
}

// AddDifference adds the differences grads[i] - minus[i], as elements of float64, without a
// copy of them: how far weights went. With WithExactF64 their sum is exact. After an error the
// pairs before the one that was refused have been added.
func (a *Accumulator) AddDifference(grads, minus []Grad) error {
	if len(grads) != len(minus) {
		return &Error{InvalidArgument, fmt.Sprintf(
			"minus must be as many as the %d gradients (got %d)", len(grads), len(minus))}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.KeepAlive(a)
	for i := range grads {
		g, m := &grads[i], &minus[i]
		status := C.add_difference(a.handle, g.bytes(), m.bytes(), C.uint64_t(g.length), C.uint64_t(m.length),
			C.uint32_t(g.dtype), C.uint32_t(m.dtype), g.flags(), m.flags())
		if status < 0 {
			return check(status)
		}
	}
	return nil
}

// Merge adds what another accumulator holds, as if its gradients came after these.
func (a *Accumulator) Merge(other *Accumulator) error {
	defer runtime.KeepAlive(other)
	return a.call(func() C.gradclip_status { return C.gradclip_accumulator_merge(a.handle, other.handle) })
}

// Export is the state as bytes, at most 1024, the same on every machine.
func (a *Accumulator) Export() ([]byte, error) {
	bytes := make([]byte, 1024)
	size := C.size_t(len(bytes))
	err := a.call(func() C.gradclip_status {
		return C.gradclip_accumulator_export(a.handle, unsafe.Pointer(&bytes[0]), &size)
	})
	if err != nil {
		return nil, err
	}
	return bytes[:size], nil
}

// Import adds what bytes from Export hold. Damaged or foreign bytes are an Error whose
// Status is BadData.
func (a *Accumulator) Import(bytes []byte) error {
	var data unsafe.Pointer
	if len(bytes) > 0 {
		data = unsafe.Pointer(&bytes[0])
	}
	return a.call(func() C.gradclip_status {
		return C.gradclip_accumulator_import(a.handle, data, C.size_t(len(bytes)))
	})
}

// Words is the accumulator as integers that ranks of a parallel program add up, word by
// word, with any all-reduce that sums int64; gradclip.h says what the sums need besides
// for other orders than 0, 1 and 2, and for float64.
func (a *Accumulator) Words(maxNorm float64) ([]int64, error) {
	words := make([]int64, C.GRADCLIP_WORDS)
	err := a.call(func() C.gradclip_status {
		return C.gradclip_accumulator_to_words(a.handle, C.double(maxNorm), (*C.int64_t)(&words[0]))
	})
	return words, err
}

// SetWords replaces what the accumulator holds by what all ranks' words add up to.
func (a *Accumulator) SetWords(maxNorm float64, sums []int64) error {
	if len(sums) != C.GRADCLIP_WORDS {
		return &Error{InvalidArgument, fmt.Sprintf("sums must have %d words (got %d)", C.GRADCLIP_WORDS, len(sums))}
	}
	return a.call(func() C.gradclip_status {
		return C.gradclip_accumulator_from_words(a.handle, C.double(maxNorm), (*C.int64_t)(&sums[0]))
	})
}

// Finish is the norm of all that was added, with the coefficient and the factor for
// maxNorm. Then Clip, or let the optimizer multiply by the factor.
func (a *Accumulator) Finish(maxNorm float64) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := newResult()
	status := C.gradclip_accumulator_finish(a.handle, C.double(maxNorm), &r)
	runtime.KeepAlive(a)
	return outcome(status, &r)
}

// Clip is Finish, and clips gradients in place by that norm. They are not measured
// again: as a rule they are those that were added.
func (a *Accumulator) Clip(maxNorm float64, grads ...Grad) (Result, error) {
	result, err := a.clipNothing(maxNorm)
	if err != nil || result.Factor == 1 && result.NonfiniteCount == 0 { // nothing to write
		return result, err
	}
	return result, a.clipEach(maxNorm, grads)
}

// clipNothing is what Clip comes to, and writes nothing. Under Zero it is no error, as
// that of Finish is, whose caller reads the gradients as they are.
func (a *Accumulator) clipNothing(maxNorm float64) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := newResult()
	status := C.clip_nothing(a.handle, C.double(maxNorm), &r)
	runtime.KeepAlive(a)
	return outcome(status, &r)
}

func (a *Accumulator) clipEach(maxNorm float64, grads []Grad) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.KeepAlive(a)
	for i := range grads {
		g := &grads[i]
		status := C.clip(a.handle, g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(), C.double(maxNorm))
		if status < 0 {
			return check(status)
		}
	}
	return nil
}

// call makes a call and fetches its error on one thread, and keeps the accumulator from
// its finalizer meanwhile.
func (a *Accumulator) call(f func() C.gradclip_status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.KeepAlive(a)
	return check(f())
}
