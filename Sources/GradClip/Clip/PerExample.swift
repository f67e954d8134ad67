// Clipping by example, for differentially private training: tensors hold one gradient
// an example, and what comes out is the sum of the clipped gradients.
//
// Privacy rests on the exact norm of every contribution being at most max_norm. So norms
// are rounded up and factors down, and the products and sums of the second pass are
// rounded towards zero: the contribution of an example is then factor * gradient cut off,
// and no element's sum is off by more than (examples - 1) * 2^-52 of the sum of the
// magnitudes that went into it.
import CGradClipKernels
import CGradClipSystem
import GradClipKernels

package struct ExampleClip {
    let grads: TensorList
    let sums: TensorList?
    let examples: Int
    let maxNorms: UnsafePointer<Double>?
    /// Norms of an example: 1, or one a tensor.
    let layers: Int
    /// 0: min(1, max_norm / (n + eps)); 1: max_norm / (n + eps), larger than 1 for a small
    /// n; 2: 1 if n <= max_norm, otherwise 0.
    let rule: UInt32
    let options: ClipOptions
    let norms: UnsafeMutablePointer<Double>
    let factors: UnsafeMutablePointer<Double>
    let kernels = gk_process_kernels().unsafelyUnwrapped
    // What came of it.
    package var counts = Counts()
    package var sensitivity = 0.0
    package var rounding = 0.0

    /// How many examples are above the limit or not finite, and the first that is not.
    package struct Counts {
        package var clipped: UInt64 = 0
        package var nonfinite: UInt64 = 0
        package var firstNonfinite = UInt64.max
    }

    @inline(never)
    package init(
        grads: TensorList, sums: TensorList?, examples: Int, maxNorms: UnsafePointer<Double>?, layers: Int,
        rule: UInt32, options: ClipOptions, norms: UnsafeMutablePointer<Double>, factors: UnsafeMutablePointer<Double>
    ) {
        self.grads = grads
        self.sums = sums
        self.examples = examples
        self.maxNorms = maxNorms
        self.layers = layers
        self.rule = rule
        self.options = options
        self.norms = norms
        self.factors = factors
    }

    @inline(never) package mutating func run() {
        let threads = grads.threadCount(allowed: options.threads)
        var counts = Counts()
        withUnsafePointer(to: &self) { clip in
            withUnsafeMutablePointer(to: &counts) { counts in
                ExampleNorms(clip: clip, counts: counts).run(threads: min(threads, clip.pointee.examples)) {
                    ExampleShare.run($0, $1, isShared: $2)
                }
            }
            guard let sums = clip.pointee.sums else { return }
            ExampleSums(clip, sums, threads: threads).run(threads: threads) {
                ExampleSumsShare.run($0, $1, isShared: $2)
            }
        }
        self.counts = counts
        bound()
    }

    /// One example's row of a tensor.
    @inline(never)
    func row(_ index: Int, _ example: Int) -> Tensor {
        var tensor = grads[index]
        tensor.length = tensor.length / max(1, examples)
        tensor.data = tensor.data.map { $0 + example &* tensor.length &* tensor.dtype.size }
        return tensor
    }

    /// A factor whose product with `norm`, in exact arithmetic, is at most maxNorm. Rounds
    /// towards zero (and is not inlined, so that no arithmetic moves out of it).
    @inline(never) fileprivate func factor(_ norm: NormValue, _ maxNorm: Double) -> Double {
        var options = options
        if rule == 2 { options.eps = 0 }
        var coefficient =
            norm.isZero && options.eps == 0 && rule > 0
            ? 1 : clipCoefficient(maxNorm: maxNorm, norm: norm, options: options, most: rule == 1 ? .infinity : 1)
        if rule == 2 && coefficient < 1 { coefficient = 0 }
        // 1 comes of a comparison of doubles, which is exact. Otherwise the denominator may
        // be too small by 2^-51.
        if coefficient == 1 && options.gradScale == 1 { return 1 }
        return min(coefficient / options.gradScale * (1 - 0x1p-50), .greatestFiniteMagnitude)
    }

    /// The bounds that the header states, rounded up.
    private mutating func bound() {
        let up = 1 + 0x1p-40
        var squares = 0.0
        var narrow = 0.0
        for layer in 0..<layers {
            sensitivity = maxNorms.unsafelyUnwrapped[layer]
            squares += sensitivity * sensitivity
        }
        if layers > 1 { sensitivity = gk_square_root(squares) * up }
        if let sums {
            for i in 0..<sums.count where sums[i].dtype == .float32 { narrow += Double(sums[i].length) }
        }
        let total = Double(examples) * sensitivity
        rounding = total * Double(max(0, examples &- 1)) * 0x1p-52 * up
        if narrow > 0 {
            rounding += (total * 0x1p-24 + gk_square_root(narrow) * 0x1p-150) * up
            if total > Double(Float.greatestFiniteMagnitude) { rounding = .infinity }
        }
    }
}

/// The pass that measures them.
private struct ExampleNorms: Pass {
    let clip: UnsafePointer<ExampleClip>
    let counts: UnsafeMutablePointer<ExampleClip.Counts>

    /// Threads draw one example after the other.
    var pieces: Range<Int>.Iterator { (0..<clip.pointee.examples).makeIterator() }
}

/// What one thread does of it: the norms and the factors of examples.
private struct ExampleShare: Share {
    let clip: UnsafePointer<ExampleClip>
    let counts: UnsafeMutablePointer<ExampleClip.Counts>
    let workspace: Workspace
    let type = NormType(2)
    /// What an example is expected to be like: as the one before.
    var guess = Guess()
    var own = ExampleClip.Counts()

    init(_ pass: UnsafePointer<ExampleNorms>, _ workspace: Workspace, isShared: Bool) {
        clip = pass.pointee.clip
        counts = pass.pointee.counts
        self.workspace = workspace
    }

    /// The norms of an example and its factors: all 0 if an element is not finite.
    mutating func work(on example: Int) {
        let (layers, factors) = (clip.pointee.layers, clip.pointee.factors + example &* clip.pointee.layers)
        var (isDropped, isClipped) = (false, false)
        for layer in 0..<layers { measure(example, layer, &isDropped, &isClipped) }
        if isDropped {
            for layer in 0..<layers { factors[layer] = 0 }
            own.nonfinite &+= 1
            own.firstNonfinite = min(own.firstNonfinite, UInt64(example))
        } else if isClipped {
            own.clipped &+= 1
        }
    }

    func handIn() {
        counts.pointee.clipped &+= own.clipped
        counts.pointee.nonfinite &+= own.nonfinite
        counts.pointee.firstNonfinite = min(counts.pointee.firstNonfinite, own.firstNonfinite)
    }

    @inline(never)
    private mutating func measure(_ example: Int, _ layer: Int, _ isDropped: inout Bool, _ isClipped: inout Bool) {
        let (options, layers) = (clip.pointee.options, clip.pointee.layers)
        let place = example &* layers &+ layer
        var sum = Partial(
            type, scratch: workspace.start, wide: options.exactFloat64 ? workspace.wideLimbs(0) : nil)
        sum.guess = guess
        for i in layers == 1 ? 0..<clip.pointee.grads.count : layer..<layer &+ 1 {
            let row = clip.pointee.row(i, example)
            if row.length > 0 { sum.add(clip.pointee.kernels, row.dtype, row.data.unsafelyUnwrapped, row.length) }
        }
        guess = sum.guess
        var norm = sum.norm(omitsNonfinite: false)
        let maxNorm = clip.pointee.maxNorms.unsafelyUnwrapped[layer]
        clip.pointee.norms[place] = norm.double(dividedBy: options.gradScale)
        if clip.pointee.norms[place] > maxNorm { isClipped = true }
        if sum.nonfinite > 0 { isDropped = true }
        norm.roundUp(isExact: sum.rounded.base == GK_EMPTY)
        gk_round_towards_zero(true)
        clip.pointee.factors[place] = clip.pointee.factor(norm, maxNorm)
        gk_round_towards_zero(false)
    }
}
