package gradclip_test

import (
	"errors"
	"math"
	"strings"
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
		if d, err := chooser.FeedLoss(step[0], step[1]); err != nil || d.Action != gradclip.Skip {
			t.Errorf("%v: %v %v", step, d, err)
		}
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
