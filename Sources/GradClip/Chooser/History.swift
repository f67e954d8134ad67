// The norms that a chooser has seen: the last of them or all, with one of their
// quantiles at hand, in bounded memory.
import CGradClipKernels
import CGradClipSystem

/// Up to a million values exactly, as a ring in the order of time with two heaps over
/// it: one of the values up to the quantile, largest first, one of those above,
/// smallest first. A new value, and the loss of the oldest, cost O(log n).
///
/// Of more values only a histogram is kept whose bins are the upper bits of float64:
/// 512 to the octave. A value is then known to a part in 1024.
struct History {
    static var limit: Int { 1_000_000 }
    /// Bits of float64 that a bin leaves out.
    static var binShift: UInt64 { 43 }
    static var binCount: Int { 2047 << 9 }

    /// `capacity` values; then as many numbers of slots in the heaps, one heap from the
    /// front and one from the back; then as many places in the heaps, by slot.
    private var memory: UnsafeMutableRawPointer?
    private(set) var capacity = 0
    /// Exact values, and the slot of the oldest.
    var count = 0
    private var oldest = 0
    /// Values in the two heaps.
    private var lower = 0
    private var upper = 0

    private(set) var bins: UnsafeMutablePointer<UInt64>?
    var binned: UInt64 = 0
    /// The bin that the quantile was last found in, and the values below it.
    private var cursor = 0
    private var below: UInt64 = 0

    var values: UnsafeMutablePointer<Double> { memory.unsafelyUnwrapped.assumingMemoryBound(to: Double.self) }
    /// The rest of the memory, for who needs no heaps.
    var scratch: UnsafeMutablePointer<Double> { values + capacity }
    private var heaps: UnsafeMutablePointer<Int32> {
        UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: Int32.self)
    }
    private var places: UnsafeMutablePointer<Int32> { heaps + capacity }

    /// An empty history; false for lack of memory.
    mutating func allocate(_ capacity: Int) -> Bool {
        guard let memory = gk_allocate(capacity &* (MemoryLayout<Double>.stride &+ 2 &* MemoryLayout<Int32>.stride))
        else { return false }
        self = History()
        self.memory = memory
        self.capacity = capacity
        return true
    }

    func release() {
        gk_release(memory)
        gk_release(bins)
    }

    /// The value that was added `i` values after the oldest.
    @inline(never)
    func value(_ i: Int) -> Double {
        let slot = oldest &+ i
        return values[slot < count ? slot : slot &- count]
    }

    /// Makes room for one more value if the last `window` (0: all) are kept; false for
    /// lack of memory, with nothing changed.
    @inline(never) mutating func reserve(_ window: Int, _ quantile: Double) -> Bool {
        if bins != nil || capacity > 0 && (count < capacity || count == window) { return true }
        if count == Self.limit { return allocateBins() }
        var larger = History()
        if !larger.allocate(min(max(64, 2 &* capacity), window > 0 ? window : Self.limit)) { return false }
        for i in 0..<count { larger.append(value(i), quantile) }
        release()
        self = larger
        return true
    }

    /// Adds a value, with room for it; false for lack of memory.
    @inline(never) mutating func add(_ value: Double, _ window: Int, _ quantile: Double) -> Bool {
        if !reserve(window, quantile) { return false }
        append(value, quantile)
        return true
    }

    /// Goes on with a histogram of the values.
    @inline(never)
    mutating func allocateBins() -> Bool {
        guard let memory = gk_allocate(Self.binCount &* MemoryLayout<UInt64>.stride) else { return false }
        let bins = memory.assumingMemoryBound(to: UInt64.self)
        for i in 0..<count { bins[Self.bin(value(i))] &+= 1 }
        let binned = UInt64(count)
        release()
        self = History()
        self.bins = bins
        self.binned = binned
        return true
    }

    private static func bin(_ value: Double) -> Int { Int(truncatingIfNeeded: value.bitPattern >> binShift) }

    /// The middle of a bin; 0 for the lowest.
    @inline(never)
    private static func value(bin: Int) -> Double {
        bin == 0 ? 0 : Double(bitPattern: UInt64(bin) << binShift | 1 << (binShift &- 1))
    }

    /// Adds a value, which takes the place of the oldest where there is no other.
    @inline(never) mutating func append(_ value: Double, _ quantile: Double) {
        if let bins {
            let bin = Self.bin(value)
            bins[bin] &+= 1
            binned &+= 1
            if bin < cursor { below &+= 1 }
            return
        }
        var slot = count
        if count == capacity {
            slot = oldest
            oldest = oldest &+ 1 == count ? 0 : oldest &+ 1
            let place = Int(places[slot])
            let heap = place < lower ? 0 : 1
            _ = remove(heap == 0 ? place : capacity &- 1 &- place, heap)
            balance(quantile)
        } else {
            count &+= 1
        }
        values[slot] = value
        push(Int32(truncatingIfNeeded: slot), lower > 0 && bits(slot) > bits(Int(heaps[0])) ? 1 : 0)
        balance(quantile)
    }

    /// The quantile between its two neighbours as numpy.percentile and torch.quantile
    /// interpolate it; infinite if there is no value.
    @inline(never) mutating func quantile(_ quantile: Double) -> Double {
        let size = bins == nil ? count : Int(truncatingIfNeeded: binned)
        if size == 0 { return .infinity }
        let (rank, fraction) = Self.rank(quantile, size)
        var (low, high) = (0.0, 0.0)
        if let bins {
            let wanted = UInt64(rank)
            while wanted < below {
                cursor &-= 1
                below &-= bins[cursor]
            }
            while wanted >= below &+ bins[cursor] {
                below &+= bins[cursor]
                cursor &+= 1
            }
            low = Self.value(bin: cursor)
            var next = cursor
            if wanted &+ 1 < binned && wanted &+ 1 == below &+ bins[cursor] {
                repeat { next &+= 1 } while bins[next] == 0
            }
            high = Self.value(bin: next)
        } else {
            low = values[Int(heaps[0])]
            high = upper > 0 ? values[Int(heaps[capacity &- 1])] : low
        }
        let difference = high - low
        return fraction < 0.5 ? low + difference * fraction : high - difference * (1 - fraction)
    }

    /// Mean and standard deviation (of n - 1), in the order of time.
    @inline(never) func statistics() -> (mean: Double, deviation: Double) {
        var (mean, squares) = (0.0, 0.0)
        for i in 0..<count { mean += value(i) }
        mean /= Double(count)
        for i in 0..<count { squares += (value(i) - mean) * (value(i) - mean) }
        return (mean, gk_square_root(squares / Double(count &- 1)))
    }

    // ------------------------------------------------------------------ heaps

    @inline(never)
    private static func rank(_ quantile: Double, _ size: Int) -> (Int, Double) {
        let position = quantile * Double(size &- 1)
        let rank = Int(position)
        return (rank, position - Double(rank))
    }

    private func bits(_ slot: Int) -> UInt64 { values[slot].bitPattern }

    private func size(_ heap: Int) -> Int { heap == 0 ? lower : upper }

    private mutating func resize(_ heap: Int, _ change: Int) {
        if heap == 0 { lower &+= change } else { upper &+= change }
    }

    @inline(never)
    private func slot(_ i: Int, _ heap: Int) -> Int32 { heaps[heap == 0 ? i : capacity &- 1 &- i] }

    /// What is larger is nearer to the top. (Of values >= 0 the bits have their order.)
    @inline(never)
    private func key(_ i: Int, _ heap: Int) -> UInt64 { bits(Int(slot(i, heap))) ^ (0 &- UInt64(heap)) }

    @inline(never)
    private func put(_ slot: Int32, _ i: Int, _ heap: Int) {
        let place = heap == 0 ? i : capacity &- 1 &- i
        heaps[place] = slot
        places[Int(slot)] = Int32(truncatingIfNeeded: place)
    }

    /// Moves an entry to where it belongs.
    @inline(never) private func sift(_ start: Int, _ heap: Int) {
        let (entry, own, size) = (slot(start, heap), key(start, heap), size(heap))
        var i = start
        while i > 0 && key((i &- 1) / 2, heap) < own {
            put(slot((i &- 1) / 2, heap), i, heap)
            i = (i &- 1) / 2
        }
        while true {
            var child = 2 &* i &+ 1
            if child &+ 1 < size && key(child &+ 1, heap) > key(child, heap) { child &+= 1 }
            if child >= size || key(child, heap) <= own { break }
            put(slot(child, heap), i, heap)
            i = child
        }
        put(entry, i, heap)
    }

    @inline(never)
    private mutating func push(_ slot: Int32, _ heap: Int) {
        let i = size(heap)
        resize(heap, 1)
        put(slot, i, heap)
        sift(i, heap)
    }

    @inline(never) private mutating func remove(_ i: Int, _ heap: Int) -> Int32 {
        let removed = slot(i, heap)
        resize(heap, -1)
        let last = size(heap)
        if i < last {
            put(slot(last, heap), i, heap)
            sift(i, heap)
        }
        return removed
    }

    /// Makes the top of the lower heap the value at or below the quantile.
    @inline(never)
    private mutating func balance(_ quantile: Double) {
        let size = lower &+ upper
        if size == 0 { return }
        let wanted = Self.rank(quantile, size).0 &+ 1
        while lower != wanted {
            let from = lower < wanted ? 1 : 0
            push(remove(0, from), 1 &- from)
        }
    }
}
