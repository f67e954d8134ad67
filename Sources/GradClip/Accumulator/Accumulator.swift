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
    var total: Total
    /// The number of the next tensor: how many were added, empty and uncounted ones included, unless
    /// the caller numbers them.
    var tensors: UInt64 = 0
    /// Whether the caller numbers the tensors. Then the first of two is the one with the lower number.
    var isNumbered = false

    private static var ownSize: Int { (MemoryLayout<Accumulator>.size &+ 63) & ~63 }
    package static var byteCount: Int { ownSize &+ MemoryLayout<gk_wide_limbs>.size }

    package static func create(normType: Double, options: ClipOptions) -> UnsafeMutablePointer<Accumulator>? {
        guard let memory = gk_allocate(byteCount) else { return nil }
        let wide = (memory + ownSize).assumingMemoryBound(to: gk_wide_limbs.self)
        let type = NormType(normType)
        let accumulator = memory.assumingMemoryBound(to: Accumulator.self)
        accumulator.initialize(
            to: Accumulator(
                type: type, options: options,
                total: Total(type, wide: options.exactFloat64 ? wide : nil)))
        return accumulator
    }

    package static func destroy(_ accumulator: UnsafeMutablePointer<Accumulator>) { gk_release(accumulator) }

    /// Forgets everything that was added.
    @inline(never) package mutating func reset() {
        total.sums.wide?.clear()
        self = Accumulator(type: type, options: options, total: Total(type, limbs: total.sums.wide?.limbs))
    }

    /// Adds tensors, or their differences from others, which come after all that were added before.
    @inline(never) package mutating func add(_ grads: TensorList, minus: TensorList? = nil) {
        let before = total.first
        total.first = .none
        NormPass.run(grads, minus: minus, into: &total, options)
        let found = total.first
        total.first = before
        noteFirst(found)
        tensors &+= UInt64(grads.count)
    }

    /// Adds what another one holds, which may be this one, as if its tensors had been
    /// added after these.
    @inline(never) package mutating func merge(_ other: UnsafeMutablePointer<Accumulator>) {
        var theirs = other.pointee
        merge(&theirs)
    }

    /// Adds what bytes hold; an error if they are not such bytes.
    @inline(never) package mutating func merge(bytes: UnsafeRawPointer, count: Int) -> ArgumentError? {
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
        let (before, found) = (total.first, other.total.first)
        total.merge(&other.total)
        total.first = before
        let base = tensors
        if other.isNumbered {
            isNumbered = true
            tensors = 0  // their numbers are the caller's
        }
        noteFirst(found)
        tensors = other.isNumbered ? max(base, other.tensors) : base &+ other.tensors
    }

    private mutating func noteFirst(_ found: Place) {
        if found.isNone { return }
        if total.first.isNone || isNumbered {
            total.first.note(Place(tensor: tensors &+ found.tensor, element: found.element))
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
            scale(grads, to: nil, as: result, options)
        }
        return result
    }

    /// The same without the write, for whoever multiplies by the factor later.
    package mutating func deferClip(maxNorm: Double) -> ClipResult { finish(maxNorm: maxNorm).deferred(options) }

    /// The norm of all that was added, and the coefficient that belongs to it.
    @inline(never) mutating func finish(maxNorm: Double) -> ClipResult {
        let omits = options.nonfinite == .zero
        // More may be added afterwards, so as a rule to a copy's sums a norm is done. The limbs of `wide`, which a
        // copy shares, only gain the narrow part.
        if total.sums.wide != nil {
            return ClipResult(total.finding(omitsNonfinite: omits), clippedTo: maxNorm, options)
        }
        var copy = total
        return ClipResult(copy.finding(omitsNonfinite: omits), clippedTo: maxNorm, options)
    }
}
