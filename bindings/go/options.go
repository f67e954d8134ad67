package gradclip

// #include <gradclip.h>
import "C"

// Nonfinite says what to do about NaN and infinities.
type Nonfinite uint32

const (
	// Leave writes nothing and returns a *NonFiniteError. The default.
	Leave Nonfinite = C.GRADCLIP_NONFINITE_LEAVE
	// Propagate does what torch does: everything is multiplied by the coefficient of
	// the non-finite norm.
	Propagate Nonfinite = C.GRADCLIP_NONFINITE_PROPAGATE
	// Zero leaves them out of the norm and replaces them by 0.
	Zero Nonfinite = C.GRADCLIP_NONFINITE_ZERO
)

// Option changes a default of a call.
type Option func(*settings)

type settings struct {
	normType float64
	options  C.gradclip_options
}

// WithNormType sets the order p; any number but NaN, 2 without it.
func WithNormType(p float64) Option { return func(s *settings) { s.normType = p } }

// WithEps sets what is added to the norm in the coefficient; finite, >= 0, 1e-6 without it.
func WithEps(eps float64) Option { return func(s *settings) { s.options.eps = C.double(eps) } }

// WithGradScale sets the factor that gradients are still multiplied by (loss scaling);
// finite, > 2^-1024, 1 without it. Norms are of gradient / scale, and the write divides by it.
func WithGradScale(scale float64) Option {
	return func(s *settings) { s.options.grad_scale = C.double(scale) }
}

// WithNonfinite sets what is done about NaN and infinities.
func WithNonfinite(policy Nonfinite) Option {
	return func(s *settings) { s.options.nonfinite = C.uint32_t(policy) }
}

// WithExactF64 sums float64 gradients exactly too, for p = 1 and 2.
func WithExactF64() Option { return func(s *settings) { s.options.exact_f64 = 1 } }

// WithNumThreads sets the threads to use at most in this call; 0 (or less): NumThreads.
func WithNumThreads(n int) Option {
	return func(s *settings) { s.options.num_threads = threads(n) }
}

func settled(options []Option) settings {
	s := settings{normType: 2}
	C.gradclip_options_init(&s.options, C.sizeof_gradclip_options)
	for _, option := range options {
		option(&s)
	}
	return s
}
