// An accumulator as bytes: little-endian 64-bit words.
//
//   0  "GCLP" (32 bits), version (16 bits), sections (16 bits)
//   1  norm_type, as float64
//   2  tensors added
//
// Sections follow in the order of their bits; the last word is a checksum
// (FNV-1a over all words before it). For p = 1 and 2 over float32, float16 and
// bfloat16 that is 160 bytes, 192 if there are non-finite elements.
import CGradClipKernels
import GradClipKernels

package enum AccumulatorBytes {
    static var magic: UInt64 { 0x504c_4347 }  // "GCLP"
    static var version: UInt64 { 1 }

    struct Sections {
        var bits: UInt64
        static var exact: UInt64 { 1 }
        static var rounded: UInt64 { 2 }
        static var wide: UInt64 { 4 }
        static var extremes: UInt64 { 8 }
        static var nonfinite: UInt64 { 16 }
        /// No section, but how float64 gradients are summed.
        static var exactFloat64: UInt64 { 32 }
        /// No section either: the caller numbers the tensors.
        static var numbered: UInt64 { 64 }
        static var all: UInt64 { 127 }

        /// Words of all sections.
        var words: Int {
            var words = 0
            if bits & Self.exact != 0 { words &+= Int(GK_LIMBS) }
            if bits & Self.rounded != 0 { words &+= Int(GK_LIMBS) &+ 1 }
            if bits & Self.wide != 0 { words &+= Int(GK_WIDE_LIMBS) }
            if bits & Self.extremes != 0 { words &+= 5 }
            if bits & Self.nonfinite != 0 { words &+= 4 }
            return words
        }
    }

    static var headerWords: Int { 3 }

    /// Which sections an accumulator needs.
    @inline(never) @_optimize(size) static func sections(_ a: Accumulator) -> Sections {
        var bits: UInt64 = 0
        if a.type.hasExactSum { bits |= a.total.wide != nil ? Sections.wide : Sections.exact }
        if a.total.rounded.base != GK_EMPTY { bits |= Sections.rounded }
        if !a.type.hasExactSum { bits |= Sections.extremes }
        if a.total.nonfinite > 0 { bits |= Sections.nonfinite }
        if a.options.exactFloat64 { bits |= Sections.exactFloat64 }
        if a.isNumbered { bits |= Sections.numbered }
        return Sections(bits: bits)
    }

    package static func size(_ a: Accumulator) -> Int { (headerWords &+ sections(a).words &+ 1) &* 8 }

    /// Writes size(a) bytes.
    @inline(never) @_optimize(size) package static func write(_ a: inout Accumulator, to bytes: UnsafeMutableRawPointer)
    {
        let sections = sections(a)
        if a.total.wide != nil { a.total.moveNarrowPart() }
        ExactSum.propagate(&a.total.exact)
        if sections.bits & Sections.rounded != 0 { ExactSum.propagate(&a.total.rounded) }
        var out = WordWriter(bytes)
        out.put(magic | version << 32 | sections.bits << 48)
        out.put(a.type.power.bitPattern)
        out.put(a.tensors)
        if sections.bits & Sections.exact != 0 { out.put(ExactSum.limbs(&a.total.exact), Int(GK_LIMBS)) }
        if sections.bits & Sections.rounded != 0 {
            out.put(UInt64(bitPattern: a.total.rounded.base))
            out.put(ExactSum.limbs(&a.total.rounded), Int(GK_LIMBS))
        }
        a.total.wide?.propagate()
        if let wide = a.total.wide { out.put(wide.limbs, Int(GK_WIDE_LIMBS)) }
        if sections.bits & Sections.extremes != 0 {
            out.put(a.total.largest)
            out.put(a.total.smallest)
            out.put(a.total.nonzero)
            out.put(a.nonzeroTensors)
            out.put(UInt64(a.total.elements))
        }
        if sections.bits & Sections.nonfinite != 0 {
            out.put(a.total.nonfinite)
            out.put(a.total.nan)
            out.put(a.firstTensor)
            out.put(a.firstElement)
        }
        out.putChecksum()
    }

    /// Adds what the bytes hold to an accumulator that was just created or reset.
    /// False, with nothing changed, if they are damaged, foreign, or of another norm.
    @inline(never) @_optimize(size) package static func read(
        _ bytes: UnsafeRawPointer, count: Int, into a: inout Accumulator
    ) -> Bool {
        let words = count / 8
        if count & 7 != 0 || words < headerWords &+ 1 { return false }
        var input = WordReader(bytes)
        let description = input.next()
        let sections = Sections(bits: description >> 48)
        if description & 0xffff_ffff_ffff != magic | version << 32 { return false }
        if sections.bits & ~Sections.all != 0 { return false }
        if words != headerWords &+ sections.words &+ 1 { return false }
        if !WordReader(bytes).hasChecksum(words) { return false }
        if input.next() != a.type.power.bitPattern { return false }
        // The sections must be those that this norm has.
        if (sections.bits & Sections.exactFloat64 != 0) != a.options.exactFloat64 { return false }
        let hasWide = sections.bits & Sections.wide != 0
        if hasWide != (a.total.wide != nil) { return false }
        if (sections.bits & Sections.exact != 0) != (a.type.hasExactSum && !hasWide) { return false }
        if (sections.bits & Sections.extremes != 0) != !a.type.hasExactSum { return false }
        if hasWide && sections.bits & Sections.rounded != 0 { return false }

        var fresh = a
        fresh.tensors = input.next()
        fresh.isNumbered = sections.bits & Sections.numbered != 0
        if sections.bits & Sections.exact != 0 {
            guard input.limbs(ExactSum.limbs(&fresh.total.exact), Int(GK_LIMBS)) else { return false }
        }
        if sections.bits & Sections.rounded != 0 {
            let base = Int64(bitPattern: input.next())
            if base.magnitude > 1 << 58 { return false }
            fresh.total.rounded.base = base
            fresh.total.rounded.pending = 1
            guard input.limbs(ExactSum.limbs(&fresh.total.rounded), Int(GK_LIMBS)) else { return false }
        }
        var wide: WordReader?
        if hasWide {
            wide = input
            guard input.limbs(nil, Int(GK_WIDE_LIMBS)) else { return false }
        }
        if sections.bits & Sections.extremes != 0 {
            fresh.total.largest = input.next()
            fresh.total.smallest = input.next()
            fresh.total.nonzero = input.next()
            fresh.nonzeroTensors = input.next()
            let elements = input.next()
            if elements > UInt64(Int64.max) { return false }
            fresh.total.elements = Int(elements)
            let infinity = Double.infinity.bitPattern
            if fresh.total.largest >= infinity { return false }
            if fresh.total.smallest >= infinity && fresh.total.smallest != .max { return false }
            if fresh.total.nonzero > elements { return false }
            if !fresh.isNumbered && fresh.nonzeroTensors > fresh.tensors { return false }
        }
        if sections.bits & Sections.nonfinite != 0 {
            fresh.total.nonfinite = input.next()
            fresh.total.nan = input.next()
            fresh.firstTensor = input.next()
            fresh.firstElement = input.next()
            if fresh.total.nonfinite == 0 { return false }
            if !a.type.hasExactSum && fresh.total.nonfinite > UInt64(fresh.total.elements) { return false }
            // (Of a sum over ranks it is not known which tensor was the first.)
            let isKnown = fresh.firstTensor != .max && !fresh.isNumbered
            if fresh.total.nan > fresh.total.nonfinite || isKnown && fresh.firstTensor >= fresh.tensors {
                return false
            }
        }
        if var wide, let sum = fresh.total.wide { _ = wide.limbs(sum.limbs, Int(GK_WIDE_LIMBS)) }
        a = fresh
        return true
    }
}
