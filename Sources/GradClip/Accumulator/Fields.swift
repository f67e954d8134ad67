// State as bytes: little-endian fields of 64 bits, the last of them a checksum.

/// Bytes of a field.
var fieldSize: Int { MemoryLayout<UInt64>.size }

/// FNV-1a, 64 bits, over whole fields.
func checksum(_ bytes: UnsafeRawPointer, fields: Int) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for i in 0..<fields &* fieldSize {
        hash = (hash ^ UInt64(bytes.load(fromByteOffset: i, as: UInt8.self))) &* 0x100_0000_01b3
    }
    return hash
}

struct FieldWriter {
    let bytes: UnsafeMutableRawPointer
    var count = 0

    init(_ bytes: UnsafeMutableRawPointer) { self.bytes = bytes }

    mutating func put(_ field: UInt64) {
        bytes.storeBytes(of: field.littleEndian, toByteOffset: count &* fieldSize, as: UInt64.self)
        count &+= 1
    }

    mutating func put(_ number: Double) { put(number.bitPattern) }

    /// The last field.
    mutating func putChecksum() { put(checksum(bytes, fields: count)) }

    mutating func put(_ fields: UnsafeRawPointer, _ count: Int) {
        for i in 0..<count { put(fields.loadUnaligned(fromByteOffset: i &* fieldSize, as: UInt64.self)) }
    }
}

struct FieldReader {
    let bytes: UnsafeRawPointer
    var position: Int

    init(_ bytes: UnsafeRawPointer, at position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    var peek: UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position &* fieldSize, as: UInt64.self))
    }

    /// Whether the last of so many fields is the checksum of those before it.
    func hasChecksum(_ fields: Int) -> Bool {
        checksum(bytes, fields: fields &- 1) == FieldReader(bytes, at: fields &- 1).peek
    }

    mutating func next() -> UInt64 {
        let field = peek
        position &+= 1
        return field
    }

    mutating func get(_ fields: UnsafeMutableRawPointer, _ count: Int) {
        for i in 0..<count { fields.storeBytes(of: next(), toByteOffset: i &* fieldSize, as: UInt64.self) }
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
