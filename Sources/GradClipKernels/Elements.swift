// The element types: how sixteen of them become floats and how floats become
// them again. Every kernel is written once against these.
import CGradClipKernels

/// How sixteen elements of `size` bytes are loaded, and what they become.
protocol Element {
    associatedtype Values
    static var size: Int { get }
    static func load(_ data: UnsafeRawPointer) -> Values
}

/// An element type whose values are exactly representable in `Float`.
protocol NarrowElement: Element where Values == SIMD16<Float> {
    /// Bits of the significand, the implicit one included.
    static var significandBits: Int { get }
    /// Rounds to nearest, ties to even; NaN that came from this type stays NaN.
    static func store(_ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer)
    /// The same in an order of the type's own, which may be faster.
    static func loadInAnyOrder(_ data: UnsafeRawPointer) -> SIMD16<Float>
    static func storeInAnyOrder(_ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer)
}
extension NarrowElement {
    @inline(__always) static func loadInAnyOrder(_ data: UnsafeRawPointer) -> SIMD16<Float> { load(data) }
    @inline(__always) static func storeInAnyOrder(_ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer) {
        store(values, data)
    }
}

enum Float32Element: NarrowElement {
    @inline(__always) static var size: Int { 4 }
    @inline(__always) static var significandBits: Int { 24 }
    @inline(__always) static func load(_ data: UnsafeRawPointer) -> SIMD16<Float> {
        data.loadUnaligned(as: SIMD16<Float>.self)
    }
    @inline(__always) static func store(_ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer) {
        data.storeBytes(of: values, as: SIMD16<Float>.self)
    }
}

enum BFloat16Element: NarrowElement {
    @inline(__always) static var size: Int { 2 }
    @inline(__always) static var significandBits: Int { 8 }
    @inline(__always) static func load(_ data: UnsafeRawPointer) -> SIMD16<Float> {
        let bits = gk_widen_u16x16(data.loadUnaligned(as: SIMD16<UInt16>.self))
        return unsafeBitCast(bits &<< 16, to: SIMD16<Float>.self)
    }
    @inline(__always) static func store(_ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer) {
        // A NaN that came from sixteen bits has nothing in the lower half that could carry.
        let bits = unsafeBitCast(values, to: SIMD16<UInt32>.self)
        let odd = (bits &>> 16) & 1
        data.storeBytes(of: gk_narrow_u32x16((bits &+ 0x7fff &+ odd) &>> 16), as: SIMD16<UInt16>.self)
    }
    /// Those with even numbers first.
    @inline(__always) static func loadInAnyOrder(_ data: UnsafeRawPointer) -> SIMD16<Float> {
        gk_f32_from_bf16_in_pairs(data.loadUnaligned(as: SIMD16<UInt16>.self))
    }
    @inline(__always) static func storeInAnyOrder(_ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer) {
        data.storeBytes(of: gk_bf16_from_f32_in_pairs(values), as: SIMD16<UInt16>.self)
    }
}

enum Float16Element: NarrowElement {
    @inline(__always) static var size: Int { 2 }
    @inline(__always) static var significandBits: Int { 11 }
    #if GRADCLIP_HARDWARE_F16
    @inline(__always) static func load(_ data: UnsafeRawPointer) -> SIMD16<Float> {
        gk_f32_from_f16(data.loadUnaligned(as: SIMD16<UInt16>.self))
    }
    @inline(__always) static func store(_ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer) {
        data.storeBytes(of: gk_f16_from_f32(values), as: SIMD16<UInt16>.self)
    }
    #else
    @inline(never) static func load(_ data: UnsafeRawPointer) -> SIMD16<Float> {
        floats(fromHalves: gk_widen_u16x16(data.loadUnaligned(as: SIMD16<UInt16>.self)))
    }
    @inline(never) static func store(_ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer) {
        data.storeBytes(of: gk_narrow_u32x16(halves(fromFloats: values)), as: SIMD16<UInt16>.self)
    }
    #endif
}

// Without conversion instructions, in integers and one exact subtraction.

@inline(__always) func floats(fromHalves bits: SIMD16<UInt32>) -> SIMD16<Float> {
    // Moved into place, the exponent of a normal half is 112 too small. A subnormal one becomes the fraction of 2^-14,
    // which is then taken away: no operand is a subnormal float, which some processors are slow at.
    let size = bits & 0x7fff
    let moved = size &<< 13
    let least = SIMD16<UInt32>(repeating: 113 << 23)
    let rest = unsafeBitCast(moved &+ least, to: SIMD16<Float>.self) - unsafeBitCast(least, to: SIMD16<Float>.self)
    var result = choose(
        SIMD16(repeating: 0x400), above: size, unsafeBitCast(rest, to: SIMD16<UInt32>.self), else: moved &+ (112 << 23))
    result = choose(size, above: SIMD16(repeating: 0x7bff), (size &<< 13) | infinityBits, else: result)
    // Hardware quiets a signalling NaN while converting it.
    result = choose(size, above: SIMD16(repeating: 0x7c00), result | 0x0040_0000, else: result)
    return unsafeBitCast(result | ((bits & 0x8000) &<< 16), to: SIMD16<Float>.self)
}

@inline(__always) func halves(fromFloats values: SIMD16<Float>) -> SIMD16<UInt32> {
    let magnitude = magnitudes(values)
    let sign = (unsafeBitCast(values, to: SIMD16<UInt32>.self) &>> 16) & 0x8000
    let odd = (magnitude &>> 13) & 1
    var result = (magnitude &+ 0xfff &+ odd &- (112 << 23)) &>> 13
    // Below 2^-14 a half counts in units of 2^-24, the last place of a float in [1/2, 1).
    let shifted = unsafeBitCast(magnitude, to: SIMD16<Float>.self) + Float(0.5)
    result = choose(
        SIMD16(repeating: 0x3880_0000), above: magnitude,
        unsafeBitCast(shifted, to: SIMD16<UInt32>.self) &- 0x3f00_0000, else: result)
    result = choose(magnitude, above: SIMD16(repeating: 0x477f_efff), SIMD16(repeating: 0x7c00), else: result)
    result = choose(
        magnitude, above: SIMD16(repeating: infinityBits), ((magnitude &>> 13) & 0x3ff) | 0x7e00, else: result)
    return result | sign
}

// ------------------------------------------------------------------ tails --

/// Up to fifteen elements at the end of a tensor, with zeros behind them.
@inline(never)
func loadTail<E: NarrowElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int) -> SIMD16<Float> {
    var buffer = SIMD16<UInt32>(repeating: 0)
    return withUnsafeMutableBytes(of: &buffer) { bytes in
        bytes.baseAddress.unsafelyUnwrapped.copyMemory(from: data, byteCount: count &* E.size)
        return E.load(UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped))
    }
}

@inline(never)
func storeTail<E: NarrowElement>(_: E.Type, _ values: SIMD16<Float>, _ data: UnsafeMutableRawPointer, _ count: Int) {
    var buffer = SIMD16<UInt32>(repeating: 0)
    withUnsafeMutableBytes(of: &buffer) { bytes in
        E.store(values, bytes.baseAddress.unsafelyUnwrapped)
        data.copyMemory(from: bytes.baseAddress.unsafelyUnwrapped, byteCount: count &* E.size)
    }
}

/// Loaded as float64, for the kernels that compute in float64.
protocol WideElement: Element where Values == (SIMD8<Double>, SIMD8<Double>) {}

enum Widened<E: NarrowElement>: WideElement {
    @inline(__always) static var size: Int { E.size }
    @inline(__always) static func load(_ data: UnsafeRawPointer) -> (SIMD8<Double>, SIMD8<Double>) {
        let values = E.load(data)
        return (gk_f64_from_f32(values.lowHalf), gk_f64_from_f32(values.highHalf))
    }
}

enum Float64Element: WideElement {
    @inline(__always) static var size: Int { 8 }
    @inline(__always) static func load(_ data: UnsafeRawPointer) -> (SIMD8<Double>, SIMD8<Double>) {
        (data.loadUnaligned(as: SIMD8<Double>.self), (data + 64).loadUnaligned(as: SIMD8<Double>.self))
    }
}

/// What a loop does with sixteen elements. (A protocol, not a closure: closures are
/// not always inlined.)
protocol Visitor {
    associatedtype Values
    mutating func see(_ values: Values)
}
protocol WideVisitor: Visitor where Values == (SIMD8<Double>, SIMD8<Double>) {}
protocol PlaceVisitor { mutating func see(at place: UnsafeRawPointer) }

/// How many bytes ahead memory is asked for: what one thread reads while it waits for DRAM. The processor's own prefetching stops
/// at pages. (docs/performance.md has other distances.)
@inline(__always) private var farAhead: Int { 8192 }

/// Asks for the memory behind sixteen elements at a place. Never faults.
@inline(__always) func prefetch(_ place: UnsafeRawPointer, _ distance: Int, _ size: Int) {
    gk_prefetch(place + distance)
    if size == 8 { gk_prefetch(place + (distance &+ 64)) }
}

/// The distance for `count` elements: what follows a whole block is probably asked for next,
/// what follows the end of a tensor is not.
@inline(__always) func prefetchDistance(_ count: Int) -> Int { count >= Int(GK_BLOCK) ? farAhead : 0 }

/// Shows a visitor where every sixteen elements of `size` bytes are, the last ones padded
/// with zeros, from a single loop, so that its code exists once.
@inline(__always)
func visit<V: PlaceVisitor>(_ size: Int, _ data: UnsafeRawPointer, _ count: Int, _ visitor: inout V) {
    var tail = (SIMD8<Double>(repeating: 0), SIMD8<Double>(repeating: 0))
    withUnsafeMutableBytes(of: &tail) { bytes in
        let buffer = bytes.baseAddress.unsafelyUnwrapped
        let whole = count & ~15
        if whole < count {
            buffer.copyMemory(from: data + whole &* size, byteCount: (count &- whole) &* size)
        }
        var next = data
        var end = data + whole &* size
        let ahead = prefetchDistance(count)
        while true {
            while next < end {
                prefetch(next, ahead, size)
                visitor.see(at: next)
                next += 16 &* size
            }
            if whole == count || next == UnsafeRawPointer(buffer) + 16 &* size { return }
            next = UnsafeRawPointer(buffer)
            end = next + 16 &* size
        }
    }
}

/// The same with the elements loaded.
@inline(__always)
func visit<E: Element, V: Visitor>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ visitor: inout V)
where V.Values == E.Values {
    var loading = Loading<E, V>(visitor: visitor)
    visit(E.size, data, count, &loading)
    visitor = loading.visitor
}

private struct Loading<E: Element, V: Visitor>: PlaceVisitor where V.Values == E.Values {
    var visitor: V
    @inline(__always) init(visitor: V) { self.visitor = visitor }
    @inline(__always) mutating func see(at place: UnsafeRawPointer) { visitor.see(E.load(place)) }
}

/// The same where no result depends on the order of the lanes.
@inline(__always)
func visitInAnyOrder<E: NarrowElement, V: Visitor>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ visitor: inout V
) where V.Values == SIMD16<Float> {
    var loading = LoadingInAnyOrder<E, V>(visitor: visitor)
    visit(E.size, data, count, &loading)
    visitor = loading.visitor
}

private struct LoadingInAnyOrder<E: NarrowElement, V: Visitor>: PlaceVisitor where V.Values == SIMD16<Float> {
    var visitor: V
    @inline(__always) init(visitor: V) { self.visitor = visitor }
    @inline(__always) mutating func see(at place: UnsafeRawPointer) { visitor.see(E.loadInAnyOrder(place)) }
}
