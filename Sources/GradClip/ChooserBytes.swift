// A chooser as bytes: words (Words.swift).
//
//   0  "GCLC" (32 bits), version (32 bits)
//   1  the options, as in memory: 12 words
//  13  steps, mean, variance
//  16  how many values and how many bins of `norms` follow, how many values of `losses`
//  19  the values of `norms` in the order of time, or its bins in use in rising order,
//      each with its count; the values of `losses`
//      the checksum
import CGradClipSystem

extension Chooser {
    private static var magic: UInt64 { 0x434c_4347 | 1 << 32 }
    private static var optionWords: Int { MemoryLayout<ChooserOptions>.size / 8 }

    /// Bins in use.
    private var usedBins: Int {
        var used = 0
        if let bins = norms.bins {
            for i in 0..<History.binCount where bins[i] > 0 { used &+= 1 }
        }
        return used
    }

    package var byteCount: Int {
        (Self.optionWords &+ 8 &+ norms.count &+ 2 &* usedBins &+ losses.count) &* 8
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
    package mutating func read(_ bytes: UnsafeRawPointer, count: Int) -> ChooserOutcome {
        // (A fresh one on the heap: zeroed memory is an empty history.)
        guard let fresh = Chooser.create(options) else { return .outOfMemory }
        let outcome = fresh.pointee.take(bytes, count)
        if outcome.number == 0 {
            release()
            self = fresh.pointee
            gk_release(fresh)
        } else {
            Chooser.destroy(fresh)
        }
        return outcome
    }

    @inline(never) @_optimize(size)
    private mutating func take(_ bytes: UnsafeRawPointer, _ count: Int) -> ChooserOutcome {
        let fixed = Self.optionWords &+ 8
        let words = count / 8
        if count & 7 != 0 || words < fixed { return .badData }
        var input = WordReader(bytes)
        if input.next() != Self.magic || !input.hasChecksum(words) { return .badData }
        let kind = options.kind
        input.get(&options, Self.optionWords)
        if options.structSize != UInt64(MemoryLayout<ChooserOptions>.size) || options.kind != kind { return .badData }
        if ChooserOptions.refusal(&options).outcome.number != 0 { return .badData }
        steps = input.next()
        mean = Double(bitPattern: input.next())
        variance = Double(bitPattern: input.next())
        let (normCount, binCount, lossCount) = (input.next(), input.next(), input.next())
        if !(mean.isFinite && variance.isFinite && variance >= 0) { return .badData }
        // So many words there are, and no others.
        let rest = UInt64(words &- fixed)
        if normCount > rest || binCount > rest || lossCount > rest { return .badData }
        if normCount &+ 2 &* binCount &+ lossCount != rest { return .badData }
        if isPerTensor {
            if normCount != rest || normCount == 0 { return rest == 0 ? .done : .badData }
            let taken = take(count: Int(normCount))
            if taken.number < 0 { return taken }
            for i in 0..<norms.count {
                norms.values[i] = Double(bitPattern: input.next())
                if !norms.values[i].isFinite { return .badData }
            }
            return .done
        }
        // What this kind keeps.
        let most = kind == ChooserOptions.zClip ? 0 : UInt64(window > 0 ? window : History.limit)
        if normCount > most || lossCount > (kind == ChooserOptions.skipStep ? most : 0) { return .badData }
        if binCount > 0 && (kind != ChooserOptions.autoClip || window > 0 || normCount > 0) { return .badData }
        for i in 0..<normCount &+ lossCount {
            let value = Double(bitPattern: input.next())
            let isLoss = i >= normCount
            if !value.isFinite || !isLoss && value.bitPattern >> 63 == 1 { return .badData }
            if !(isLoss ? losses.add(value, window, quantile) : norms.add(value, window, quantile)) {
                return .outOfMemory
            }
        }
        if binCount > 0 && !norms.allocateBins() { return .outOfMemory }
        var next: UInt64 = 0
        for _ in 0..<binCount {
            let (bin, held) = (input.next(), input.next())
            if bin < next || bin >= UInt64(History.binCount) || held == 0 || held > 1 << 40 { return .badData }
            norms.bins.unsafelyUnwrapped[Int(bin)] = held
            norms.binned &+= held
            next = bin &+ 1
        }
        return .done
    }
}
