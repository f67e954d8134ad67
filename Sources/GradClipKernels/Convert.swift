// A block as wider elements, in the scratch memory. The room behind the last
// element, up to a multiple of sixteen, is overwritten with zeros.
import CGradClipKernels

@inline(never)
func convert<E: NarrowElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, toFloats scratch: UnsafeMutableRawPointer
) {
    var i = 0
    let whole = count & ~15
    while i < whole {
        scratch.storeBytes(of: E.load(data + i &* E.size), toByteOffset: i &* 4, as: SIMD16<Float>.self)
        i &+= 16
    }
    if i < count {
        let tail = loadTail(E.self, data + i &* E.size, count &- i)
        scratch.storeBytes(of: tail, toByteOffset: i &* 4, as: SIMD16<Float>.self)
    }
}

/// From the end, so that floats at the start of the scratch memory may widen in place.
@inline(never)
func convert(_ data: UnsafeRawPointer, _ count: Int, toDoubles scratch: UnsafeMutableRawPointer) {
    @inline(__always) func store(_ values: SIMD16<Float>, _ i: Int) {
        scratch.storeBytes(of: gk_f64_from_f32(values.lowHalf), toByteOffset: i &* 8, as: SIMD8<Double>.self)
        scratch.storeBytes(of: gk_f64_from_f32(values.highHalf), toByteOffset: i &* 8 &+ 64, as: SIMD8<Double>.self)
    }
    var i = count & ~15
    if i < count { store(loadTail(Float32Element.self, data + i &* 4, count &- i), i) }
    while i > 0 {
        i &-= 16
        store(Float32Element.load(data + i &* 4), i)
    }
}
