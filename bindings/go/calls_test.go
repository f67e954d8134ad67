package gradclip_test

import (
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
