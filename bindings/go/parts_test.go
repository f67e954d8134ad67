package gradclip_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"gradclip"
)

func refused(t *testing.T, err error, text string) {
	t.Helper()
	var refusal *gradclip.Error
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, where %q is to be named", err, text)
	}
}

func nonfinite(t *testing.T, err error, tensor int) {
	t.Helper()
	var found *gradclip.NonFiniteError
	if !errors.As(err, &found) || found.Result.FirstTensor != tensor {
		t.Errorf("%v", err)
	}
}

func TestEachGradientByItsOwnNorm(t *testing.T) {
	a, b := []float32{3, 0}, []float64{4}
	grads := []gradclip.Grad{gradclip.F32(a), gradclip.F64(b)}
	parts, err := gradclip.ClipByNorm(grads, []float64{6, 2}, plain)
	equal(t, "parts", []any{parts.Total.TotalNorm, parts.Total.ClipCoef, parts.ClipCoefs, parts.Norms, err},
		[]any{5.0, 0.5, []float64{1, 0.5}, []float64{3, 4}, error(nil)})
	equal(t, "gradients", []any{a, b}, []any{[]float32{3, 0}, []float64{2}})
	if _, err := gradclip.ClipByNorm(grads, []float64{1.5}, plain); err != nil || a[0] != 1.5 || b[0] != 1.5 {
		t.Errorf("%v %v %v", a, b, err)
	}
	_, err = gradclip.ClipByNorm(grads, []float64{1, 2, 3})
	refused(t, err, "maxNorms")
	_, err = gradclip.ClipByNorm(grads, []float64{1, -2})
	refused(t, err, "maxNorms[1]")
	_, err = gradclip.ClipByNorm(grads, []float64{1}, gradclip.WithEps(-3))
	refused(t, err, "(got -3)")
	b[0] = math.NaN()
	_, err = gradclip.ClipByNorm(grads, []float64{1})
	nonfinite(t, err, 1)
	_, err = gradclip.ClipByBlockRMS(grads, 0.1)
	nonfinite(t, err, 1)
	if a[0] != 1.5 {
		t.Errorf("%v was written", a)
	}
	if parts, err := gradclip.ClipByNorm(grads, []float64{1}, gradclip.WithNonfinite(gradclip.Zero), plain); err != nil || a[0] != 1 || b[0] != 0 {
		t.Errorf("%v %v %v %v", parts, a, b, err)
	}
	c := []float64{3, 3, 3, 3}
	parts, err = gradclip.ClipByBlockRMS(gradclip.List(c), 1.5)
	equal(t, "rms", []any{c, parts.Norms, parts.ClipCoefs, err}, []any{[]float64{1.5, 1.5, 1.5, 1.5}, []float64{6}, []float64{0.5}, error(nil)})
	_, err = gradclip.ClipByBlockRMS(gradclip.List(c), -1)
	refused(t, err, "threshold")
}

func TestGroupsByTheNormOfTheGroup(t *testing.T) {
	for _, arena := range []bool{false, true} {
		a, b, c := []float32{3, 0}, []float32{4}, []float32{12}
		grads, groups := gradclip.List(a, b, c), []uint32{1, 1, 0}
		if arena {
			a = []float32{3, 0, 4}
			grads, groups = gradclip.List(a), []uint32{1}
		}
		parts, err := gradclip.ClipByGroup(grads, groups, []float64{24, 2.5, 7}, plain)
		equal(t, "parts", []any{parts.ClipCoefs, parts.Norms[1:], parts.Total.ClipCoef, err},
			[]any{[]float64{1, 0.5, 1}, []float64{5, 0}, 0.5, error(nil)})
		if a[0] != 1.5 || c[0] != 12 {
			t.Errorf("%v %v", a, c)
		}
	}
	a := []float32{3, float32(math.NaN())}
	_, err := gradclip.ClipByGroup(gradclip.List(a), []uint32{2}, []float64{1, 1})
	refused(t, err, "groups[0]")
	_, err = gradclip.ClipByGroup(gradclip.List(a), []uint32{0, 1}, []float64{1, 1})
	refused(t, err, "groups")
	_, err = gradclip.ClipByGroup(gradclip.List(a), []uint32{0}, []float64{1})
	nonfinite(t, err, 0)
	_, err = gradclip.ClipByGroup(gradclip.List([]float32{1}, a), []uint32{0, 0}, []float64{1})
	nonfinite(t, err, 1)
}

func TestUnitsByTheNormOfTheWeights(t *testing.T) {
	// Two units of two: the first has 5 of 0.5, the second 0.25 of 0.05. And a gradient as one unit.
	a, b := []float32{3, 4, 0.25, 0}, []float64{1}
	weights := []gradclip.Grad{gradclip.F64([]float64{30, 40, 3, 4}), gradclip.F32([]float32{1000})}
	grads := []gradclip.Grad{gradclip.F32(a), gradclip.F64(b)}
	units := []gradclip.Units{{2, 2, 1}, {1, 1, 1}}
	parts, err := gradclip.AdaptiveClipGrad(grads, weights, units, 0.01, 1e-3)
	equal(t, "parts", []any{parts.ClipCoefs, a[0], b[0], err}, []any{[]float64{0.01 * 50 / 5, 0.05 / 0.25, 1}, float32(0.3), 1.0, error(nil)})
	for _, wrong := range []gradclip.Units{{2, 3, 1}, {0, 1, 1}, {1 << 63, 2, 4}} {
		_, err = gradclip.AdaptiveClipGrad(grads, weights, []gradclip.Units{wrong, units[1]}, 0.01, 1e-3)
		refused(t, err, "units[0]")
	}
	_, err = gradclip.AdaptiveClipGrad(grads, weights[:1], units, 0.01, 1e-3)
	refused(t, err, "weights")
	_, err = gradclip.AdaptiveClipGrad(grads, weights, units, -1, 1e-3)
	refused(t, err, "clip_factor")
	_, err = gradclip.AdaptiveClipGrad(grads, []gradclip.Grad{weights[0], gradclip.F32([]float32{float32(math.Inf(1))})}, units, 0.01, 1e-3)
	refused(t, err, "weights")
	b[0] = math.NaN()
	_, err = gradclip.AdaptiveClipGrad(grads, weights, units, 0.01, 1e-3)
	nonfinite(t, err, 1)
}

func TestExamplesByTheirOwnNorms(t *testing.T) {
	// Three examples of two elements: norms 5, 10, and one with a NaN; in one gradient or in two.
	nan := float32(math.NaN())
	for _, grads := range [][]gradclip.Grad{
		gradclip.List([]float32{3, 4, 6, 8, nan, 1}), gradclip.List([]float32{3, 6, nan}, []float32{4, 8, 1}),
	} {
		sum := []float64{9, 9}
		sums := []gradclip.Grad{gradclip.F64(sum)}
		if len(grads) == 2 {
			sums = gradclip.List(sum[:1], sum[1:])
		}
		found, err := gradclip.ClipPerExample(grads, sums, 3, []float64{5}, gradclip.ExampleThreshold)
		equal(t, "found", []any{sum, found.Factors, found.Norms[:2], found.Clipped, found.Nonfinite, found.FirstNonfinite, found.Sensitivity, err},
			[]any{[]float64{3, 4}, []float64{1, 0, 0}, []float64{5, 10}, uint64(1), uint64(1), 2, 5.0, error(nil)})
		if _, err := gradclip.ClipPerExample(grads, nil, 3, []float64{5}, gradclip.ExampleClip); err != nil {
			t.Error(err)
		}
		_, err = gradclip.ClipPerExample(grads, nil, 4, []float64{5}, gradclip.ExampleClip)
		refused(t, err, "grads[0]")
		_, err = gradclip.ClipPerExample(grads, sums, 3, []float64{-5}, gradclip.ExampleClip)
		refused(t, err, "max_norms[0]")
		_, err = gradclip.ClipPerExample(grads, sums, 3, []float64{1, 2, 3}, gradclip.ExampleClip)
		refused(t, err, "max_norm_count")
	}
	// Of no examples, as Poisson sampling draws them, the sums are 0.
	for _, count := range []int{1, 2} {
		grads, sums, sum := make([]gradclip.Grad, count), make([]gradclip.Grad, count), []float64{9, 9}
		for i := range grads {
			grads[i], sums[i] = gradclip.F32(nil), gradclip.F64(sum[i:i+1])
		}
		found, err := gradclip.ClipPerExample(grads, sums, 0, []float64{5}, gradclip.ExampleClip)
		equal(t, "of none", []any{sum[:count], len(found.Norms), err}, []any{make([]float64, count), 0, error(nil)})
	}
	_, err := gradclip.ClipPerExample(gradclip.List([]float32{1}), nil, -1, []float64{5}, gradclip.ExampleClip)
	refused(t, err, "examples")
	adapted, err := gradclip.AdaptMaxNorm(2, 5, 10, 0.5, 0.2)
	equal(t, "adapted", []any{adapted, err}, []any{2.0, error(nil)})
	_, err = gradclip.AdaptMaxNorm(-2, 5, 10, 0.5, 0.2)
	refused(t, err, "max_norm")
}

func TestNormsOfEachGradient(t *testing.T) {
	grads := gradclip.List([]float32{3, -4}, nil, []float32{12})
	norms, err := gradclip.GetNorms(grads)
	equal(t, "norms", []any{norms, err}, []any{[]float64{5, 0, 12}, error(nil)})
	bad := gradclip.List([]float32{3}, []float32{float32(math.NaN()), 2})
	_, err = gradclip.GetNorms(bad)
	nonfinite(t, err, 1)
	norms, err = gradclip.GetNorms(bad, gradclip.WithNonfinite(gradclip.Zero))
	equal(t, "norms", []any{norms, err}, []any{[]float64{3, 2}, error(nil)})
	norms, err = gradclip.GetNorms(bad, gradclip.WithNonfinite(gradclip.Propagate))
	if err != nil || !math.IsNaN(norms[1]) {
		t.Errorf("%v %v", norms, err)
	}
	_, err = gradclip.GetNorms(nil, gradclip.WithNormType(math.NaN()))
	refused(t, err, "norm_type")
}

func TestClippingOutOfPlace(t *testing.T) {
	a, b := []float32{3, 0}, []float64{4}
	x, y := []float32{9, 9}, []float64{9}
	grads, outputs := []gradclip.Grad{gradclip.F32(a), gradclip.F64(b)}, []gradclip.Grad{gradclip.F32(x), gradclip.F64(y)}
	result, err := gradclip.ClipGradNormTo(grads, outputs, 2.5, plain)
	equal(t, "clipped", []any{result.ClipCoef, a, b, x, y, err}, []any{0.5, []float32{3, 0}, []float64{4}, []float32{1.5, 0}, []float64{2}, error(nil)})
	if _, err := gradclip.ClipGradNormTo(grads, outputs, 10); err != nil || x[0] != 3 || y[0] != 4 {
		t.Errorf("%v %v %v", x, y, err)
	}
	b[0] = math.Inf(1)
	_, err = gradclip.ClipGradNormTo(grads, outputs, 10)
	nonfinite(t, err, 1)
	equal(t, "left", []any{x[0], y[0]}, []any{float32(3), 4.0})
	if _, err := gradclip.ClipGradNormTo(grads, outputs, 1.5, plain, gradclip.WithNonfinite(gradclip.Zero)); err != nil || x[0] != 1.5 || y[0] != 0 {
		t.Errorf("%v %v %v", x, y, err)
	}
	_, err = gradclip.ClipGradNormTo(grads, outputs[:1], 1)
	refused(t, err, "outputs")
	_, err = gradclip.ClipGradNormTo(grads, []gradclip.Grad{outputs[1], outputs[0]}, 1)
	refused(t, err, "outputs[0]")
}

func TestInspectReportsOnEveryGradient(t *testing.T) {
	a, b := []float32{3, 0, -4}, []float64{math.NaN(), 12, math.Inf(-1)}
	reports, total, err := gradclip.Inspect([]gradclip.Grad{gradclip.F32(a), gradclip.F64(b)})
	if err != nil || len(reports) != 2 {
		t.Fatal(reports, err)
	}
	equal(t, "first", reports[0], gradclip.Report{Norm: 5, MaxAbs: 4, Mean: -1.0 / 3, Length: 3, ZeroCount: 1, FirstNonfinite: -1})
	equal(t, "second", reports[1], gradclip.Report{Norm: 12, MaxAbs: 12, Mean: 12, Length: 3, NaNCount: 1, NegativeInfinityCount: 1, FirstNonfinite: 0})
	equal(t, "total", []any{total.TotalNorm, total.NonfiniteCount, total.FirstTensor}, []any{13.0, uint64(2), 1})
	_, _, err = gradclip.Inspect(nil, gradclip.WithNormType(math.NaN()))
	refused(t, err, "norm_type")
}

func TestAMonitorWritesALineAStep(t *testing.T) {
	var csv, warnings []string
	monitor := gradclip.Monitor{Write: func(kind gradclip.LogKind, line string) {
		if kind == gradclip.LogCSV {
			csv = append(csv, line)
		} else {
			warnings = append(warnings, line)
		}
	}}
	grad, rate, loss := []float32{3, 4}, 0.25, 1.5
	result, _ := gradclip.ClipGradNorm(gradclip.List(grad), 2.5, plain)
	if err := monitor.Log(result, &rate, &loss); err != nil {
		t.Fatal(err)
	}
	grad[1] = float32(math.NaN())
	_, err := gradclip.ClipGradNorm(gradclip.List(grad), 2.5)
	var found *gradclip.NonFiniteError
	if !errors.As(err, &found) {
		t.Fatal(err)
	}
	if err := monitor.Log(found.Result, nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(csv) != 3 || !strings.HasPrefix(csv[0], "step,grad_norm,clip_coef") || !strings.HasPrefix(csv[1], "1,5,0.5,0.25,1.5,0,") ||
		!strings.HasSuffix(csv[2], ",1,0,1,,") || len(warnings) != 1 || monitor.Step != 3 || monitor.Said&5 != 5 {
		t.Errorf("%q %q %d %d", csv, warnings, monitor.Step, monitor.Said)
	}
	refused(t, new(gradclip.Monitor).Log(result, nil, nil), "Write")
}

func TestTwoGradientsThatShareMemoryAreNamed(t *testing.T) {
	arena := make([]float32, 10)
	first, second, found := gradclip.FindOverlap([]gradclip.Grad{gradclip.F32(arena[4:]), gradclip.F64([]float64{1}), gradclip.F32(arena[:5])})
	equal(t, "overlap", []any{first, second, found}, []any{0, 2, true})
	if _, _, found := gradclip.FindOverlap(gradclip.List(arena[:5], arena[5:], nil)); found {
		t.Errorf("neighbours overlap")
	}
}
