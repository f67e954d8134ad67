package gradclip_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"gradclip"
	"gradclip/internal/clist"
)

var plain = gradclip.WithEps(0)

func equal(t *testing.T, what string, got, expected any) {
	t.Helper()
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", expected) {
		t.Errorf("%s: got %#v, expected %#v", what, got, expected)
	}
}

func TestClippingScalesEveryTypeByOneFactor(t *testing.T) {
	a, b := []float32{3, 0}, []float64{4}
	c, d := []uint16{0x4a00}, []uint16{0x4140} // 12 as float16 and as bfloat16
	grads := []gradclip.Grad{gradclip.F32(a), gradclip.F64(b), gradclip.F16(c), gradclip.BF16(d).Uncounted()}
	result, err := gradclip.ClipGradNorm(grads, 6.5, plain)
	if err != nil {
		t.Fatal(err)
	}
	// 9 + 16 + 144 = 13^2; the bfloat16 is scaled and not counted.
	equal(t, "result", result, gradclip.Result{13, 0.5, 0.5, 0, 0, -1, -1})
	equal(t, "gradients", []any{a, b, c, d}, []any{[]float32{1.5, 0}, []float64{2}, []uint16{0x4600}, []uint16{0x40c0}})
}

// What a list comes to in pieces is what gradclip_clip_grad_norm makes of it whole, to
// the bit: values, result, and what is written, for every policy.
func TestListsHaveTheBitsOfOneCall(t *testing.T) {
	inf := math.Inf(1)
	random := rand.New(rand.NewSource(8))
	specials := [][]float64{{}, {math.NaN()}, {inf}, {-inf, math.NaN()}}
	count := 0
	for _, p := range []float64{2, 1, 0, 3, 0.5, -1, -2.5, inf, -inf} {
		for policy := gradclip.Leave; policy <= gradclip.Zero; policy++ {
			for _, special := range specials {
				for _, scale := range []float64{1, 3, 1.0 / 1024} {
					for _, maxNorm := range []float64{0, 0.7, 1e9, inf} {
						oneList(t, random, p, policy, special, scale, maxNorm)
						count++
					}
				}
			}
		}
	}
	if count != 9*3*4*3*4 {
		t.Errorf("%d combinations", count)
	}
}

func oneList(t *testing.T, random *rand.Rand, p float64, policy gradclip.Nonfinite, special []float64, scale, maxNorm float64) {
	single, double := make([]float32, 5000), make([]float64, 33)
	duplicate, half := []float32{9, float32(math.NaN()), 4}, make([]uint16, 100)
	for i := range single {
		single[i] = float32(random.NormFloat64())
	}
	for i := range double {
		double[i] = random.NormFloat64()
	}
	for i := range half {
		half[i] = 0x3c00 + uint16(random.Intn(1024)) // 1 ... 2
	}
	for i, x := range special {
		single[4000+i] = float32(x)
		double[7+i] = x
	}
	grads := []gradclip.Grad{
		gradclip.F32(single), gradclip.F64(double), gradclip.F32(nil), gradclip.F32(duplicate).Uncounted(),
		gradclip.F16(half), gradclip.F32(single[:0]),
	}
	slices := []clist.Tensor{
		{DType: 1, Length: len(single), Bytes: bytesOf(single)}, {DType: 2, Length: len(double), Bytes: bytesOf(double)},
		{DType: 1}, {DType: 1, Length: 3, Bytes: bytesOf(duplicate), Uncounted: true},
		{DType: 3, Length: len(half), Bytes: bytesOf(half)}, {DType: 1},
	}
	whole := make([]clist.Tensor, len(slices))
	for i, s := range slices {
		whole[i] = s
		whole[i].Bytes = append([]byte(nil), s.Bytes...)
	}
	what := fmt.Sprintf("p %v, policy %d, with %v, scale %v, max_norm %v", p, policy, special, scale, maxNorm)
	expected := clist.ClipGradNorm(whole, maxNorm, clist.Options{NormType: p, Eps: 1e-6, GradScale: scale, Nonfinite: uint32(policy)})
	if expected.Status < 0 {
		t.Fatalf("%s: %s", what, expected.Message)
	}
	result, err := gradclip.ClipGradNorm(grads, maxNorm, gradclip.WithNormType(p), gradclip.WithGradScale(scale),
		gradclip.WithNonfinite(policy))
	var nonfinite *gradclip.NonFiniteError
	if (expected.Status == 1) != errors.As(err, &nonfinite) || expected.Status == 0 && err != nil {
		t.Fatalf("%s: %v, expected status %d", what, err, expected.Status)
	}
	numbers := []float64{result.TotalNorm, result.ClipCoef, result.Factor, float64(result.NonfiniteCount), float64(result.NaNCount)}
	for i, x := range []float64{expected.TotalNorm, expected.ClipCoef, expected.Factor, float64(expected.NonfiniteCount), float64(expected.NaNCount)} {
		if math.Float64bits(numbers[i]) != math.Float64bits(x) && !(math.IsNaN(numbers[i]) && math.IsNaN(x)) {
			t.Errorf("%s: number %d is %v, expected %v", what, i, numbers[i], x)
		}
	}
	if uint64(result.FirstTensor) != expected.FirstTensor || uint64(result.FirstElement) != expected.FirstElement {
		t.Errorf("%s: first is %d, %d, expected %d, %d", what, result.FirstTensor, result.FirstElement,
			expected.FirstTensor, expected.FirstElement)
	}
	for i := range slices {
		if math.IsNaN(expected.ClipCoef) {
			// All is NaN; which NaN nobody promises.
			if i == 1 {
				for _, x := range double {
					if !math.IsNaN(x) {
						t.Errorf("%s: %v is not NaN", what, x)
					}
				}
			}
			continue
		}
		if !bytes.Equal(slices[i].Bytes, whole[i].Bytes) {
			t.Errorf("%s: gradient %d differs from that of one call", what, i)
		}
	}
}

func bytesOf[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

func TestPropagateOfNaNMakesEveryTypeNaN(t *testing.T) {
	a, b, c, d := []float32{1, float32(math.NaN())}, []float64{1}, []uint16{0x3c00}, []uint16{0x3f80}
	grads := []gradclip.Grad{gradclip.F32(a), gradclip.F64(b), gradclip.F16(c), gradclip.BF16(d)}
	if _, err := gradclip.ClipGradNorm(grads, 1, gradclip.WithNonfinite(gradclip.Propagate)); err != nil {
		t.Fatal(err)
	}
	// Exponent all ones, fraction not zero: NaN.
	if a[0] == a[0] || b[0] == b[0] || c[0]&0x7fff <= 0x7c00 || d[0]&0x7fff <= 0x7f80 {
		t.Errorf("%v %v %x %x", a, b, c, d)
	}
}

func TestEmptyListsHaveNorm0(t *testing.T) {
	for _, grads := range [][]gradclip.Grad{nil, {gradclip.F32(nil)}, gradclip.List([]float64{}, nil)} {
		result, err := gradclip.ClipGradNorm(grads, 1)
		if err != nil || result.TotalNorm != 0 || result.ClipCoef != 1 {
			t.Errorf("%v %v", result, err)
		}
	}
}

func TestDeferredClippingReadsOnly(t *testing.T) {
	a := []float32{30, 40}
	result, err := gradclip.DeferClip(gradclip.List(a), 1, plain, gradclip.WithGradScale(2))
	equal(t, "result", []any{result.TotalNorm, result.ClipCoef, result.Factor, err}, []any{25.0, 0.04, 0.02, error(nil)})
	equal(t, "gradient", a, []float32{30, 40})
	norm, err := gradclip.GetTotalNorm(gradclip.List([]float64{3, -4}, []float64{12}), gradclip.WithNormType(1))
	equal(t, "norm", []any{norm.TotalNorm, norm.ClipCoef, err}, []any{19.0, 1.0, error(nil)})
	coefficient, err := gradclip.ClipCoef(1, 25, plain)
	equal(t, "coefficient", []any{coefficient, err}, []any{0.04, error(nil)})
}

func TestClippingByAKnownNorm(t *testing.T) {
	a, b := []float32{4, -8}, []float32{16}
	result, err := gradclip.ClipGradsWithNorm(gradclip.List(a, b), 1, 4, plain)
	equal(t, "result", []any{result.Factor, err}, []any{0.25, error(nil)})
	equal(t, "gradients", []any{a, b}, []any{[]float32{1, -2}, []float32{4}})
	_, err = gradclip.ClipGradsWithNorm(gradclip.List(a, b), 1, math.Inf(1))
	var nonfinite *gradclip.NonFiniteError
	if !errors.As(err, &nonfinite) || a[0] != 1 {
		t.Errorf("%v %v", err, a)
	}
}

func TestScaleAndClamp(t *testing.T) {
	a, b := []float32{4, -8}, []float64{16, math.NaN()}
	grads := []gradclip.Grad{gradclip.F32(a), gradclip.F64(b)}
	if err := gradclip.Scale(grads, 0.5); err != nil {
		t.Fatal(err)
	}
	if err := gradclip.ClipGradValue(grads, 3); err != nil {
		t.Fatal(err)
	}
	equal(t, "gradients", []any{a, b[0], math.IsNaN(b[1])}, []any{[]float32{2, -3}, 3.0, true})
}

func TestNonFiniteIsAnErrorThatSaysWhere(t *testing.T) {
	a := []float32{3, 4}
	for _, grads := range [][]gradclip.Grad{
		gradclip.List([]float32{1}, []float32{3, float32(math.NaN())}),
		{gradclip.F32([]float32{3, float32(math.Inf(1)), float32(math.NaN())})},
	} {
		_, err := gradclip.ClipGradNorm(append(grads, gradclip.F32(a)), 1)
		var nonfinite *gradclip.NonFiniteError
		if !errors.As(err, &nonfinite) || nonfinite.Result.FirstElement != 1 || nonfinite.Result.NaNCount != 1 {
			t.Errorf("%v", err)
		}
	}
	equal(t, "gradient", a, []float32{3, 4})
	_, err := gradclip.ClipGradNorm(gradclip.List([]float32{1}, []float32{3, float32(math.NaN())}), 1)
	equal(t, "message", err.Error(), "gradclip: not finite: 1 (1 NaN); the first is element 1 of gradient 1")
}

func TestErrorsNameTheArgumentAndItsValueAndNothingIsWritten(t *testing.T) {
	a, b := []float32{3}, []float32{4}
	two := gradclip.List(a, b)
	inf := math.Inf(1)
	second := func(_ any, err error) error { return err }
	for text, err := range map[string]error{
		"max_norm must be a number >= 0 (got -1)": second(gradclip.ClipGradNorm(two, -1)),
		"max_norm must be a number >= 0 (got -3)": second(gradclip.ClipGradNorm(two[:1], -3)),
		"norm_type":  second(gradclip.ClipGradNorm(two, 1, gradclip.WithNormType(math.NaN()))),
		"eps":        second(gradclip.ClipGradNorm(two, 1, gradclip.WithEps(inf))),
		"grad_scale": second(gradclip.DeferClip(two, 1, gradclip.WithGradScale(0))),
		"(got -2)":   second(gradclip.ClipGradsWithNorm(two, 1, -2)),
		"max_norm":   second(gradclip.ClipCoef(math.NaN(), 1)),
		"factor":     gradclip.Scale(two, inf),
		"clip_value": gradclip.ClipGradValue(two, -1),
		"nonfinite":  second(gradclip.ClipGradNorm(two, 1, gradclip.WithNonfinite(9))),
	} {
		var refused *gradclip.Error
		if !errors.As(err, &refused) || refused.Status != gradclip.InvalidArgument || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	equal(t, "gradients", []any{a, b}, []any{[]float32{3}, []float32{4}})
}

func TestTheAccumulatorHasTheBitsOfOneCall(t *testing.T) {
	random := rand.New(rand.NewSource(3))
	values := make([]float32, 100_000)
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	whole, _ := gradclip.GetTotalNorm(gradclip.List(values))
	first, err := gradclip.NewAccumulator()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, _ := gradclip.NewAccumulator()
	defer second.Close()
	first.Add(gradclip.F32(values[:777]))
	for at := 777; at < len(values); at += 5000 {
		end := at + 5000
		if end > len(values) {
			end = len(values)
		}
		if err := second.Add(gradclip.F32(values[at:end])); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Merge(second); err != nil {
		t.Fatal(err)
	}
	state, err := first.Export()
	if err != nil || len(state) > 192 {
		t.Errorf("%d bytes, %v", len(state), err)
	}
	if err := second.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := second.Import(state); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*gradclip.Accumulator{first, second} {
		result, err := a.Finish(math.Inf(1))
		if err != nil || result.TotalNorm != whole.TotalNorm {
			t.Errorf("%v %v, expected %v", result, err, whole)
		}
	}
	var refused *gradclip.Error
	if err := second.Import(state[1:]); !errors.As(err, &refused) || refused.Status != gradclip.BadData {
		t.Errorf("%v", err)
	}
	if err := second.Import(nil); err == nil {
		t.Errorf("no bytes were read back")
	}
}

func TestRanksAddWordsUpAndClipByTheNormOfAll(t *testing.T) {
	shards := [][]float32{{3, 12}, {4}}
	var ranks []*gradclip.Accumulator
	sums := make([]int64, 24)
	for _, shard := range shards {
		a, err := gradclip.NewAccumulator(plain)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		a.Add(gradclip.F32(shard))
		words, err := a.Words(6.5)
		if err != nil || len(words) != len(sums) {
			t.Fatalf("%d words, %v", len(words), err)
		}
		for i, word := range words {
			sums[i] += word
		}
		ranks = append(ranks, a)
	}
	for i, a := range ranks {
		if err := a.SetWords(6.5, sums); err != nil {
			t.Fatal(err)
		}
		result, err := a.Clip(6.5, gradclip.F32(shards[i]))
		equal(t, "result", []any{result.TotalNorm, result.Factor, err}, []any{13.0, 0.5, error(nil)})
	}
	equal(t, "shards", shards, [][]float32{{1.5, 6}, {2}})
	if ranks[0].SetWords(7, sums) == nil || ranks[0].SetWords(6.5, sums[1:]) == nil {
		t.Errorf("words of another max_norm, or too few, were taken")
	}
}

func TestExactF64ReachesTheLibrary(t *testing.T) {
	exact, _ := gradclip.NewAccumulator(gradclip.WithExactF64())
	other, _ := gradclip.NewAccumulator()
	if exact.Merge(other) == nil {
		t.Errorf("accumulators that differ in it can be merged")
	}
	exact.Close()
	exact.Close()
}

// Gradients inside memory that holds pointers of Go's: what cgo's check would refuse
// if it looked at the whole of it.
func TestGradientsInsideStructsWithPointers(t *testing.T) {
	type layer struct {
		name *string
		grad [64]float32
	}
	name := "weight"
	layers := make([]layer, 3)
	var grads []gradclip.Grad
	for i := range layers {
		layers[i].name = &name
		layers[i].grad[i] = 4
		grads = append(grads, gradclip.F32(layers[i].grad[:]))
	}
	for _, list := range [][]gradclip.Grad{grads, grads[:1]} {
		if _, err := gradclip.ClipGradNorm(list, 1, plain); err != nil {
			t.Error(err)
		}
	}
}

func TestGoroutinesClipAtOnceAndGetTheirOwnErrors(t *testing.T) {
	var group sync.WaitGroup
	for g := 0; g < 8; g++ {
		group.Add(1)
		go func(g int) {
			defer group.Done()
			for i := 0; i < 200; i++ {
				grad := []float32{3, 4, 12}
				result, err := gradclip.ClipGradNorm(gradclip.List(grad, grad[:0]), 6.5, plain)
				if err != nil || result.TotalNorm != 13 || grad[0] != 1.5 {
					t.Errorf("%v %v %v", result, err, grad)
				}
				_, err = gradclip.ClipGradNorm(gradclip.List(grad), float64(-g-1))
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(got %d)", -g-1)) {
					t.Errorf("%v", err)
				}
				runtime.Gosched()
			}
		}(g)
	}
	group.Wait()
}

// An accumulator that is in use is not released by the collector, and one that is
// forgotten does no harm.
func TestTheCollectorLeavesAccumulatorsInUseAlone(t *testing.T) {
	for i := 0; i < 200; i++ {
		a, err := gradclip.NewAccumulator()
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		a.Add(gradclip.F32([]float32{3, 4}))
		if result, err := a.Finish(1); err != nil || result.TotalNorm != 5 {
			t.Fatalf("%v %v", result, err)
		}
	}
}

func TestThreadsAndVersions(t *testing.T) {
	gradclip.SetNumThreads(3)
	equal(t, "threads", gradclip.NumThreads(), 3)
	gradclip.SetNumThreads(-1)
	if gradclip.NumThreads() < 1 || !strings.HasPrefix(gradclip.Version(), "1.") || gradclip.ISA() == "" {
		t.Errorf("%d %s %s", gradclip.NumThreads(), gradclip.Version(), gradclip.ISA())
	}
}

func TestADeferredCallIsAnErrorOverANaNThatStays(t *testing.T) {
	grads := gradclip.List([]float32{3, float32(math.NaN()), 4})
	options := []gradclip.Option{gradclip.WithNonfinite(gradclip.Zero), gradclip.WithEps(0)}
	sum, err := gradclip.NewAccumulator(options...)
	if err != nil {
		t.Fatal(err)
	}
	defer sum.Close()
	if err := sum.SetNextTensor(7); err != nil { // which one it is
		t.Fatal(err)
	}
	if err := sum.Add(grads[0]); err != nil {
		t.Fatal(err)
	}
	finish := func() (gradclip.Result, error) { return sum.Finish(1) }
	whole := func() (gradclip.Result, error) { return gradclip.DeferClip(grads, 1, options...) }
	for tensor, call := range map[int]func() (gradclip.Result, error){0: whole, 7: finish} {
		_, err := call()
		var found *gradclip.NonFiniteError
		if !errors.As(err, &found) {
			t.Fatal(err)
		}
		result := found.Result
		equal(t, "deferred", []any{result.TotalNorm, result.Factor, int(result.FirstTensor), int(result.FirstElement)},
			[]any{5.0, 0.2, tensor, 1})
	}
}
