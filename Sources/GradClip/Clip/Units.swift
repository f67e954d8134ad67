// Adaptive gradient clipping (arXiv 2102.06171): each unit of a gradient by its norm
// against that of the same unit of the weights.
import CGradClip
import CGradClipKernels
import GradClipKernels

extension gradclip_units {
    /// How many units there are: of [outer, reduced, inner], whose unit (o, i) is all elements (o, ..., i).
    var count: Int { Int(outer) &* Int(inner) }
}

package struct UnitPass: Pass {
    let grads: TensorList
    let weights: TensorList
    let shapes: UnsafePointer<gradclip_units>
    let clipFactor: Double
    let eps: Double
    let options: ClipOptions
    let type: NormType
    /// One for each unit, tensor by tensor.
    package let coefs: UnsafeMutablePointer<Double>
    let kernels = gk_process_kernels().unsafelyUnwrapped
    var isWriting = false
    var zeroes = false
    let found: UnsafeMutablePointer<Found>

    /// What came of it.
    struct Found {
        /// What all gradients add up to.
        var total: Total
        /// The first tensor whose weights are not finite.
        var firstWeights = Int.max
    }

    var pieces: UnitPortions { UnitPortions(grads.count, shapes) }

    /// Behind it is room for an exact sum of float64 terms.
    private static var foundSize: Int { (MemoryLayout<Found>.stride &+ 63) & ~63 }
    /// What `memory` must hold besides a coefficient a unit.
    package static var size: Int { foundSize &+ MemoryLayout<gk_wide_limbs>.size }

    /// `memory` is zeroed. The coefficients lie there too.
    @inline(never)
    package init(
        grads: TensorList, weights: TensorList, shapes: UnsafePointer<gradclip_units>, clipFactor: Double, eps: Double,
        normType: Double, options: ClipOptions, memory: UnsafeMutableRawPointer
    ) {
        self.grads = grads
        self.weights = weights
        self.shapes = shapes
        self.clipFactor = clipFactor
        self.eps = eps
        self.options = options
        type = NormType(normType)
        coefs = (memory + Self.size).assumingMemoryBound(to: Double.self)
        found = memory.assumingMemoryBound(to: Found.self)
        let wide = (memory + Self.foundSize).assumingMemoryBound(to: gk_wide_limbs.self)
        found.initialize(to: Found(total: Total(type, wide: options.exactFloat64 ? wide : nil)))
    }

    /// Throws, with nothing written, for weights that are not finite, where that is an error.
    @inline(never) package mutating func run(_ units: Int, _ result: inout ClipResult) throws(ArgumentError) {
        run()
        result = ClipResult(found.pointee.total.finding(omitsNonfinite: options.nonfinite == .zero), options)
        let firstWeights = found.pointee.firstWeights
        if firstWeights != Int.max && !(options.nonfinite == .propagate) {
            throw ArgumentError("weights", "must be finite, and has a NaN or an infinity", .none, index: firstWeights)
        }
        result.settle(coefs, units, options)
        zeroes = result.zeroes(options)
        isWriting = !result.isNonfinite && result.writes(options)
        if isWriting { run() }
    }

    private func run() {
        run(threads: grads.threadCount(allowed: options.threads)) { UnitShare.run($0, $1, isShared: $2) }
    }
}

/// Some blocks of units of a tensor. A block is up to GK_TILE_COLUMNS units that lie side by side.
struct UnitPortion {
    var index: Int
    var blocks: Range<Int>
    /// How many blocks lie side by side.
    var across: Int
    /// The number of the tensor's first unit.
    var firstUnit: Int
}

/// The units of a list, cut into portions of about 32768 elements, tensor by tensor.
struct UnitPortions: IteratorProtocol {
    private let count: Int
    private let shapes: UnsafePointer<gradclip_units>
    private var index = 0
    private var block = 0
    private var firstUnit = 0

    init(_ count: Int, _ shapes: UnsafePointer<gradclip_units>) {
        self.count = count
        self.shapes = shapes
    }

    mutating func next() -> UnitPortion? {
        while index < count {
            let shape = shapes[index]
            let (outer, reduced, inner) = (Int(shape.outer), Int(shape.reduced), Int(shape.inner))
            let across = (inner &+ Int(GK_TILE_COLUMNS) &- 1) / Int(GK_TILE_COLUMNS)
            let blocks = outer &* across
            if block < blocks {
                let start = block
                let atOnce = 1 &+ 32768 / max(1, reduced &* min(inner, Int(GK_TILE_COLUMNS)))
                block = min(block &+ atOnce, blocks)
                return UnitPortion(index: index, blocks: start..<block, across: across, firstUnit: firstUnit)
            }
            firstUnit &+= shape.count
            block = 0
            index &+= 1
        }
        return nil
    }
}
