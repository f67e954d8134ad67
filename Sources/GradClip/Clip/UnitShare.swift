// What one thread does of adaptive gradient clipping.
import CGradClip
import CGradClipKernels
import CGradClipSystem
import GradClipKernels

struct UnitShare: Share {
    let pass: UnsafePointer<UnitPass>
    let workspace: Workspace
    /// One for each unit of a block.
    let partials: UnsafeMutablePointer<Partial>
    let total: UnsafeMutablePointer<Total>
    /// For exact sums of float64 terms of each unit of a block; without them, or the memory
    /// for them, a block is one unit.
    let limbs: UnsafeMutablePointer<Int64>?
    /// What is expected of weights.
    var weights = Guess()
    /// The first tensor whose weights are not finite.
    var firstWeights = Int.max
    var waiting = WaitingSums()
    // The tensor at hand, and in it a block of units: its place, and how many they are.
    var index = -1
    var reduced = 0
    var inner = 0
    var element = 0
    var width = 0

    init(_ pass: UnsafePointer<UnitPass>, _ workspace: Workspace, isShared: Bool) {
        self.pass = pass
        self.workspace = workspace
        partials = workspace.partials
        total = UnsafeMutableRawPointer(partials + Int(GK_TILE_COLUMNS)).assumingMemoryBound(to: Total.self)
        let (isExact, type) = (pass.pointee.options.exactFloat64, pass.pointee.type)
        if type.term == .power { preparePowerTables(workspace.start, power: type.power) }
        limbs =
            isExact
            ? gk_allocate(Int(GK_TILE_COLUMNS) &* MemoryLayout<gk_wide_limbs>.size)?.assumingMemoryBound(to: Int64.self)
            : nil
        total.initialize(to: Total(type, limbs: isExact ? workspace.wideLimbs(0) : nil, scratch: workspace.start))
    }

    mutating func work(on portion: UnitPortion) {
        index = portion.index
        reduced = Int(pass.pointee.shapes[index].reduced)
        inner = Int(pass.pointee.shapes[index].inner)
        let coefs = pass.pointee.coefs + portion.firstUnit
        let most = Int(GK_TILE_COLUMNS)
        let step = pass.pointee.options.exactFloat64 && limbs == nil ? 1 : most
        for block in portion.blocks {
            let row = block / portion.across
            let first = block % portion.across &* most
            for column in stride(from: first, to: min(first &+ most, inner), by: step) {
                element = row &* reduced &* inner &+ column
                width = min(step, inner &- column)
                clip(coefs + row &* inner + column)
            }
        }
    }

    mutating func handIn() {
        waiting.flush(to: &total.pointee.sums.exact)
        let found = pass.pointee.found
        found.pointee.total.merge(&total.pointee)
        found.pointee.firstWeights = min(found.pointee.firstWeights, firstWeights)
    }

    func close() { gk_release(limbs) }

    /// The coefficients of the units of a block, or the units times them.
    @inline(never)
    private mutating func clip(_ coefs: UnsafeMutablePointer<Double>) {
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
        limits(pass.pointee.weights[index], coefs)
        if let block = oneBlock(grad, &total.pointee.sums.guess.exponent) {
            waiting.add(block, to: &total.pointee.sums.exact)
            total.pointee.sums.count(reduced)
            coefs[0] = coefficient(block.norm(pass.pointee.type.term), limit: coefs[0], options)
            return
        }
        reduce(grad, &total.pointee.sums.guess)
        for c in 0..<width {
            if partials[c].first != GK_NOWHERE {
                let place = UInt64(element &+ c &+ Int(partials[c].first) &* inner)
                total.pointee.first.note(Place(tensor: UInt64(index), element: place))
            }
            total.pointee.sums.merge(&partials[c])
            let norm = partials[c].norm(omitsNonfinite: options.nonfinite == .zero)
            coefs[c] = coefficient(norm, limit: coefs[c], options)
        }
    }

    /// What the norms of the units of a block may be at most, by the weights.
    private mutating func limits(_ tensor: Tensor, _ limits: UnsafeMutablePointer<Double>) {
        if let block = oneBlock(tensor, &weights.exponent) {
            limits[0] = limit(block.norm(pass.pointee.type.term))
            return
        }
        reduce(tensor, &weights)
        for c in 0..<width {
            if partials[c].nonfinite > 0 { firstWeights = min(firstWeights, index) }
            limits[c] = limit(partials[c].norm(omitsNonfinite: false))
        }
    }

    private func limit(_ norm: NormValue) -> Double {
        let norm = norm.double
        // (Not max(), which would lose a NaN.)
        return pass.pointee.clipFactor * (norm < pass.pointee.eps ? pass.pointee.eps : norm)
    }

    /// The sum of a unit that lies in one piece and is one block; nil if it takes more.
    private func oneBlock(_ tensor: Tensor, _ exponent: inout Int32) -> gk_block? {
        if inner != 1 { return nil }
        let data = tensor.data.map { $0 + element &* tensor.dtype.size }
        let unit = Tensor(data: data, length: reduced, dtype: tensor.dtype, isCounted: true)
        if !unit.isOneBlock(pass.pointee.type) { return nil }
        return gk_block(
            pass.pointee.kernels, pass.pointee.type.term, unit.dtype, unit.data.unsafelyUnwrapped, reduced,
            expecting: &exponent)
    }

    /// As timm and optax have it: nothing happens below the limit, and a norm below 1e-6
    /// divides as 1e-6.
    private func coefficient(_ norm: NormValue, limit: Double, _ given: ClipOptions) -> Double {
        if limit != limit { return limit }
        let rounded = norm.double(dividedBy: given.gradScale)
        if rounded < 1e-6 { return rounded < limit ? 1 : limit / 1e-6 }
        var options = given
        options.eps = 0
        return clipCoefficient(maxNorm: limit, norm: norm, options: options)
    }

    /// The units of the block into the partials. `guess` is what others were like.
    @inline(never)
    private func reduce(_ tensor: Tensor, _ guess: inout Guess) {
        for c in 0..<width {
            var wide = limbs.map { $0 + c &* Int(GK_WIDE_LIMBS) }
            if pass.pointee.options.exactFloat64 && wide == nil { wide = workspace.wideLimbs(1) }
            wide?.update(repeating: 0, count: Int(GK_WIDE_LIMBS))
            Partial.prepare(partials + c, pass.pointee.type, scratch: workspace.start, wide: wide)
            partials[c].guess = guess
            partials[c].elements = reduced
        }
        visit(tensor, nil)
        guess = partials.pointee.guess
    }

    /// Reduces the units of the block to their partials, or multiplies them by `coefs`.
    @inline(never)
    private func visit(_ tensor: Tensor, _ coefs: UnsafeMutablePointer<Double>?) {
        let size = tensor.dtype.size
        let isColumns = inner > 1
        let stride = inner &* size
        var row = 0
        while row < reduced {
            let data = tensor.data.unsafelyUnwrapped + element &* size + row &* stride
            let count =
                isColumns ? min(Int(GK_TILE) / Int(GK_TILE_COLUMNS) / size, reduced &- row) : reduced
            let pitch = count &* size
            if isColumns { transpose(data, stride, workspace.tile, pitch, count, width, size) }
            for c in 0..<width {
                let unit = isColumns ? workspace.tile + c &* pitch : data
                if let coefs {
                    var scaling = gk_scaling(
                        factor: pass.pointee.options.factor(of: coefs[c]),
                        zero_nonfinite: pass.pointee.zeroes && tensor.isCounted)
                    pass.pointee.kernels.pointee.scale(tensor.dtype, unit, unit, Int64(count), &scaling)
                } else {
                    partials[c].offset = UInt64(row)
                    partials[c].add(pass.pointee.kernels, tensor.dtype, unit, count)
                }
            }
            if isColumns && coefs != nil { transpose(workspace.tile, pitch, data, stride, width, count, size) }
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
