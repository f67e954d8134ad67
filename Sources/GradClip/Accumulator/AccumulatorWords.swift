// An accumulator as integers that several ranks add up, word by word, with any
// all-reduce that knows int64: the limbs of an exact sum are made for that. What
// the ranks must agree on goes along as a hash.
import CGradClipKernels
import GradClipKernels

package enum AccumulatorWords {
    /// GRADCLIP_WORDS.
    static var count: Int { 24 }
    // 0 ..< 16 are the limbs, or what norms of order 0 and infinity are made of.
    static var tensors: Int { 16 }
    static var nonfinite: Int { 17 }
    static var nan: Int { 18 }
    static var ranks: Int { 19 }
    static var hash: Int { 20 }
    static var hashSquared: Int { 21 }
    /// 1 for a rank that has no accumulator because its call was refused.
    static var refused: Int { 22 }
    /// GRADCLIP_WORD_KIND: 0 if the sum is enough, -1 if the first two words are to be
    /// replaced by their maxima, 1 if accumulators are to be gathered.
    static var kind: Int { 23 }
    /// As many sums of limbs below 2^40 fit into an Int64.
    static var mostRanks: Int64 { 1 << 23 }

    /// To words, or from words that are the sum of all ranks': then the accumulator holds
    /// what those of all ranks held, or nothing where they are to be gathered.
    ///
    /// - Parameter accumulator: nil for the words of a refused call.
    package static func exchange(
        _ accumulator: UnsafeMutablePointer<Accumulator>?, maxNorm: Double, _ words: UnsafeMutablePointer<Int64>,
        isRead: Bool
    ) throws(ArgumentError) {
        guard let a = accumulator else {
            for i in 0..<count { words[i] = 0 }
            words[ranks] = 1
            words[refused] = 1
            return
        }
        let agreed = hash(a, maxNorm)
        if isRead { try read(words, agreed, &a.pointee) } else { write(&a.pointee, agreed, words) }
    }

    private static func write(_ a: inout Accumulator, _ agreed: Int64, _ words: UnsafeMutablePointer<Int64>) {
        for i in 0..<count { words[i] = 0 }
        words[ranks] = 1
        words[hash] = agreed
        words[hashSquared] = agreed &* agreed
        if a.type.term == .nothing {
            if a.type.power != 0 {
                words[0] = Int64(bitPattern: a.total.sums.largest)
                words[1] = Int64.max &- Int64(clamping: a.total.sums.smallest)
                words[kind] = -1
            }
            words[2] = Int64(bitPattern: a.total.sums.nonzero)
            words[3] = Int64(bitPattern: a.total.nonzeroTensors)
            words[4] = Int64(a.total.sums.elements)
        } else if !a.type.hasExactSum || a.total.sums.wide != nil || a.total.sums.rounded.base != GK_EMPTY {
            words[kind] = 1
        } else {
            ExactSum.propagate(&a.total.sums.exact)
            let limbs = ExactSum.limbs(&a.total.sums.exact)
            for i in 0..<Int(GK_LIMBS) { words[i] = limbs[i] }
        }
        words[tensors] = Int64(bitPattern: a.tensors)
        words[nonfinite] = Int64(bitPattern: a.total.sums.nonfinite)
        words[nan] = Int64(bitPattern: a.total.sums.nan)
    }

    private static func read(
        _ words: UnsafeMutablePointer<Int64>, _ agreed: Int64, _ a: inout Accumulator
    ) throws(ArgumentError) {
        let n = words[ranks]
        // Of n hashes the sum and the sum of squares are within these bounds, and n is theirs.
        var signs = words[refused] | (n &- 1) | (mostRanks &- n) | (n &- words[refused])
        signs |= (words[nonfinite] &- words[nan]) | words[hash] | words[hashSquared]
        signs |= (n &<< 20 &- words[hash]) | (n &<< 40 &- words[hashSquared])
        for i in 0..<ranks { signs |= words[i] }
        if signs < 0 {
            throw ArgumentError("words", "are no sum of the words of accumulators", .none, reason: .badData())
        }
        if words[refused] > 0 {
            throw ArgumentError("ranks", "whose call was refused must be none", .integer(Int(words[refused])))
        }
        // Mean and variance of all hashes are those of n times this one.
        if words[hash] != n &* agreed || words[hashSquared] != n &* (agreed &* agreed) {
            throw ArgumentError("norm_type, max_norm and options", "must be the same on all ranks", .none)
        }
        a.reset()
        if words[kind] > 0 { return }
        if a.type.hasExactSum {
            let limbs = ExactSum.limbs(&a.total.sums.exact)
            for i in 0..<Int(GK_LIMBS) { limbs[i] = words[i] }
            ExactSum.propagate(&a.total.sums.exact)
        } else {
            a.total.sums.largest = UInt64(bitPattern: words[0])
            a.total.sums.smallest = words[1] == 0 ? .max : UInt64(bitPattern: Int64.max &- words[1])
            a.total.sums.nonzero = UInt64(bitPattern: words[2])
            a.total.nonzeroTensors = UInt64(bitPattern: words[3])
            a.total.sums.elements = Int(words[4])
        }
        a.tensors = UInt64(bitPattern: words[tensors])
        a.total.sums.nonfinite = UInt64(bitPattern: words[nonfinite])
        a.total.sums.nan = UInt64(bitPattern: words[nan])
    }

    /// 20 bits over all that the ranks must agree on: their squares, too, can be
    /// added 2^23 times.
    private static func hash(_ a: UnsafeMutablePointer<Accumulator>, _ maxNorm: Double) -> Int64 {
        let options = a.pointee.options
        // (+ 0: of the two zeros one.)
        var settings = (
            (maxNorm + 0).bitPattern, (options.eps + 0).bitPattern, options.gradScale.bitPattern,
            a.pointee.type.power.bitPattern,
            UInt64(options.nonfinite.rawValue) | (options.exactFloat64 ? 8 : 0) | AccumulatorBytes.version << 8
        )
        let hash = checksum(&settings, fields: 5)
        return Int64((hash ^ hash >> 20 ^ hash >> 40) & 0xfffff)
    }
}
