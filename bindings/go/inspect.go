package gradclip

/*
#include <gradclip.h>

static gradclip_status inspect(unsigned char *data, uint64_t length, uint32_t dtype, uint32_t flags, double norm_type,
                               gradclip_options *options, gradclip_report *report, gradclip_result *result) {
	gradclip_tensor tensor = {data, length, dtype, flags, 1, 0};
	return gradclip_inspect(&tensor, 1, norm_type, options, report, sizeof *report, result);
}
*/
import "C"

import (
	"runtime"
	"sort"
)

// Report is what Inspect tells of one gradient. Norm, MaxAbs and Mean are of its finite
// elements, and of gradient / scale.
type Report struct {
	Norm, MaxAbs, Mean                           float64
	Length, NaNCount                             uint64
	PositiveInfinityCount, NegativeInfinityCount uint64
	// ZeroCount is how many elements are +0 or -0; SubnormalCount how many are below the
	// smallest normal number of the type, 0 left out.
	ZeroCount, SubnormalCount uint64
	// FirstNonfinite is the index of the first NaN or infinity; -1 if there is none.
	FirstNonfinite int
}

// Inspect looks at every gradient: who is large, who is NaN. The Result has the total norm
// over finite elements, and the counts; what is not finite is no error here.
func Inspect(grads []Grad, options ...Option) ([]Report, Result, error) {
	s := settled(options)
	s.options.nonfinite = C.GRADCLIP_NONFINITE_ZERO // the norm is that of the rest
	reports := make([]Report, len(grads))
	total, err := measure(grads, &s)
	if err != nil {
		return nil, total, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := range grads {
		g := &grads[i]
		var r C.gradclip_report
		status := C.inspect(g.bytes(), C.uint64_t(g.length), C.uint32_t(g.dtype), g.flags(), C.double(s.normType),
			&s.options, &r, nil)
		if err := check(status); err != nil {
			return nil, total, err
		}
		reports[i] = Report{
			Norm: float64(r.norm), MaxAbs: float64(r.max_abs), Mean: float64(r.mean), Length: uint64(r.length),
			NaNCount: uint64(r.nan_count), PositiveInfinityCount: uint64(r.positive_infinity_count),
			NegativeInfinityCount: uint64(r.negative_infinity_count), ZeroCount: uint64(r.zero_count),
			SubnormalCount: uint64(r.subnormal_count), FirstNonfinite: -1,
		}
		if r.first_nonfinite != C.GRADCLIP_NONE {
			reports[i].FirstNonfinite = int(r.first_nonfinite)
		}
	}
	return reports, total, nil
}

// FindOverlap looks for two gradients that share memory, which would be counted and scaled
// twice: their places in the list, the first below the second, and whether there are any. (It
// is gradclip_find_overlap in Go, for C would have to be handed the list.)
func FindOverlap(grads []Grad) (first, second int, found bool) {
	order := make([]int, 0, len(grads))
	for i := range grads {
		if grads[i].length > 0 {
			order = append(order, i)
		}
	}
	begin := func(i int) uintptr { return uintptr(grads[i].data) }
	sort.SliceStable(order, func(a, b int) bool { return begin(order[a]) < begin(order[b]) })
	for n := 1; n < len(order); n++ {
		a, b := order[n-1], order[n]
		if begin(b)-begin(a) < uintptr(grads[a].size()) {
			if a > b {
				a, b = b, a
			}
			return a, b, true
		}
	}
	return len(grads), len(grads), false
}
