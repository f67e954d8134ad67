// One thread's part of a norm pass.
import CGradClipKernels
import GradClipKernels

/// What one thread does of a pass.
struct NormShare {
    let pass: UnsafeMutablePointer<NormPass>
    let workspace: UnsafeMutableRawPointer
    let isShared: Bool
    let grads: TensorList
    let type: NormType
    let isDifference: Bool
    /// Where it adds.
    let partial: UnsafeMutablePointer<Partial>
    var firstTensor = UInt64.max
    var firstElement = UInt64.max
    var nonzeroTensors: UInt64 = 0
    var gathered: Gathered

    init(
        _ pass: UnsafeMutablePointer<NormPass>, _ workspace: UnsafeMutableRawPointer,
        _ partial: UnsafeMutablePointer<Partial>, isShared: Bool
    ) {
        self.pass = pass
        self.workspace = workspace
        self.isShared = isShared
        self.partial = partial
        grads = pass.pointee.grads
        type = pass.pointee.type
        isDifference = pass.pointee.minus != nil
        gathered = Gathered(workspace)
    }

    mutating func run() {
        let isPerTensor = pass.pointee.isPerTensor
        var draw = SegmentDraw(grads, &pass.pointee.numbers)
        while let segment = draw.next() {
            if !isPerTensor {
                for i in segment.tensors where !gather(segment, i) { noteFirst(i, Self.add(pass, segment, i, partial)) }
                flush()
            } else if !segment.isPart {
                for i in segment.tensors { addApart(i) }
            } else if segment.start == 0 {
                // A norm of its own: the thread that draws the first part does the whole tensor.
                let index = segment.tensors.lowerBound
                if !(pass.pointee.lacksLarge && pass.pointee.isLarge(index)) { addApart(index) }
            }
        }
        hand()
    }

    /// Adds a segment of a tensor; returns the index of its first non-finite element.
    @inline(__always)
    private static func add(
        _ pass: UnsafeMutablePointer<NormPass>, _ segment: Segment, _ index: Int,
        _ partial: UnsafeMutablePointer<Partial>
    ) -> UInt64 {
        let tensor = pass.pointee.grads[index]
        let length = segment.isPart ? segment.length : tensor.length
        if length == 0 || !tensor.isCounted { return GK_NOWHERE }
        partial.pointee.offset = UInt64(segment.start)
        partial.pointee.first = GK_NOWHERE
        let kernels = pass.pointee.kernels
        if let minus = pass.pointee.minus {
            partial.pointee.addDifference(kernels, tensor, minus[index], from: segment.start, length)
        } else {
            let data = tensor.data.unsafelyUnwrapped + segment.start &* tensor.dtype.size
            partial.pointee.add(kernels, tensor.dtype, data, length)
        }
        partial.pointee.elements &+= length
        return partial.pointee.first
    }

    /// Segments come in order, but small tensors may wait while a later one is added.
    private mutating func noteFirst(_ index: Int, _ element: UInt64) {
        if element != GK_NOWHERE && UInt64(index) < firstTensor {
            firstTensor = UInt64(index)
            firstElement = element
        }
    }

    /// Adds a tensor and notes its own norm.
    private mutating func addApart(_ index: Int) {
        let tensor = grads[index]
        let parts = pass.pointee.parts
        // Most small tensors need no sums of their own.
        if parts == nil && !isDifference && tensor.isCounted && tensor.length > 0 && tensor.length <= Int(GK_BLOCK),
            let norm = partial.pointee.addWithNorm(
                pass.pointee.kernels, tensor.dtype, tensor.data.unsafelyUnwrapped, tensor.length)
        {
            partial.pointee.elements &+= tensor.length
            return note(index, norm)
        }
        let options = pass.pointee.options
        var own = Partial(type, scratch: workspace, wide: options.exactFloat64 ? wideLimbs(workspace, 1) : nil)
        own.guess = partial.pointee.guess
        withUnsafeMutablePointer(to: &own) { own in
            noteFirst(index, Self.add(pass, Segment(tensors: index..<index &+ 1), index, own))
            partial.pointee.merge(&own.pointee)
            partial.pointee.guess = own.pointee.guess
            let norm = own.pointee.elements == 0 ? .zero : own.pointee.norm(omitsNonfinite: options.nonfinite == .zero)
            note(index, norm)
            parts?.pointee.take(index, &own.pointee, norm, options, isShared: isShared)
        }
    }

    private mutating func note(_ index: Int, _ norm: NormValue) {
        if !norm.isZero { nonzeroTensors &+= 1 }
        pass.pointee.tensorNorms?[index] = norm.divided(by: pass.pointee.options.gradScale).double
    }

    /// Tells the others what it found besides sums.
    private func hand() {
        ThreadPool.lock(ifShared: isShared)
        if (firstTensor, firstElement) < (pass.pointee.firstTensor, pass.pointee.firstElement) {
            pass.pointee.firstTensor = firstTensor
            pass.pointee.firstElement = firstElement
        }
        pass.pointee.nonzeroTensors &+= nonzeroTensors
        ThreadPool.unlock(ifShared: isShared)
    }

    // ---------------------------------------------------------- small tensors --

    /// Copies a small tensor behind those that wait already: an exact sum does not
    /// care where a block comes from, and a block costs more than a few elements.
    /// False if the tensor is not for that.
    @inline(__always)
    private mutating func gather(_ segment: Segment, _ index: Int) -> Bool {
        let tensor = grads[index]
        if !type.hasExactSum || !tensor.dtype.isNarrow || !tensor.isCounted || segment.isPart { return false }
        if isDifference { return false }
        let bytes = tensor.length &* tensor.dtype.size
        if bytes > Gathered.mostBytes || tensor.length == 0 { return false }
        if gathered.bytes &+ bytes > Int(GK_GATHERED) || gathered.dtype != tensor.dtype { flush() }
        if gathered.bytes == 0 {
            gathered.first = index
            gathered.dtype = tensor.dtype
        }
        (gathered.buffer + gathered.bytes).copyMemory(from: tensor.data.unsafelyUnwrapped, byteCount: bytes)
        gathered.bytes &+= bytes
        gathered.last = index
        return true
    }

    /// Adds the tensors that wait.
    private mutating func flush() {
        if gathered.bytes == 0 { return }
        let length = gathered.bytes / gathered.dtype.size
        partial.pointee.first = GK_NOWHERE
        partial.pointee.add(pass.pointee.kernels, gathered.dtype, gathered.buffer, length)
        partial.pointee.elements &+= length
        gathered.bytes = 0
        if partial.pointee.first != GK_NOWHERE && UInt64(gathered.first) < firstTensor { findFirst() }
    }

    /// Which of the gathered tensors the first non-finite element is in.
    @inline(never) private mutating func findFirst() {
        for i in gathered.first...gathered.last {
            let tensor = grads[i]
            if tensor.length == 0 || !tensor.isCounted { continue }
            // (Small tensors: one block each.)
            let found = pass.pointee.kernels.pointee.nonfinite(
                tensor.dtype, tensor.data.unsafelyUnwrapped, Int64(min(tensor.length, Int(GK_BLOCK))))
            if found.count > 0 { return noteFirst(i, found.first) }
        }
    }
}

/// Small tensors of one dtype, one behind the other.
struct Gathered {
    let buffer: UnsafeMutableRawPointer
    var bytes = 0
    var dtype = DType.float32
    /// The first and the last of them in the list.
    var first = 0
    var last = 0

    /// What counts as small.
    static var mostBytes: Int { 1024 }

    init(_ workspace: UnsafeMutableRawPointer) {
        buffer = workspace + Int(GK_WORKSPACE) - Int(GK_GATHERED)
    }
}
