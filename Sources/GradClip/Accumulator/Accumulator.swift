// A norm that is added up piece by piece: as the backward pass makes gradients,
// over several threads, or over several processes that exchange bytes.
import CGradClipKernels
import CGradClipSystem
import GradClipKernels

/// The state behind an accumulator. Lives in memory that `create` allocates, with
/// the limbs of an exact float64 sum behind it.
package struct Accumulator {
    let type: NormType
    package let options: ClipOptions
    var total: Partial
    /// The number of the next tensor: how many were added, empty and uncounted ones included, unless
    /// the caller numbers them.
    var tensors: UInt64 = 0
    /// Whether the caller numbers the tensors. Then the first of two is the one with the lower number.
    var isNumbered = false
    var nonzeroTensors: UInt64 = 0
    var firstTensor = UInt64.max
    var firstElement = UInt64.max

    private static var ownSize: Int { (MemoryLayout<Accumulator>.size &+ 63) & ~63 }
    package static var byteCount: Int { ownSize &+ Int(GK_WIDE_LIMBS) &* 8 }

    package static func create(normType: Double, options: ClipOptions) -> UnsafeMutablePointer<Accumulator>? {
        guard let memory = gk_allocate(byteCount) else { return nil }
        let wide = (memory + ownSize).assumingMemoryBound(to: Int64.self)
        let type = NormType(normType)
        let accumulator = memory.assumingMemoryBound(to: Accumulator.self)
        accumulator.initialize(
            to: Accumulator(
                type: type, options: options,
                total: Partial(type, scratch: nil, wide: options.exactFloat64 ? wide : nil)))
        return accumulator
    }

    package static func destroy(_ accumulator: UnsafeMutablePointer<Accumulator>) { gk_release(accumulator) }

    /// Forgets everything that was added.
    @inline(never) @_optimize(size) package mutating func reset() {
        total.wide?.clear()
        self = Accumulator(type: type, options: options, total: Partial(type, scratch: nil, wide: total.wide?.limbs))
    }

    /// Adds tensors, or their differences from others, which come after all that were added before.
    @inline(never) @_optimize(size) package mutating func add(_ grads: TensorList, minus: TensorList? = nil) {
        var pass = NormPass(grads, type, options)
        pass.minus = minus
        pass.run(into: &total)
        noteFirst(pass.firstTensor, pass.firstElement)
        nonzeroTensors &+= pass.nonzeroTensors
        tensors &+= UInt64(grads.count)
    }

    /// Adds what another one holds, which may be this one, as if its tensors had been
    /// added after these.
    @inline(never) @_optimize(size) package mutating func merge(_ other: UnsafeMutablePointer<Accumulator>) {
        var theirs = other.pointee
        merge(&theirs)
    }

    /// Adds what bytes hold; an error if they are not such bytes.
    @inline(never) @_optimize(size) package mutating func merge(bytes: UnsafeRawPointer, count: Int) -> ArgumentError? {
        guard let other = Accumulator.create(normType: type.power, options: options) else {
            return ArgumentError("bytes", "could not be read for lack of memory", .none, reason: .outOfMemory())
        }
        defer { Accumulator.destroy(other) }
        if !AccumulatorBytes.read(bytes, count: count, into: &other.pointee) {
            return ArgumentError(
                "bytes", "are damaged, or not those of such an accumulator", .none, reason: .badData())
        }
        merge(&other.pointee)
        return nil
    }

    /// Gives the next tensor that is added this number, those after it the following ones.
    package mutating func setNextTensor(_ number: UInt64) {
        tensors = number
        isNumbered = true
    }

    private mutating func merge(_ other: inout Accumulator) {
        total.merge(&other.total)
        let base = tensors
        if other.isNumbered {
            isNumbered = true
            tensors = 0  // their numbers are the caller's
        }
        noteFirst(other.firstTensor, other.firstElement)
        nonzeroTensors &+= other.nonzeroTensors
        tensors = other.isNumbered ? max(base, other.tensors) : base &+ other.tensors
    }

    private mutating func noteFirst(_ tensor: UInt64, _ element: UInt64) {
        if tensor == .max { return }
        let number = tensors &+ tensor
        let isBefore = number < firstTensor || number == firstTensor && element < firstElement
        if firstTensor == .max || isNumbered && isBefore {
            firstTensor = number
            firstElement = element
        }
    }

    /// Whether the other one adds up the same norm.
    package func isCompatible(with other: Accumulator) -> Bool {
        type.power == other.type.power && options.exactFloat64 == other.options.exactFloat64
    }

    /// Clips gradients in place by the norm of all that was added. Without gradients it is
    /// `deferClip(maxNorm:)`: nothing is replaced then.
    package mutating func clip(_ grads: TensorList, maxNorm: Double) -> ClipResult {
        let result = finish(maxNorm: maxNorm)
        if result.nonfiniteCount > 0 && grads.isEmpty { return result.deferred(options) }
        if !result.isNonfinite {
            let zeroes = options.nonfinite == .zero && result.nonfiniteCount > 0
            scale(grads, to: nil, by: result.factor, zeroNonfinite: zeroes, threads: options.threads)
        }
        return result
    }

    /// The same without the write, for whoever multiplies by the factor later.
    package mutating func deferClip(maxNorm: Double) -> ClipResult { finish(maxNorm: maxNorm).deferred(options) }

    /// The norm of all that was added, and the coefficient that belongs to it.
    @inline(never) mutating func finish(maxNorm: Double) -> ClipResult {
        // A copy: more may be added afterwards. The limbs of `wide` only gain the narrow part.
        var norm = NormValue.zero
        if type.power == 0 {
            norm = .count(nonzeroTensors)
        } else if total.wide != nil {
            norm = total.norm(omitsNonfinite: options.nonfinite == .zero)
        } else {
            var copy = total
            norm = copy.norm(omitsNonfinite: options.nonfinite == .zero)
        }
        var result = ClipResult()
        result.totalNorm = norm.divided(by: options.gradScale).double
        result.nonfiniteCount = total.nonfinite
        result.nanCount = total.nan
        result.firstTensor = firstTensor
        result.firstElement = firstElement
        result.isNonfinite = total.nonfinite > 0 && options.nonfinite == .leave
        if !result.isNonfinite {
            result.clipCoef = clipCoefficient(maxNorm: maxNorm, norm: norm, options: options)
            result.factor = result.clipCoef / options.gradScale
        }
        return result
    }
}
