// Sums over examples: a row of elements times the example's factor, added to sums in
// float64. Which way it rounds is the caller's choice (the engine rounds towards zero).
import CGradClipKernels

private struct AccumulateVisitor: WideVisitor {
    let factor: SIMD8<Double>
    var sums: UnsafeMutableRawPointer

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        let low = sums.loadUnaligned(as: SIMD8<Double>.self) + values.0 * factor
        let high = (sums + 64).loadUnaligned(as: SIMD8<Double>.self) + values.1 * factor
        sums.storeBytes(of: low, as: SIMD8<Double>.self)
        sums.storeBytes(of: high, toByteOffset: 64, as: SIMD8<Double>.self)
        sums += 128
    }
}

@inline(never) @_optimize(speed)
func accumulate<E: WideLoad>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ factor: Double, _ sums: UnsafeMutableRawPointer
) {
    var visitor = AccumulateVisitor(factor: SIMD8(repeating: factor), sums: sums)
    visit(E.self, data, count, &visitor)
}
