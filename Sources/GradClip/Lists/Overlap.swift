// Whether tensors of a list share memory.
import CGradClipSystem

/// Two tensors of a list that share bytes, `first` before `second` in the list; both are the
/// number of tensors if no two do.
package struct Overlap {
    package var first: Int
    package var second: Int
}

/// The overlap that is lowest in memory; nil for lack of memory.
///
/// Of tensors in the order of their addresses one that overlaps any later one overlaps the
/// next. They are put in this order by the bytes of their addresses in which any two differ, the
/// lowest byte first, each time keeping the order there was: no comparisons, which processors
/// would guess wrongly half the time.
package func overlap(in list: TensorList) -> Overlap? {
    typealias Start = (address: UInt, index: Int)
    let count = list.count
    let bytes = count &* MemoryLayout<Start>.stride
    guard let memory = gk_allocate(2 &* bytes &+ 256 &* MemoryLayout<Int>.stride) else { return nil }
    defer { gk_release(memory) }
    var starts = memory.assumingMemoryBound(to: Start.self)
    var sorted = (memory + bytes).assumingMemoryBound(to: Start.self)
    let ends = (memory + 2 &* bytes).assumingMemoryBound(to: Int.self)
    var used = 0
    var differing: UInt = 0
    for i in 0..<count {
        let tensor = list[i]
        if tensor.length == 0 { continue }
        starts[used] = (UInt(bitPattern: tensor.data), i)
        differing |= starts[used].address ^ starts[0].address
        used &+= 1
    }
    for shift in stride(from: UInt(0), to: 64, by: 8) where differing &>> shift & 0xff != 0 {
        for byte in 0..<256 { ends[byte] = 0 }
        for i in 0..<used { ends[Int(starts[i].address &>> shift & 0xff)] &+= 1 }
        var before = 0
        for byte in 0..<256 {
            let own = ends[byte]
            ends[byte] = before
            before &+= own
        }
        for i in 0..<used {
            let byte = Int(starts[i].address &>> shift & 0xff)
            sorted[ends[byte]] = starts[i]
            ends[byte] &+= 1
        }
        swap(&starts, &sorted)
    }
    var i = 1
    while i < used {
        let (one, next) = (starts[i &- 1], starts[i])
        let tensor = list[one.index]
        if next.address &- one.address < UInt(tensor.length &* tensor.dtype.size) {
            return Overlap(first: min(one.index, next.index), second: max(one.index, next.index))
        }
        i &+= 1
    }
    return Overlap(first: count, second: count)
}
