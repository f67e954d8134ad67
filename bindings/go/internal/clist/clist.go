// Package clist makes the calls that package gradclip cannot: on a whole list at once.
// The gradients are copied to memory of C's and back. It is what the tests compare with.
package clist

/*
#include <gradclip.h>
#include <stdlib.h>
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Tensor is the bytes of a gradient and its type.
type Tensor struct {
	Bytes     []byte
	Length    int
	DType     uint32
	Uncounted bool
}

// Options are those of gradclip_options.
type Options struct {
	NormType, Eps, GradScale float64
	Nonfinite                uint32
}

// Outcome is the status and the result as they came back.
type Outcome struct {
	Status                      int
	TotalNorm, ClipCoef, Factor float64
	NonfiniteCount, NaNCount    uint64
	FirstTensor, FirstElement   uint64
	Message                     string
}

// ClipGradNorm is gradclip_clip_grad_norm on the list.
func ClipGradNorm(tensors []Tensor, maxNorm float64, o Options) Outcome {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	list := make([]C.gradclip_tensor, len(tensors)+1)
	for i, t := range tensors {
		list[i].data = C.CBytes(append(t.Bytes, 0))
		defer C.free(list[i].data)
		list[i].length, list[i].dtype = C.uint64_t(t.Length), C.uint32_t(t.DType)
		if t.Uncounted {
			list[i].flags = C.GRADCLIP_UNCOUNTED
		}
	}
	var options C.gradclip_options
	C.gradclip_options_init(&options, C.sizeof_gradclip_options)
	options.eps, options.grad_scale = C.double(o.Eps), C.double(o.GradScale)
	options.nonfinite = C.uint32_t(o.Nonfinite)
	var r C.gradclip_result
	C.gradclip_result_init(&r, C.sizeof_gradclip_result)
	status := C.gradclip_clip_grad_norm(&list[0], C.size_t(len(tensors)), C.double(maxNorm), C.double(o.NormType),
		&options, &r)
	for i, t := range tensors {
		copy(t.Bytes, unsafe.Slice((*byte)(list[i].data), len(t.Bytes)))
	}
	return Outcome{int(status), float64(r.total_norm), float64(r.clip_coef), float64(r.factor),
		uint64(r.nonfinite_count), uint64(r.nan_count), uint64(r.first_tensor), uint64(r.first_element),
		C.GoString(C.gradclip_last_error())}
}
