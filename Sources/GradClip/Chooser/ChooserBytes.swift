// A chooser as bytes: words (Words.swift).
//
//   0  "GCLC" (32 bits), version (32 bits)
//   1  the options, as in memory: 12 words, of which the first says how many bytes they are
//      steps, mean, variance
//      how many values and how many bins of `norms` follow, how many values of `losses`
//      the values of `norms` in the order of time, or its bins in use in rising order,
//      each with its count; the values of `losses`
//      the checksum
import CGradClipSystem

extension Chooser {
    private static var magic: UInt64 { 0x434c_4347 | 1 << 32 }
    private static var optionWords: Int { MemoryLayout<ChooserOptions>.size / 8 }
    /// All but options and history: magic, statistics, counts, checksum.
    private static var fixedWords: Int { 8 }

    /// Bins in use.
    private var usedBins: Int {
        var used = 0
        if let bins = norms.bins {
            for i in 0..<History.binCount where bins[i] > 0 { used &+= 1 }
        }
        return used
    }

    package var byteCount: Int {
        (Self.optionWords &+ Self.fixedWords &+ norms.count &+ 2 &* usedBins &+ losses.count) &* 8
    }

    /// Writes byteCount bytes.
    @inline(never) @_optimize(size) package mutating func write(to bytes: UnsafeMutableRawPointer) {
        var out = WordWriter(bytes)
        out.put(Self.magic)
        out.put(&options, Self.optionWords)
        out.put(steps)
        out.put(mean)
        out.put(variance)
        out.put(UInt64(norms.count))
        out.put(UInt64(usedBins))
        out.put(UInt64(losses.count))
        for i in 0..<norms.count { out.put(norms.value(i)) }
        if let bins = norms.bins {
            for i in 0..<History.binCount where bins[i] > 0 {
                out.put(UInt64(i))
                out.put(bins[i])
            }
        }
        for i in 0..<losses.count { out.put(losses.value(i)) }
        out.putChecksum()
    }

    /// Becomes what the bytes hold. Nothing changes if they are refused.
    @inline(never) @_optimize(size)
    package mutating func read(_ bytes: UnsafeRawPointer, count: Int) throws(ArgumentError) {
        // (A fresh one on the heap: zeroed memory is an empty history.)
        guard let fresh = Chooser.create(options) else { throw Self.noMemory }
        do throws(ArgumentError) {
            try fresh.pointee.take(bytes, count)
        } catch {
            Chooser.destroy(fresh)
            throw error
        }
        release()
        self = fresh.pointee
        gk_release(fresh)
    }

    private static var badData: ArgumentError {
        ArgumentError("bytes", "are damaged, or not those of such a chooser", .none, reason: .badData())
    }

    @inline(never) @_optimize(size)
    private mutating func take(_ bytes: UnsafeRawPointer, _ count: Int) throws(ArgumentError) {
        let words = count / 8
        if count & 7 != 0 || words < Self.fixedWords &+ 1 { throw Self.badData }
        var input = WordReader(bytes)
        if input.next() != Self.magic || !input.hasChecksum(words) { throw Self.badData }
        // As many words of options as the library has that wrote them: what is missing has its
        // default, and what this one does not know must be 0.
        let stated = input.peek
        if stated % 8 != 0 || stated < 16 || stated / 8 > UInt64(words &- Self.fixedWords) { throw Self.badData }
        let given = Int(stated / 8)
        let kind = options.kind
        options = ChooserOptions(kind: kind)
        input.get(&options, min(given, Self.optionWords))
        for _ in Self.optionWords..<max(given, Self.optionWords) where input.next() != 0 { throw Self.badData }
        options.structSize = UInt64(MemoryLayout<ChooserOptions>.size)
        if options.kind != kind { throw Self.badData }
        do throws(ArgumentError) { try options.check() } catch { throw Self.badData }
        let fixed = given &+ Self.fixedWords
        steps = input.next()
        mean = Double(bitPattern: input.next())
        variance = Double(bitPattern: input.next())
        let (normCount, binCount, lossCount) = (input.next(), input.next(), input.next())
        if !(mean.isFinite && variance.isFinite && variance >= 0) { throw Self.badData }
        // So many words there are, and no others.
        let rest = UInt64(words &- fixed)
        if normCount > rest || binCount > rest || lossCount > rest { throw Self.badData }
        if normCount &+ 2 &* binCount &+ lossCount != rest { throw Self.badData }
        if isPerTensor {
            if normCount != rest { throw Self.badData }
            if normCount == 0 { return }
            try take(count: Int(normCount))
            for i in 0..<norms.count {
                norms.values[i] = Double(bitPattern: input.next())
                if !norms.values[i].isFinite { throw Self.badData }
            }
            return
        }
        // What this kind keeps.
        let most = kind == ChooserOptions.zClip ? 0 : UInt64(window > 0 ? window : History.limit)
        if normCount > most || lossCount > (kind == ChooserOptions.skipStep ? most : 0) { throw Self.badData }
        if binCount > 0 && (kind != ChooserOptions.autoClip || window > 0 || normCount > 0) { throw Self.badData }
        for i in 0..<normCount &+ lossCount {
            let value = Double(bitPattern: input.next())
            let isLoss = i >= normCount
            if !value.isFinite || !isLoss && value.bitPattern >> 63 == 1 { throw Self.badData }
            if !(isLoss ? losses.add(value, window, quantile) : norms.add(value, window, quantile)) {
                throw Self.noMemory
            }
        }
        if binCount > 0 && !norms.allocateBins() { throw Self.noMemory }
        var next: UInt64 = 0
        for _ in 0..<binCount {
            let (bin, held) = (input.next(), input.next())
            if bin < next || bin >= UInt64(History.binCount) || held == 0 || held > 1 << 40 { throw Self.badData }
            norms.bins.unsafelyUnwrapped[Int(bin)] = held
            norms.binned &+= held
            next = bin &+ 1
        }
    }
}
