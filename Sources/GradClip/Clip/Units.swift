// Adaptive gradient clipping (arXiv 2102.06171): each unit of a gradient by its norm
// against that of the same unit of the weights.
import CGradClipKernels
import GradClipKernels

/// How a tensor is divided: as an array [outer, reduced, inner], whose unit (o, i) is
/// all elements (o, ..., i).
package struct UnitShape {
    package var outer = 0
    package var reduced = 0
    package var inner = 0

    package init() {}

    package var units: Int { outer &* inner }
}

package struct UnitPass {
    let grads: TensorList
    let weights: TensorList
    let shapes: UnsafePointer<UnitShape>
    let clipFactor: Double
    let eps: Double
    let type: NormType
    let options: ClipOptions
    /// One for each unit, tensor by tensor.
    package let coefs: UnsafeMutablePointer<Double>
    let kernels = gk_process_kernels().unsafelyUnwrapped
    var numbers: Int64 = 0
    var isWriting = false
    var zeroes = false
    /// The sum of all gradients, with room behind it for an exact one of float64 terms.
    let total: UnsafeMutablePointer<Partial>
    var firstTensor = UInt64.max
    var firstElement = UInt64.max
    /// The first tensor whose weights are not finite.
    var firstWeights = Int.max

    /// What `memory` must hold besides a coefficient a unit.
    package static var size: Int { 512 &+ Int(GK_WIDE_LIMBS) &* 8 }

    /// `memory` is zeroed. The coefficients lie there too.
    @inline(never)
    package init(
        grads: TensorList, weights: TensorList, shapes: UnsafePointer<UnitShape>, clipFactor: Double, eps: Double,
        normType: Double, options: ClipOptions, memory: UnsafeMutableRawPointer
    ) {
        self.grads = grads
        self.weights = weights
        self.shapes = shapes
        self.clipFactor = clipFactor
        self.eps = eps
        type = NormType(normType)
        self.options = options
        coefs = (memory + Self.size).assumingMemoryBound(to: Double.self)
        total = memory.assumingMemoryBound(to: Partial.self)
        let wide = options.exactFloat64 ? (memory + 512).assumingMemoryBound(to: Int64.self) : nil
        Partial.prepare(total, type, scratch: nil, wide: wide)
    }

    /// - Returns: the first tensor whose weights are not finite, where that is an error
    ///   (then nothing was written); otherwise -1.
    @inline(never) package mutating func run(_ units: Int, _ result: inout ClipResult) -> Int {
        pass()
        result = ClipResult(&total.pointee, type, options, firstTensor, firstElement)
        if firstWeights != Int.max && !(options.nonfinite == .propagate) { return firstWeights }
        isWriting = settle(coefs, units, &result, options)
        zeroes = options.nonfinite == .zero && result.nonfiniteCount > 0
        if isWriting { pass() }
        return -1
    }

    private mutating func pass() {
        numbers = 0
        ThreadPool.run(grads.threadCount(allowed: options.threads), &self) { context, workspace, isShared in
            var share = UnitShare(
                context.unsafelyUnwrapped.assumingMemoryBound(to: UnitPass.self), workspace.unsafelyUnwrapped,
                isShared: isShared)
            share.run()
        }
    }
}

/// What coefficients of parts or units come to: the smallest into the result. All become
/// 1 where non-finite gradients are left alone. True if something is to be written.
@inline(never)
func settle(
    _ coefs: UnsafeMutablePointer<Double>, _ count: Int, _ result: inout ClipResult, _ options: ClipOptions
) -> Bool {
    for i in 0..<count {
        if result.isNonfinite { coefs[i] = 1 }
        if coefs[i] < result.clipCoef || coefs[i] != coefs[i] { result.clipCoef = coefs[i] }
    }
    if result.isNonfinite { return false }
    result.factor = result.clipCoef / options.gradScale
    return result.clipCoef != 1 || options.gradScale != 1 || options.nonfinite == .zero && result.nonfiniteCount > 0
}
