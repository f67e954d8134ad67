// What one thread does of a norm pass.
import CGradClipKernels
import GradClipKernels

struct NormShare: Share {
    let pass: UnsafePointer<NormPass>
    let workspace: Workspace
    let isShared: Bool
    let grads: TensorList
    let type: NormType
    let isDifference: Bool
    /// Where it adds: a thread alone to the pass's total, one of several to its own.
    let total: UnsafeMutablePointer<Total>
    var gathered: Gathered
    var waiting = WaitingSums()

    init(_ pass: UnsafePointer<NormPass>, _ workspace: Workspace, isShared: Bool) {
        self.pass = pass
        self.workspace = workspace
        self.isShared = isShared
        grads = pass.pointee.grads
        gathered = Gathered(workspace)
        type = pass.pointee.type
        isDifference = pass.pointee.minus != nil
        if type.term == .power { preparePowerTables(workspace.start, power: type.power) }
        if isShared {
            total = workspace.total
            total.initialize(
                to: Total(
                    type, limbs: pass.pointee.options.exactFloat64 ? workspace.wideLimbs(0) : nil,
                    scratch: workspace.start))
            total.pointee.sums.guess = pass.pointee.guess
        } else {
            total = pass.pointee.total
            total.pointee.sums.scratch = workspace.start
        }
    }

    mutating func work(on segment: Segment) {
        if !pass.pointee.isPerTensor {
            for i in segment.tensors where !gather(segment, i) { add(segment, i) }
            flush()
        } else if !segment.isCut {
            for i in segment.tensors { addApart(i) }
        } else if segment.start == 0 {
            // A norm of its own: the thread that draws the first piece does the whole tensor.
            let index = segment.tensors.lowerBound
            if !(pass.pointee.lacksLarge && grads.isLarge(index)) { addApart(index) }
        }
    }

    mutating func handIn() {
        waiting.flush(to: &total.pointee.sums.exact)
        if isShared { pass.pointee.total.pointee.merge(&total.pointee) }
        total.pointee.sums.scratch = nil
    }

    /// Adds a segment of a tensor. (Segments come in order, but small tensors may wait while a later one is added.)
    private func add(_ segment: Segment, _ index: Int) {
        let tensor = grads[index]
        let length = segment.isCut ? segment.length : tensor.length
        pass.pointee.add(tensor, at: index, segment.start, length, to: total)
    }

    /// Adds a tensor and notes its own norm.
    private mutating func addApart(_ index: Int) {
        let tensor = grads[index]
        let options = pass.pointee.options
        // Most small tensors need no sums of their own.
        if !pass.pointee.hasGroups && !isDifference && tensor.isOneBlock(type) && total.pointee.sums.guess.levels <= 2,
            let block = gk_block(
                pass.pointee.kernels, type.term, tensor.dtype, tensor.data.unsafelyUnwrapped, tensor.length,
                expecting: &total.pointee.sums.guess.exponent)
        {
            waiting.add(block, to: &total.pointee.sums.exact)
            total.pointee.sums.elements &+= tensor.length
            return pass.pointee.note(index, block.norm(type.term), elements: tensor.length, in: total)
        }
        var own = Total(
            type, limbs: options.exactFloat64 ? workspace.wideLimbs(1) : nil, scratch: workspace.start)
        own.sums.guess = total.pointee.sums.guess
        withUnsafeMutablePointer(to: &own) { pass.pointee.add(tensor, at: index, 0, tensor.length, to: $0) }
        pass.pointee.add(index, &own, to: total, isShared: isShared)
    }

    // ---------------------------------------------------------- small tensors --

    /// Copies a small tensor behind those that wait already: an exact sum does not
    /// care where a block comes from, and a block costs more than a few elements.
    /// False if the tensor is not for that.
    @inline(__always)
    private mutating func gather(_ segment: Segment, _ index: Int) -> Bool {
        if isDifference { return false }
        let tensor = grads[index]
        if !type.hasExactSum || !tensor.dtype.isNarrow || !tensor.isCounted || segment.isCut { return false }
        let bytes = tensor.length &* tensor.dtype.size
        if bytes > Gathered.mostBytes || tensor.length == 0 { return false }
        if gathered.bytes &+ bytes > Int(GK_GATHERED) || gathered.dtype != tensor.dtype { flush() }
        gathered.append(tensor, index, bytes)
        return true
    }

    /// Adds the tensors that wait.
    private mutating func flush() {
        if gathered.bytes == 0 { return }
        let length = gathered.bytes / gathered.dtype.size
        total.pointee.sums.first = GK_NOWHERE
        total.pointee.sums.add(pass.pointee.kernels, gathered.dtype, gathered.buffer, length)
        total.pointee.sums.elements &+= length
        gathered.bytes = 0
        let isFirst = UInt64(gathered.first) < total.pointee.first.tensor
        if isFirst && total.pointee.sums.first != GK_NOWHERE { findFirst() }
    }

    /// Which of the gathered tensors the first non-finite element is in.
    private func findFirst() {
        for i in gathered.first...gathered.last {
            let tensor = grads[i]
            if tensor.length == 0 || !tensor.isCounted { continue }
            // (Small tensors: one block each.)
            let found = pass.pointee.kernels.pointee.nonfinite(
                tensor.dtype, tensor.data.unsafelyUnwrapped, Int64(min(tensor.length, Int(GK_BLOCK))))
            if found.count > 0 { return total.pointee.first.note(Place(tensor: UInt64(i), element: found.first)) }
        }
    }
}

extension NormPass {
    /// Adds elements of a tensor, if they count.
    @inline(__always)
    fileprivate func add(
        _ tensor: Tensor, at index: Int, _ start: Int, _ length: Int, to total: UnsafeMutablePointer<Total>
    ) {
        if length == 0 || !tensor.isCounted { return }
        total.pointee.sums.offset = UInt64(start)
        total.pointee.sums.first = GK_NOWHERE
        if let minus {
            total.pointee.sums.addDifference(kernels, tensor, minus[index], from: start, length)
        } else {
            let data = tensor.data.unsafelyUnwrapped + start &* tensor.dtype.size
            total.pointee.sums.add(kernels, tensor.dtype, data, length)
        }
        total.pointee.sums.elements &+= length
        let first = total.pointee.sums.first
        if first != GK_NOWHERE { total.pointee.first.note(Place(tensor: UInt64(index), element: first)) }
    }
}
