// The sums of clipped examples, in columns: some elements of a tensor at a time, over all examples.
import CGradClipKernels
import CGradClipSystem

struct ExampleSums: Pass {
    let examples: UnsafePointer<ExampleClip>
    let sums: TensorList
    /// How many columns a thread sums at a time.
    let columns: Int

    init(_ examples: UnsafePointer<ExampleClip>, _ sums: TensorList, threads: Int) {
        self.examples = examples
        self.sums = sums
        var all = 0
        for i in 0..<sums.count { all &+= sums[i].length }
        columns = max(Int(GK_COLUMNS), min(Int(GK_MOST_COLUMNS), all / (threads &* 8) & ~15))
    }

    var pieces: Columns { Columns(sums, atOnce: columns) }
}

/// The columns of a list of sums, up to so many at a time: the tensor, and which of its elements.
struct Columns: IteratorProtocol {
    private let sums: TensorList
    private let atOnce: Int
    private var index = 0
    private var start = 0

    init(_ sums: TensorList, atOnce: Int) {
        self.sums = sums
        self.atOnce = atOnce
    }

    mutating func next() -> (index: Int, columns: Range<Int>)? {
        while index < sums.count {
            let length = sums[index].length
            if start < length {
                let end = min(start &+ atOnce, length)
                defer { start = end }
                return (index, start..<end)
            }
            start = 0
            index &+= 1
        }
        return nil
    }
}

struct ExampleSumsShare: Share {
    let pass: UnsafePointer<ExampleSums>
    let examples: UnsafePointer<ExampleClip>
    let workspace: Workspace
    /// Without memory for many columns the workspace has some.
    let memory: UnsafeMutableRawPointer?

    init(_ pass: UnsafePointer<ExampleSums>, _ workspace: Workspace, isShared: Bool) {
        self.pass = pass
        examples = pass.pointee.examples
        self.workspace = workspace
        memory = gk_allocate(pass.pointee.columns &* MemoryLayout<Double>.size)
    }

    func work(on piece: (index: Int, columns: Range<Int>)) {
        let totals = (memory ?? workspace.start).assumingMemoryBound(to: Double.self)
        let rows = workspace.start + Int(GK_COLUMNS) &* MemoryLayout<Double>.size
        let most = memory == nil ? Int(GK_COLUMNS) : pass.pointee.columns
        let output = pass.pointee.sums[piece.index]
        let size = output.dtype.size
        var start = piece.columns.lowerBound
        while start < piece.columns.upperBound {
            let count = min(most, piece.columns.upperBound &- start)
            gk_round_towards_zero(true)
            add(piece.index, start, count, totals, rows)
            gk_round_towards_zero(false)
            if output.dtype == .float32 { narrow(totals, count) }
            (output.data.unsafelyUnwrapped + start &* size).copyMemory(from: totals, byteCount: count &* size)
            start &+= count
        }
    }

    func close() { gk_release(memory) }

    /// Four examples at a time; the last ones with a factor of 0 for company.
    @inline(never)
    private func add(
        _ index: Int, _ start: Int, _ count: Int, _ totals: UnsafeMutablePointer<Double>,
        _ scratch: UnsafeMutableRawPointer
    ) {
        totals.update(repeating: 0, count: count &+ 15 & ~15)
        let given = examples.pointee
        let (factors, layers) = (given.factors, given.layers)
        var rows: (UnsafeRawPointer?, UnsafeRawPointer?, UnsafeRawPointer?, UnsafeRawPointer?) = (nil, nil, nil, nil)
        var four = (0.0, 0.0, 0.0, 0.0)
        withUnsafeMutableBytes(of: &four) { four in
            let four = four.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Double.self)
            withUnsafeMutableBytes(of: &rows) { rows in
                let rows = rows.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UnsafeRawPointer?.self)
                var filled = 0
                for example in 0..<given.examples {
                    let factor = factors[example &* layers &+ (layers == 1 ? 0 : index)]
                    if factor != 0 {
                        let row = given.row(index, example)
                        for i in filled..<4 {
                            rows[i] = UnsafeRawPointer(row.data.unsafelyUnwrapped) + start &* row.dtype.size
                            four[i] = 0
                        }
                        four[filled] = factor
                        filled &+= 1
                    }
                    if filled == 4 || filled > 0 && example &+ 1 == given.examples {
                        given.kernels.pointee.accumulate(
                            given.grads[index].dtype, rows, Int64(count), four, totals, scratch)
                        filled = 0
                    }
                }
            }
        }
    }

    /// Float64 becomes float32 in place.
    @inline(never)
    private func narrow(_ totals: UnsafeMutablePointer<Double>, _ count: Int) {
        let totals = UnsafeMutableRawPointer(totals)
        for i in 0..<(count &+ 7) / SIMD8<Double>.scalarCount {
            let values = (totals + i &* MemoryLayout<SIMD8<Double>>.size).loadUnaligned(as: SIMD8<Double>.self)
            (totals + i &* MemoryLayout<SIMD8<Float>>.size).storeBytes(
                of: gk_f32_from_f64(values), as: SIMD8<Float>.self)
        }
    }
}
