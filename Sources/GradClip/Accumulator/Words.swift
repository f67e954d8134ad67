// State as bytes: little-endian 64-bit words, the last of them a checksum.

/// FNV-1a, 64 bits, over whole words.
@inline(never) @_optimize(size)
func checksum(_ bytes: UnsafeRawPointer, words: Int) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for i in 0..<words &* 8 {
        hash = (hash ^ UInt64(bytes.load(fromByteOffset: i, as: UInt8.self))) &* 0x100_0000_01b3
    }
    return hash
}

struct WordWriter {
    let bytes: UnsafeMutableRawPointer
    var count = 0

    init(_ bytes: UnsafeMutableRawPointer) { self.bytes = bytes }

    mutating func put(_ word: UInt64) {
        bytes.storeBytes(of: word.littleEndian, toByteOffset: count &* 8, as: UInt64.self)
        count &+= 1
    }

    mutating func put(_ number: Double) { put(number.bitPattern) }

    /// The last word.
    mutating func putChecksum() { put(checksum(bytes, words: count)) }

    @inline(never) @_optimize(size)
    mutating func put(_ words: UnsafeRawPointer, _ count: Int) {
        for i in 0..<count { put(words.loadUnaligned(fromByteOffset: i &* 8, as: UInt64.self)) }
    }
}

struct WordReader {
    let bytes: UnsafeRawPointer
    var position: Int

    init(_ bytes: UnsafeRawPointer, at position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    var peek: UInt64 { UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position &* 8, as: UInt64.self)) }

    /// Whether the last of so many words is the checksum of those before it.
    func hasChecksum(_ words: Int) -> Bool {
        checksum(bytes, words: words &- 1) == WordReader(bytes, at: words &- 1).peek
    }

    mutating func next() -> UInt64 {
        let word = peek
        position &+= 1
        return word
    }

    @inline(never) @_optimize(size)
    mutating func get(_ words: UnsafeMutableRawPointer, _ count: Int) {
        for i in 0..<count { words.storeBytes(of: next(), toByteOffset: i &* 8, as: UInt64.self) }
    }

    /// Limbs whose carries are propagated; false if they are not. nil: only look.
    mutating func limbs(_ limbs: UnsafeMutablePointer<Int64>?, _ count: Int) -> Bool {
        for i in 0..<count {
            let limb = Int64(bitPattern: next())
            if limb < 0 || limb >= (i == count &- 1 ? 1 << 62 : 1 << 40) { return false }
            limbs?[i] = limb
        }
        return true
    }
}
