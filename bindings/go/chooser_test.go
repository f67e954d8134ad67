package gradclip_test

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"gradclip"
)

func newChooser(t *testing.T, options gradclip.ChooserOptions) *gradclip.Chooser {
	t.Helper()
	c, err := gradclip.NewChooser(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAChooserDecidesFromTheNormsBefore(t *testing.T) {
	// The median of the norms so far, this one among them.
	options := gradclip.DefaultChooserOptions(gradclip.AutoClip)
	options.Percentile = 50
	chooser := newChooser(t, options)
	for norm, threshold := range []float64{1, 1.5, 2} {
		d, err := chooser.Feed(float64(norm + 1))
		equal(t, "decision", []any{d.Threshold, d.Recorded, err}, []any{threshold, true, error(nil)})
	}
	state, err := chooser.Export()
	if err != nil {
		t.Fatal(err)
	}
	resumed := newChooser(t, options)
	if err := resumed.Import(state); err != nil {
		t.Fatal(err)
	}
	var refused *gradclip.Error
	if err := resumed.Import(state[1:]); !errors.As(err, &refused) || refused.Status != gradclip.BadData {
		t.Errorf("%v", err)
	}
	for _, c := range []*gradclip.Chooser{chooser, resumed} {
		d, err := c.Feed(5) // of 1, 2, 3, 5: 2.5
		equal(t, "decision", []any{d.Action, d.Threshold, d.ClipCoef, d.Steps, err},
			[]any{gradclip.Clip, 2.5, 2.5 / (5 + 1e-6), uint64(4), error(nil)})
		if err := c.Reset(); err != nil {
			t.Error(err)
		}
		d, _ = c.Feed(7)
		equal(t, "steps", d.Steps, uint64(1))
	}
	options.Percentile = 101
	if _, err := gradclip.NewChooser(options); err == nil || !strings.Contains(err.Error(), "101") {
		t.Errorf("%v", err)
	}
}

func TestAChooserSkipsOutliersAndWhatIsNotFinite(t *testing.T) {
	options := gradclip.DefaultChooserOptions(gradclip.SkipStep)
	options.Window = 8
	chooser := newChooser(t, options)
	for _, norm := range []float64{1, 1.1, 0.9, 1, 1.05, 0.95} {
		if d, err := chooser.FeedLoss(norm, 1+norm); err != nil || d.Action != gradclip.Pass {
			t.Errorf("%v %v", d, err)
		}
	}
	for _, step := range [][2]float64{{500, 2}, {1, 500}, {math.NaN(), 2}, {1, math.Inf(1)}} {
		d, err := chooser.FeedLoss(step[0], step[1])
		var outlier *gradclip.SkipStepError
		var nonfinite *gradclip.NonFiniteError
		if !errors.As(err, &outlier) && !errors.As(err, &nonfinite) || d.Action != gradclip.Skip {
			t.Errorf("%v: %v %v", step, d, err)
		}
		finite := step[0] < 1000 && step[1] < 1000
		equal(t, "which error", []any{outlier != nil, nonfinite != nil}, []any{finite, !finite})
	}
}

// Whatever the list, the chooser decides alike; and so it does when it is told norms, and the
// optimizer multiplies.
func TestAChooserClipsListsAsOneGradientAndAsDeferred(t *testing.T) {
	skip := gradclip.DefaultChooserOptions(gradclip.SkipStep)
	skip.Window = 8
	for _, options := range []gradclip.ChooserOptions{
		gradclip.DefaultChooserOptions(gradclip.AutoClip), gradclip.DefaultChooserOptions(gradclip.ZClip), skip,
	} {
		whole, parts, told := newChooser(t, options), newChooser(t, options), newChooser(t, options)
		for step := 0; step < 60; step++ {
			scale := float32(1 + step%7)
			if step == 40 {
				scale = 1000
			}
			arena := []float32{3 * scale, 0, 4 * scale, 1, 2}
			a, b := append([]float32(nil), arena[:2]...), append([]float32(nil), arena[2:]...)
			read := gradclip.WithGradScale(2)
			deferred, err := gradclip.DeferClip(gradclip.List(a, b), math.Inf(1), read)
			if err != nil {
				t.Fatal(err)
			}
			r1, d1, e1 := whole.ClipLoss(gradclip.List(arena), float64(scale), read)
			r2, d2, e2 := parts.ClipLoss(gradclip.List(a, b), float64(scale), read)
			d3, e3 := told.FeedLoss(deferred.TotalNorm, float64(scale))
			equal(t, "decisions", []any{r1, d1, e1 == nil}, []any{r2, d2, e2 == nil})
			equal(t, "gradients", arena, append(a, b...))
			equal(t, "told", []any{d3, e3 == nil}, []any{d1, e1 == nil})
			if factor := d3.ClipCoef * deferred.Factor; e1 == nil && math.Abs(factor-r1.Factor) > 1e-15 {
				t.Errorf("step %d: %v, deferred %v", step, r1.Factor, factor)
			}
			var outlier *gradclip.SkipStepError
			if want := step == 40 && options.Rule == gradclip.SkipStep; errors.As(e2, &outlier) != want {
				t.Errorf("step %d: %v", step, e2)
			}
		}
		bad := []float32{1, float32(math.NaN())}
		var nonfinite *gradclip.NonFiniteError
		_, d, err := parts.Clip(gradclip.List([]float32{5}, bad))
		if !errors.As(err, &nonfinite) || nonfinite.Result.FirstTensor != 1 || d.Action != gradclip.Skip {
			t.Errorf("%v %v", d, err)
		}
		if _, _, err := parts.Clip(gradclip.List([]float32{5}, bad), gradclip.WithNonfinite(gradclip.Zero)); err != nil || bad[1] != 0 {
			t.Errorf("%v %v", bad, err)
		}
		if _, _, err := parts.Clip(nil, gradclip.WithEps(-1)); err == nil {
			t.Errorf("eps -1 was taken")
		}
	}
}

func TestAdaGCClipsLists(t *testing.T) {
	options := gradclip.DefaultChooserOptions(gradclip.AdaGC)
	options.WarmupSteps, options.MaxNorm = 1, 100
	chooser := newChooser(t, options)
	for step, want := range []float64{3, 3.15} { // lambda_rel 1.05 times what the norm was
		a, b := []float32{3 * float32(1+9*step)}, []float64{0, 4}
		r, d, err := chooser.Clip([]gradclip.Grad{gradclip.F32(a), gradclip.F64(b)})
		if err != nil || math.Abs(float64(a[0])-want) > 1e-6 || b[1] != 4 || len(d.TensorCoefs) != 2 || r.ClipCoef != d.TensorCoefs[0] {
			t.Errorf("%v %v %v: %v %v", r, d, err, a, b)
		}
	}
	bad := []float32{float32(math.NaN())}
	if _, _, err := chooser.Clip(gradclip.List([]float32{1}, bad)); err == nil {
		t.Errorf("a NaN was taken")
	}
	if _, _, err := chooser.Clip([]gradclip.Grad{gradclip.F32(bad).Uncounted(), gradclip.F32(bad)}); err == nil || !strings.Contains(err.Error(), "grads[0]") {
		t.Errorf("%v", err)
	}
}

func TestAdaGCGivesEachTensorItsOwnCoefficient(t *testing.T) {
	options := gradclip.DefaultChooserOptions(gradclip.AdaGC)
	options.WarmupSteps, options.MaxNorm = 1, 100
	chooser := newChooser(t, options)
	// The one step of warming up clips nothing, and is what the thresholds come from.
	d, err := chooser.FeedTensors([]float64{3, -1, 4})
	equal(t, "warm-up", []any{d.ClipCoef, err}, []any{1.0, error(nil)})
	d, err = chooser.FeedTensors([]float64{30, -1, 4})
	if err != nil || len(d.TensorCoefs) != 3 {
		t.Fatalf("%v %v", d, err)
	}
	// lambda_rel 1.05 times what they were.
	if math.Abs(d.TensorCoefs[0]-0.105) > 1e-8 || d.TensorCoefs[2] != 1 || d.ClipCoef != d.TensorCoefs[0] {
		t.Errorf("%v", d)
	}
	if _, err := chooser.FeedTensors([]float64{1}); err == nil {
		t.Errorf("another number of tensors was taken")
	}
}

func TestAdaGCIsToldOneTensorAfterTheOther(t *testing.T) {
	options := gradclip.DefaultChooserOptions(gradclip.AdaGC)
	options.WarmupSteps, options.MaxNorm = 2, 100
	chooser := newChooser(t, options)
	for step := 0; step < 2; step++ {
		var wait sync.WaitGroup
		for i := 0; i < 4; i++ {
			wait.Add(1)
			go func(i int) {
				defer wait.Done()
				result, err := chooser.FeedTensor(i, gradclip.F32([]float32{3, 4}))
				if err != nil || result.Factor != 1 || result.TotalNorm != 5 {
					t.Errorf("%v %v", result, err)
				}
			}(i)
		}
		wait.Wait()
	}
	result, err := chooser.FeedTensor(3, gradclip.F32([]float32{30, 40}))
	if err != nil || math.Abs(result.Factor-0.105) > 1e-12 {
		t.Errorf("%v %v", result, err)
	}
	var left *gradclip.NonFiniteError
	if _, err := chooser.FeedTensor(1, gradclip.F32([]float32{1, float32(math.NaN())})); !errors.As(err, &left) || left.Result.FirstTensor != 1 || left.Result.FirstElement != 1 {
		t.Errorf("%v", err)
	}
	var beyond *gradclip.SkipStepError
	if _, err := chooser.FeedTensor(1, gradclip.F64([]float64{1.7e308, 1.7e308})); !errors.As(err, &beyond) || beyond.Decision.Action != gradclip.Skip {
		t.Errorf("%v", err)
	}
	if _, err := chooser.FeedTensor(-1, gradclip.F32([]float32{1})); err == nil || !strings.Contains(err.Error(), "index must be below 10^6") {
		t.Errorf("%v", err)
	}
}
