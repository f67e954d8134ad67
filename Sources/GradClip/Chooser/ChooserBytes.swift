// A chooser as bytes: fields (Fields.swift).
//
//   0  "GCLC" (32 bits), version (32 bits)
//   1  the options, as in memory: 12 fields, of which the first says how many bytes they are
//      steps, mean, variance
//      how many values and how many bins of `norms` follow, how many values of `losses`
//      the values of `norms` in the order of time, or its bins in use in rising order,
//      each with its count; the values of `losses`
//      the checksum
import CGradClip
import CGradClipSystem

extension Chooser {
    private static var magic: UInt64 { 0x434c_4347 | 1 << 32 }
    private static var optionFields: Int { MemoryLayout<ChooserOptions>.size / fieldSize }
    /// All but options and history: magic, statistics, counts, checksum.
    private static var fixedFields: Int { 8 }

    /// Bins in use.
    private var usedBins: Int {
        var used = 0
        if let bins = norms.bins {
            for i in 0..<History.binCount where bins[i] > 0 { used &+= 1 }
        }
        return used
    }

    package var byteCount: Int {
        (Self.optionFields &+ Self.fixedFields &+ norms.count &+ 2 &* usedBins &+ losses.count) &* fieldSize
    }

    /// Writes byteCount bytes.
    package mutating func write(to bytes: UnsafeMutableRawPointer) {
        var out = FieldWriter(bytes)
        out.put(Self.magic)
        out.put(&options, Self.optionFields)
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
    package mutating func read(_ bytes: UnsafeRawPointer, count: Int) throws(ArgumentError) {
        // (A fresh one on the heap: zeroed memory is an empty history.)
        guard let fresh = Chooser.create(options) else { throw Self.noMemory }
        do throws(ArgumentError) {
            try fresh.pointee.decode(bytes, count)
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

    private mutating func decode(_ bytes: UnsafeRawPointer, _ count: Int) throws(ArgumentError) {
        let fields = count / fieldSize
        if count % fieldSize != 0 || fields < Self.fixedFields &+ 1 { throw Self.badData }
        var input = FieldReader(bytes)
        if input.next() != Self.magic || !input.hasChecksum(fields) { throw Self.badData }
        // As many fields of options as the library has that wrote them: what is missing has its
        // default, and what this one does not know must be 0.
        let stated = input.peek
        if stated % 8 != 0 || stated < 16 || stated / 8 > UInt64(fields &- Self.fixedFields) { throw Self.badData }
        let given = Int(stated / 8)
        let kind = options.kind
        options = ChooserOptions(kind: kind)
        input.get(&options, min(given, Self.optionFields))
        for _ in Self.optionFields..<max(given, Self.optionFields) where input.next() != 0 { throw Self.badData }
        options.struct_size = UInt64(MemoryLayout<ChooserOptions>.size)
        if options.kind != kind { throw Self.badData }
        do throws(ArgumentError) { try options.check() } catch { throw Self.badData }
        let fixed = given &+ Self.fixedFields
        steps = input.next()
        mean = Double(bitPattern: input.next())
        variance = Double(bitPattern: input.next())
        let (normCount, binCount, lossCount) = (input.next(), input.next(), input.next())
        if !(mean.isFinite && variance.isFinite && variance >= 0) { throw Self.badData }
        // So many fields there are, and no others.
        let rest = UInt64(fields &- fixed)
        if normCount > rest || binCount > rest || lossCount > rest { throw Self.badData }
        if normCount &+ 2 &* binCount &+ lossCount != rest { throw Self.badData }
        if isPerTensor {
            if normCount != rest { throw Self.badData }
            if normCount == 0 { return }
            try check(count: Int(normCount))
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
