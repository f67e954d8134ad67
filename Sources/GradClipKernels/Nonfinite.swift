// NaN and infinities: found by the loops that sum, counted here.
import CGradClipKernels

private struct FiniteVisitor: Visitor {
    var largest = SIMD16<UInt32>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let sizes = magnitudes(values)
        largest = larger(sizes, largest)
    }
}

@inline(never) @_optimize(speed)
func isFinite<E: NarrowElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int) -> Bool {
    var visitor = FiniteVisitor()
    visit(E.self, data, count, &visitor)
    return largestLane(visitor.largest) < infinityBits
}

/// Copies a block as floats to the scratch memory with zeros in place of NaN and
/// infinities, which are counted.
@inline(never)
func separateNonfinite<E: NarrowElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ r: Reduction) {
    let scratch = r.pointee.scratch.unsafelyUnwrapped
    var i = 0
    while i < count {
        let lanes = min(16, count &- i)
        var values = loadTail(E.self, data + i &* E.size, lanes)
        let sizes = magnitudes(values)
        if largestLane(sizes) >= infinityBits {
            for lane in 0..<lanes where sizes[lane] >= infinityBits {
                note(isNaN: sizes[lane] > infinityBits, at: i &+ lane, r)
            }
            values = zeroing(values, where: sizes, above: infinityBits - 1)
        }
        scratch.storeBytes(of: values, toByteOffset: i &* 4, as: SIMD16<Float>.self)
        i &+= 16
    }
}

/// The same for float64.
@inline(never)
func separateNonfinite(_ data: UnsafeRawPointer, _ count: Int, _ r: Reduction) {
    let scratch = r.pointee.scratch.unsafelyUnwrapped
    for i in 0..<count {
        let value = (data + i &* 8).loadUnaligned(as: Double.self)
        let isFinite = value.magnitude < .infinity
        if !isFinite { note(isNaN: value != value, at: i, r) }
        scratch.storeBytes(of: isFinite ? value : 0, toByteOffset: i &* 8, as: Double.self)
    }
}

@inline(__always) func note(isNaN: Bool, at index: Int, _ r: Reduction) {
    if r.pointee.first == GK_NOWHERE { r.pointee.first = r.pointee.offset &+ UInt64(index) }
    r.pointee.nonfinite &+= 1
    r.pointee.nan &+= isNaN ? 1 : 0
}

// GK_NOWHERE and GK_EMPTY as Swift sees them.
@inline(__always) package var GK_NOWHERE: UInt64 { .max }
@inline(__always) package var GK_EMPTY: Int64 { .min }
