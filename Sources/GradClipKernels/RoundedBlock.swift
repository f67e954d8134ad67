// Sums whose terms are rounded to float64: float64 itself, and p = 3, 4, 1/2, 3/2.
//
// Every term is correct to 2^-53 or so, and all are positive, so their exact sum
// would be as well. The two accumulators of the cascade lose another 2^-71 of the
// largest term. T must follow from the block alone: see Norm/Blocks.swift of the engine.
import CGradClipKernels

private struct TermVisitor<T: Term>: WideVisitor {
    var cascade: Cascade<T, Two>
    var largest = SIMD8<Double>(repeating: 0)

    @inline(__always) init(bound: Int) { cascade = Cascade(bound: bound) }

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        largest = larger(larger(magnitude(values.0), magnitude(values.1)), largest)
        cascade.add(values)
    }
}

@inline(never)
private func sumRounded<E: WideElement, T: Term>(
    _: E.Type, _: T.Type, _ data: UnsafeRawPointer, _ count: Int, bound: Int, _ block: inout gk_block
) {
    var visitor = TermVisitor<T>(bound: bound)
    visit(E.self, data, count, &visitor)
    visitor.cascade.store(&block)
    block.largest = largestLane(visitor.largest).bitPattern
    block.holds = visitor.cascade.isFinite
}

/// Of narrow types, whose magnitudes are tracked as integers: other execution units.
private struct NarrowTermVisitor<T: Term>: Visitor {
    var cascade: Cascade<T, Two>
    var largest = SIMD16<UInt32>(repeating: 0)

    @inline(__always) init(bound: Int) { cascade = Cascade(bound: bound) }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        largest = larger(magnitudes(values), largest)
        cascade.add((gk_f64_from_f32(values.lowHalf), gk_f64_from_f32(values.highHalf)))
    }
}

@inline(never)
private func sumRounded<E: NarrowElement, T: Term>(
    _: E.Type, _: T.Type, _ data: UnsafeRawPointer, _ count: Int, bound: Int, _ block: inout gk_block
) {
    var visitor = NarrowTermVisitor<T>(bound: bound)
    visit(E.self, data, count, &visitor)
    visitor.cascade.store(&block)
    let largest = largestLane(visitor.largest)
    block.largest = Double(Float(bitPattern: largest)).bitPattern
    block.holds = largest < infinityBits
}

/// Of narrow types |x| and x^2 are exact (ExactBlock.swift).
@inline(__always)
func sumRounded<E: NarrowElement>(
    _: E.Type, _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, bound: Int, _ block: inout gk_block
) {
    switch term {
    case .cube: sumRounded(E.self, Cube.self, data, count, bound: bound, &block)
    case .fourth: sumRounded(E.self, Fourth.self, data, count, bound: bound, &block)
    case .root: sumRounded(E.self, Root.self, data, count, bound: bound, &block)
    case .threeHalves: sumRounded(E.self, ThreeHalves.self, data, count, bound: bound, &block)
    case .nothing, .absolute, .square, .power: break
    }
}

@inline(__always)
func sumRounded(
    _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, bound: Int, _ block: inout gk_block
) {
    typealias E = Float64Element
    switch term {
    case .absolute: sumRounded(E.self, Absolute.self, data, count, bound: bound, &block)
    case .square: sumRounded(E.self, Square.self, data, count, bound: bound, &block)
    case .cube: sumRounded(E.self, Cube.self, data, count, bound: bound, &block)
    case .fourth: sumRounded(E.self, Fourth.self, data, count, bound: bound, &block)
    case .root: sumRounded(E.self, Root.self, data, count, bound: bound, &block)
    case .threeHalves: sumRounded(E.self, ThreeHalves.self, data, count, bound: bound, &block)
    case .nothing, .power: break
    }
}
