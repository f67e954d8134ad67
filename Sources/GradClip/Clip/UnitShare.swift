// One thread's part of adaptive gradient clipping.
import CGradClipKernels
import CGradClipSystem
import GradClipKernels

struct UnitShare {
    let pass: UnsafeMutablePointer<UnitPass>
    let workspace: UnsafeMutableRawPointer
    let isShared: Bool
    /// Where columns become rows.
    let tile: UnsafeMutableRawPointer
    /// One for each unit of a block; behind them the sum of all gradients, and what is
    /// expected of weights.
    let partials: UnsafeMutablePointer<Partial>
    let sum: UnsafeMutablePointer<Partial>
    /// For exact sums of float64 terms of each unit of a block; without them, or the memory
    /// for them, a block is one unit.
    let limbs: UnsafeMutablePointer<Int64>?
    var first = (tensor: UInt64.max, element: UInt64.max)
    // The tensor at hand, and in it a block of units: its place, and how many they are.
    var index = -1
    var shape = UnitShape()
    var element = 0
    var width = 0

    init(_ pass: UnsafeMutablePointer<UnitPass>, _ workspace: UnsafeMutableRawPointer, isShared: Bool) {
        self.pass = pass
        self.workspace = workspace
        self.isShared = isShared
        tile = workspace + Int(GK_SCRATCH - GK_TILE)
        partials = (workspace + Int(GK_WORKSPACE - GK_PARTIALS)).assumingMemoryBound(to: Partial.self)
        sum = partials + Int(GK_TILE_COLUMNS)
        let (isExact, type) = (pass.pointee.options.exactFloat64, pass.pointee.type)
        if type.term == .power { preparePowerTables(workspace, power: type.power) }
        limbs =
            isExact ? gk_allocate(Int(GK_TILE_COLUMNS * GK_WIDE_LIMBS) &* 8)?.assumingMemoryBound(to: Int64.self) : nil
        prepare(sum, isExact ? wideLimbs(workspace, 0) : nil)
        prepare(sum + 1, nil)
    }

    private func prepare(_ partial: UnsafeMutablePointer<Partial>, _ wide: UnsafeMutablePointer<Int64>?) {
        Partial.prepare(partial, pass.pointee.type, scratch: workspace, wide: wide)
    }

    /// Tensors are cut into portions of some blocks each, which threads draw by number.
    mutating func run() {
        // (Portions are the same for every thread, whatever memory it has.)
        let most = Int(GK_TILE_COLUMNS)
        let step = pass.pointee.options.exactFloat64 && limbs == nil ? 1 : most
        var coefs = pass.pointee.coefs
        var before = 0
        var portions = 0
        var blocksAtOnce = 1
        var across = 1
        while true {
            let number = Int(gk_take_number(&pass.pointee.numbers))
            while number >= before &+ portions {
                coefs += shape.units
                before &+= portions
                index &+= 1
                if index >= pass.pointee.grads.count { return hand() }
                shape = pass.pointee.shapes[index]
                across = (shape.inner &+ most &- 1) / most
                blocksAtOnce = 1 &+ 32768 / max(1, shape.reduced &* min(shape.inner, most))
                portions = (shape.outer &* across &+ blocksAtOnce &- 1) / blocksAtOnce
            }
            let start = (number &- before) &* blocksAtOnce
            for block in start..<min(start &+ blocksAtOnce, shape.outer &* across) {
                let row = block / across
                let first = block % across &* most
                for column in stride(from: first, to: min(first &+ most, shape.inner), by: step) {
                    element = row &* shape.reduced &* shape.inner &+ column
                    width = min(step, shape.inner &- column)
                    work(coefs + row &* shape.inner + column)
                }
            }
        }
    }

    private func hand() {
        ThreadPool.lock(ifShared: isShared)
        pass.pointee.total.pointee.merge(&sum.pointee)
        if first < (pass.pointee.firstTensor, pass.pointee.firstElement) {
            (pass.pointee.firstTensor, pass.pointee.firstElement) = first
        }
        ThreadPool.unlock(ifShared: isShared)
        gk_release(limbs)
    }

    @inline(never)
    private mutating func work(_ coefs: UnsafeMutablePointer<Double>) {
        let options = pass.pointee.options
        let grad = pass.pointee.grads[index]
        if pass.pointee.isWriting {
            var isIdle = !pass.pointee.zeroes && options.gradScale == 1
            for c in 0..<width where coefs[c] != 1 { isIdle = false }
            if !isIdle { visit(grad, coefs) }
            return
        }
        for c in 0..<width { coefs[c] = 1 }
        if !grad.isCounted { return }
        reduce(pass.pointee.weights[index], sum + 1)
        for c in 0..<width {
            if partials[c].nonfinite > 0 {
                ThreadPool.lock(ifShared: isShared)
                pass.pointee.firstWeights = min(pass.pointee.firstWeights, index)
                ThreadPool.unlock(ifShared: isShared)
            }
            let norm = partials[c].norm(omitsNonfinite: false).double
            // (Not max(), which would lose a NaN.)
            coefs[c] = pass.pointee.clipFactor * (norm < pass.pointee.eps ? pass.pointee.eps : norm)
        }
        reduce(grad, sum)
        for c in 0..<width {
            if partials[c].first != GK_NOWHERE {
                let place = UInt64(element &+ c &+ Int(partials[c].first) &* shape.inner)
                if (UInt64(index), place) < first { first = (UInt64(index), place) }
            }
            sum.pointee.merge(&partials[c])
            let norm = partials[c].norm(omitsNonfinite: options.nonfinite == .zero)
            coefs[c] = coefficient(norm, limit: coefs[c], options)
        }
    }

    /// As timm and optax have it: nothing happens below the limit, and a norm below 1e-6
    /// divides as 1e-6.
    private func coefficient(_ norm: NormValue, limit: Double, _ given: ClipOptions) -> Double {
        if limit != limit { return limit }
        let rounded = norm.divided(by: given.gradScale).double
        if rounded < 1e-6 { return rounded < limit ? 1 : limit / 1e-6 }
        var options = given
        options.eps = 0
        return clipCoefficient(maxNorm: limit, norm: norm, options: options)
    }

    /// The units of the block into the partials. `guesses` knows what others were like.
    @inline(never)
    private func reduce(_ tensor: Tensor, _ guesses: UnsafeMutablePointer<Partial>) {
        for c in 0..<width {
            var wide = limbs.map { $0 + c &* Int(GK_WIDE_LIMBS) }
            if pass.pointee.options.exactFloat64 && wide == nil { wide = wideLimbs(workspace, 1) }
            wide?.update(repeating: 0, count: Int(GK_WIDE_LIMBS))
            prepare(partials + c, wide)
            partials[c].guess = guesses.pointee.guess
            partials[c].elements = shape.reduced
        }
        visit(tensor, nil)
        guesses.pointee.guess = partials.pointee.guess
    }

    /// Reduces the units of the block to their partials, or multiplies them by `coefs`.
    @inline(never)
    private func visit(_ tensor: Tensor, _ coefs: UnsafeMutablePointer<Double>?) {
        let size = tensor.dtype.size
        let isColumns = shape.inner > 1
        let stride = shape.inner &* size
        var row = 0
        while row < shape.reduced {
            let data = tensor.data.unsafelyUnwrapped + element &* size + row &* stride
            let count =
                isColumns ? min(Int(GK_TILE) / Int(GK_TILE_COLUMNS) / size, shape.reduced &- row) : shape.reduced
            let pitch = count &* size
            if isColumns { transpose(data, stride, tile, pitch, count, width, size) }
            for c in 0..<width {
                let unit = isColumns ? tile + c &* pitch : data
                if let coefs {
                    var scaling = gk_scaling(
                        factor: coefs[c] / pass.pointee.options.gradScale,
                        zero_nonfinite: pass.pointee.zeroes && tensor.isCounted)
                    pass.pointee.kernels.pointee.scale(tensor.dtype, unit, unit, Int64(count), &scaling)
                } else {
                    partials[c].offset = UInt64(row)
                    partials[c].add(pass.pointee.kernels, tensor.dtype, unit, count)
                }
            }
            if isColumns && coefs != nil { transpose(tile, pitch, data, stride, width, count, size) }
            row &+= count
        }
    }

    /// Copies rows to columns, four by four: loads, shuffles and stores.
    @inline(never)
    private func transpose(
        _ source: UnsafeMutableRawPointer, _ stride: Int, _ target: UnsafeMutableRawPointer, _ pitch: Int,
        _ rows: Int, _ columns: Int, _ size: Int
    ) {
        var row = 0
        while row < rows {
            let isSquare = row &+ 4 <= rows
            var column = 0
            while column < columns {
                let from = source + row &* stride + column &* size
                let to = target + column &* pitch + row &* size
                if isSquare && column &+ 4 <= columns {
                    switch size {
                    case 2: gk_transpose2(from, stride, to, pitch)
                    case 4: gk_transpose4(from, stride, to, pitch)
                    default: gk_transpose8(from, stride, to, pitch)
                    }
                    column &+= 4
                } else {
                    let count = isSquare ? 4 : 1
                    for i in 0..<count { (to + i &* size).copyMemory(from: from + i &* stride, byteCount: size) }
                    column &+= 1
                }
            }
            row &+= isSquare ? 4 : 1
        }
    }
}
