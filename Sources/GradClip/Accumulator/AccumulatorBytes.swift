// An accumulator as bytes: fields (Fields.swift).
//
//   0  "GCLP" (32 bits), version (16 bits), sections (16 bits)
//   1  norm_type, as float64
//   2  tensors added
//
// Sections follow in the order of their bits; the last field is a checksum
// (FNV-1a over all fields before it). For p = 1 and 2 over float32, float16 and
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

        /// Fields of all sections.
        var fields: Int {
            var fields = 0
            if bits & Self.exact != 0 { fields &+= Int(GK_LIMBS) }
            if bits & Self.rounded != 0 { fields &+= Int(GK_LIMBS) &+ 1 }
            if bits & Self.wide != 0 { fields &+= Int(GK_WIDE_LIMBS) }
            if bits & Self.extremes != 0 { fields &+= 5 }
            if bits & Self.nonfinite != 0 { fields &+= 4 }
            return fields
        }
    }

    static var headerFields: Int { 3 }

    /// Which sections an accumulator needs.
    static func sections(_ a: Accumulator) -> Sections {
        var bits: UInt64 = 0
        if a.type.hasExactSum { bits |= a.total.sums.wide != nil ? Sections.wide : Sections.exact }
        if a.total.sums.rounded.base != GK_EMPTY { bits |= Sections.rounded }
        if !a.type.hasExactSum { bits |= Sections.extremes }
        if a.total.sums.nonfinite > 0 { bits |= Sections.nonfinite }
        if a.options.exactFloat64 { bits |= Sections.exactFloat64 }
        if a.isNumbered { bits |= Sections.numbered }
        return Sections(bits: bits)
    }

    package static func size(_ a: Accumulator) -> Int { (headerFields &+ sections(a).fields &+ 1) &* fieldSize }

    /// Writes size(a) bytes.
    package static func write(_ a: inout Accumulator, to bytes: UnsafeMutableRawPointer) {
        let sections = sections(a)
        if a.total.sums.wide != nil { a.total.sums.moveNarrowPart() }
        ExactSum.propagate(&a.total.sums.exact)
        if sections.bits & Sections.rounded != 0 { ExactSum.propagate(&a.total.sums.rounded) }
        var out = FieldWriter(bytes)
        out.put(magic | version << 32 | sections.bits << 48)
        out.put(a.type.power.bitPattern)
        out.put(a.tensors)
        if sections.bits & Sections.exact != 0 { out.put(ExactSum.limbs(&a.total.sums.exact), Int(GK_LIMBS)) }
        if sections.bits & Sections.rounded != 0 {
            out.put(UInt64(bitPattern: a.total.sums.rounded.base))
            out.put(ExactSum.limbs(&a.total.sums.rounded), Int(GK_LIMBS))
        }
        a.total.sums.wide?.propagate()
        if let wide = a.total.sums.wide { out.put(wide.limbs, Int(GK_WIDE_LIMBS)) }
        if sections.bits & Sections.extremes != 0 {
            out.put(a.total.sums.largest)
            out.put(a.total.sums.smallest)
            out.put(a.total.sums.nonzero)
            out.put(a.total.nonzeroTensors)
            out.put(UInt64(a.total.sums.elements))
        }
        if sections.bits & Sections.nonfinite != 0 {
            out.put(a.total.sums.nonfinite)
            out.put(a.total.sums.nan)
            out.put(a.total.first.tensor)
            out.put(a.total.first.element)
        }
        out.putChecksum()
    }

    /// Adds what the bytes hold to an accumulator that was just created or reset.
    /// False, with nothing changed, if they are damaged, foreign, or of another norm.
    package static func read(
        _ bytes: UnsafeRawPointer, count: Int, into a: inout Accumulator
    ) -> Bool {
        let fields = count / fieldSize
        if count % fieldSize != 0 || fields < headerFields &+ 1 { return false }
        var input = FieldReader(bytes)
        let description = input.next()
        let sections = Sections(bits: description >> 48)
        if description & 0xffff_ffff_ffff != magic | version << 32 { return false }
        if sections.bits & ~Sections.all != 0 { return false }
        if fields != headerFields &+ sections.fields &+ 1 { return false }
        if !FieldReader(bytes).hasChecksum(fields) { return false }
        if input.next() != a.type.power.bitPattern { return false }
        // The sections must be those that this norm has.
        if (sections.bits & Sections.exactFloat64 != 0) != a.options.exactFloat64 { return false }
        let hasWide = sections.bits & Sections.wide != 0
        if hasWide != (a.total.sums.wide != nil) { return false }
        if (sections.bits & Sections.exact != 0) != (a.type.hasExactSum && !hasWide) { return false }
        if (sections.bits & Sections.extremes != 0) != !a.type.hasExactSum { return false }
        if hasWide && sections.bits & Sections.rounded != 0 { return false }

        var fresh = a
        fresh.tensors = input.next()
        fresh.isNumbered = sections.bits & Sections.numbered != 0
        if sections.bits & Sections.exact != 0 {
            guard input.limbs(ExactSum.limbs(&fresh.total.sums.exact), Int(GK_LIMBS)) else { return false }
        }
        if sections.bits & Sections.rounded != 0 {
            let base = Int64(bitPattern: input.next())
            if base.magnitude > 1 << 58 { return false }
            fresh.total.sums.rounded.base = base
            fresh.total.sums.rounded.pending = 1
            guard input.limbs(ExactSum.limbs(&fresh.total.sums.rounded), Int(GK_LIMBS)) else { return false }
        }
        var wide: FieldReader?
        if hasWide {
            wide = input
            guard input.limbs(nil, Int(GK_WIDE_LIMBS)) else { return false }
        }
        if sections.bits & Sections.extremes != 0 {
            fresh.total.sums.largest = input.next()
            fresh.total.sums.smallest = input.next()
            fresh.total.sums.nonzero = input.next()
            fresh.total.nonzeroTensors = input.next()
            let elements = input.next()
            if elements > UInt64(Int64.max) { return false }
            fresh.total.sums.elements = Int(elements)
            let infinity = Double.infinity.bitPattern
            if fresh.total.sums.largest >= infinity { return false }
            if fresh.total.sums.smallest >= infinity && fresh.total.sums.smallest != .max { return false }
            if fresh.total.sums.nonzero > elements { return false }
            if !fresh.isNumbered && fresh.total.nonzeroTensors > fresh.tensors { return false }
        }
        if sections.bits & Sections.nonfinite != 0 {
            fresh.total.sums.nonfinite = input.next()
            fresh.total.sums.nan = input.next()
            fresh.total.first.tensor = input.next()
            fresh.total.first.element = input.next()
            if fresh.total.sums.nonfinite == 0 { return false }
            if !a.type.hasExactSum && fresh.total.sums.nonfinite > UInt64(fresh.total.sums.elements) { return false }
            // (Of a sum over ranks it is not known which tensor was the first.)
            let isKnown = fresh.total.first.tensor != .max && !fresh.isNumbered
            if fresh.total.sums.nan > fresh.total.sums.nonfinite || isKnown && fresh.total.first.tensor >= fresh.tensors
            {
                return false
            }
        }
        if var wide, let sum = fresh.total.sums.wide { _ = wide.limbs(sum.limbs, Int(GK_WIDE_LIMBS)) }
        a = fresh
        return true
    }
}
