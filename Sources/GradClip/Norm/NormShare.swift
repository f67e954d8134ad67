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
    var partial: Partial
    var firstTensor = UInt64.max
    var firstElement = UInt64.max
    var nonzeroTensors: UInt64 = 0
    var gathered: Gathered

    init(_ pass: UnsafeMutablePointer<NormPass>, _ workspace: UnsafeMutableRawPointer, isShared: Bool) {
        self.pass = pass
        self.workspace = workspace
        self.isShared = isShared
        grads = pass.pointee.grads
        type = pass.pointee.type
        if type.term == .power { preparePowerTables(workspace, power: type.power) }
        partial = Partial(
            type, scratch: workspace, wide: pass.pointee.options.exactFloat64 ? wideLimbs(workspace, 0) : nil)
        partial.guess = pass.pointee.guesses.guess
        gathered = Gathered(workspace)
    }

    mutating func run() {
        let isPerTensor = pass.pointee.tensorNorms != nil || pass.pointee.parts != nil || type.power == 0
        var draw = SegmentDraw(grads, &pass.pointee.numbers)
        while let segment = draw.next() {
            if !isPerTensor {
                for i in segment.tensors where !gather(segment, i) {
                    noteFirst(i, Self.reduce(pass, segment, i, &partial))
                }
                flush()
            } else if !segment.isPart {
                for i in segment.tensors { addApart(segment, i) }
            } else if segment.start == 0 {
                // A norm of its own: the thread that draws the first part does the whole tensor.
                addApart(Segment(tensors: segment.tensors), segment.tensors.lowerBound)
            }
        }
        hand()
    }

    /// Adds a segment of a tensor; returns the index of its first non-finite element.
    @inline(__always)
    private static func reduce(
        _ pass: UnsafeMutablePointer<NormPass>, _ segment: Segment, _ index: Int, _ partial: inout Partial
    ) -> UInt64 {
        let tensor = pass.pointee.grads[index]
        let length = segment.isPart ? segment.length : tensor.length
        if length == 0 || !tensor.isCounted { return GK_NOWHERE }
        let offset = segment.start &* tensor.dtype.size
        partial.offset = UInt64(segment.start)
        partial.first = GK_NOWHERE
        partial.add(pass.pointee.kernels, tensor.dtype, tensor.data.unsafelyUnwrapped + offset, length)
        partial.elements &+= length
        return partial.first
    }

    /// Segments come in order, but small tensors may wait while a later one is reduced.
    private mutating func noteFirst(_ index: Int, _ element: UInt64) {
        if element != GK_NOWHERE && UInt64(index) < firstTensor {
            firstTensor = UInt64(index)
            firstElement = element
        }
    }

    /// Adds a tensor and notes its own norm.
    private mutating func addApart(_ segment: Segment, _ index: Int) {
        let options = pass.pointee.options
        var own = Partial(type, scratch: workspace, wide: options.exactFloat64 ? wideLimbs(workspace, 1) : nil)
        own.guess = partial.guess
        noteFirst(index, Self.reduce(pass, segment, index, &own))
        partial.merge(&own)
        partial.guess = own.guess
        let norm = own.elements == 0 ? .zero : own.norm(omitsNonfinite: options.nonfinite == .zero)
        if !norm.isZero { nonzeroTensors &+= 1 }
        pass.pointee.tensorNorms?[index] = norm.divided(by: options.gradScale).double
        pass.pointee.parts?.pointee.take(index, &own, norm, options, isShared: isShared)
    }

    /// Adds this thread's share to the total.
    private mutating func hand() {
        ThreadPool.lock(ifShared: isShared)
        pass.pointee.total.unsafelyUnwrapped.pointee.merge(&partial)
        pass.pointee.total.unsafelyUnwrapped.pointee.guess = partial.guess
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
        partial.first = GK_NOWHERE
        partial.add(pass.pointee.kernels, gathered.dtype, gathered.buffer, length)
        partial.elements &+= length
        gathered.bytes = 0
        if partial.first != GK_NOWHERE && UInt64(gathered.first) < firstTensor { findFirst() }
    }

    /// Which of the gathered tensors the first non-finite element is in.
    @inline(never) private mutating func findFirst() {
        for i in gathered.first...gathered.last {
            var own = Partial(type, scratch: workspace, wide: nil)
            let first = Self.reduce(pass, Segment(tensors: i..<i &+ 1), i, &own)
            if first != GK_NOWHERE { return noteFirst(i, first) }
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
