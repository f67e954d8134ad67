package gradclip_test

import (
	"math"
	"strings"
	"testing"

	"gradclip"
)

// What a list costs by gradient, beyond reading it: 100 of 16 values, that need clipping.
//
//	go test -bench Gradient -run '^$'
func BenchmarkGradientOfAList(b *testing.B) {
	grads := make([]gradclip.Grad, 100)
	arena := make([]float32, 1600)
	for i := range grads {
		grads[i] = gradclip.F32(arena[16*i : 16*i+16])
	}
	clipAgainAndAgain(b, arena, grads)
}

// The same values as one gradient.
func BenchmarkGradientOfAnArena(b *testing.B) {
	arena := make([]float32, 1600)
	clipAgainAndAgain(b, arena, gradclip.List(arena))
}

func clipAgainAndAgain(b *testing.B, arena []float32, grads []gradclip.Grad) {
	for i := range arena {
		arena[i] = 1
	}
	b.ResetTimer()
	for n := 0; n < b.N; n++ {
		if _, err := gradclip.ClipGradNorm(grads, 40/float64(n+2)); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDifferencesAreAddedWithoutACopy(t *testing.T) {
	sum, err := gradclip.NewAccumulator(gradclip.WithExactF64())
	if err != nil {
		t.Fatal(err)
	}
	defer sum.Close()
	weights, older := []float32{4, 6}, []float64{1, 2}
	if err := sum.AddDifference([]gradclip.Grad{gradclip.F32(weights)}, []gradclip.Grad{gradclip.F64(older)}); err != nil {
		t.Fatal(err)
	}
	result, err := sum.Finish(math.Inf(1))
	if err != nil || result.TotalNorm != 5 {
		t.Errorf("%v %v", result, err)
	}
	if err := sum.AddDifference([]gradclip.Grad{gradclip.F32(weights)}, nil); err == nil || !strings.Contains(err.Error(), "minus must be as many") {
		t.Errorf("%v", err)
	}
	if err := sum.AddDifference([]gradclip.Grad{gradclip.F32(weights)}, []gradclip.Grad{gradclip.F64(older[:1])}); err == nil || !strings.Contains(err.Error(), "minus[0].length") {
		t.Errorf("%v", err)
	}
}
