// One pass over a list: every tensor through the kernels, over all threads.
import CGradClipKernels
import GradClipKernels

/// What all threads of a pass know, and what they hand in.
struct NormPass {
    let grads: TensorList
    /// What is subtracted from each, if differences are to be measured.
    var minus: TensorList?
    let type: NormType
    let options: ClipOptions
    let tensorNorms: UnsafeMutablePointer<Double>?
    let parts: UnsafeMutablePointer<Parts>?
    /// Whether each tensor's own norm is asked for; for p = 0 the norm counts tensors whose own is not 0.
    let isPerTensor: Bool
    let kernels = gk_process_kernels().unsafelyUnwrapped
    var firstTensor = UInt64.max
    var firstElement = UInt64.max
    /// Tensors whose norm is not 0; counted where each tensor's norm is asked for.
    var nonzeroTensors: UInt64 = 0
    /// What threads draw segments from.
    var numbers: Int64 = 0
    /// Whether large tensors have been added before.
    var lacksLarge = false
    var total: UnsafeMutablePointer<Partial>?

    init(
        _ grads: TensorList, _ type: NormType, _ options: ClipOptions,
        tensorNorms: UnsafeMutablePointer<Double>? = nil, parts: UnsafeMutablePointer<Parts>? = nil
    ) {
        self.init(
            grads, type, options, tensorNorms, parts,
            isPerTensor: tensorNorms != nil || parts != nil || type.power == 0)
    }

    private init(
        _ grads: TensorList, _ type: NormType, _ options: ClipOptions, _ tensorNorms: UnsafeMutablePointer<Double>?,
        _ parts: UnsafeMutablePointer<Parts>?, isPerTensor: Bool
    ) {
        self.grads = grads
        self.type = type
        self.options = options
        self.tensorNorms = tensorNorms
        self.parts = parts
        self.isPerTensor = isPerTensor
    }

    /// Adds all to what is known already.
    @inline(never) mutating func run(into total: inout Partial) {
        withUnsafeMutablePointer(to: &total) { total in
            self.total = total
            let threads = grads.threadCount(allowed: options.threads)
            if isPerTensor && threads > 1 { addLargeTensors() }
            numbers = 0
            ThreadPool.run(threads, &self) { context, workspace, isShared in
                let pass = context.unsafelyUnwrapped.assumingMemoryBound(to: NormPass.self)
                let workspace = workspace.unsafelyUnwrapped
                if pass.pointee.type.term == .power { preparePowerTables(workspace, power: pass.pointee.type.power) }
                if isShared { NormPass.runShared(pass, workspace) } else { NormPass.runAlone(pass, workspace) }
            }
        }
    }

    /// A thread alone adds to the total.
    private static func runAlone(_ pass: UnsafeMutablePointer<NormPass>, _ workspace: UnsafeMutableRawPointer) {
        let total = pass.pointee.total.unsafelyUnwrapped
        total.pointee.scratch = workspace
        var share = NormShare(pass, workspace, total, isShared: false)
        share.run()
        total.pointee.scratch = nil
    }

    /// Of several each has sums of its own, and hands them in.
    @inline(never)
    private static func runShared(_ pass: UnsafeMutablePointer<NormPass>, _ workspace: UnsafeMutableRawPointer) {
        let wide = pass.pointee.options.exactFloat64 ? wideLimbs(workspace, 0) : nil
        var own = Partial(pass.pointee.type, scratch: workspace, wide: wide)
        // (What others write there meanwhile is no guess.)
        own.guess = pass.pointee.total.unsafelyUnwrapped.pointee.guess
        withUnsafeMutablePointer(to: &own) { own in
            var share = NormShare(pass, workspace, own, isShared: true)
            share.run()
            ThreadPool.lock(ifShared: true)
            pass.pointee.total.unsafelyUnwrapped.pointee.merge(&own.pointee)
            ThreadPool.unlock(ifShared: true)
        }
    }

    // ------------------------------------------------------------ large tensors --

    /// Bytes from which on all threads work on a tensor whose own norm is asked for. Before those
    /// that are one thread's each, which then fill the time.
    private static var largeBytes: Int { 8 * 1024 * 1024 }

    func isLarge(_ index: Int) -> Bool {
        let (length, size) = grads.extent(of: index)
        return length &* size >= Self.largeBytes
    }

    private mutating func addLargeTensors() {
        lacksLarge = true
        for i in 0..<grads.count where isLarge(i) { addLargeTensor(i) }
    }

    @inline(never)
    private mutating func addLargeTensor(_ index: Int) {
        var limbs = gk_wide_limbs()
        withUnsafeMutablePointer(to: &limbs) { limbs in
            let wide = UnsafeMutableRawPointer(limbs).assumingMemoryBound(to: Int64.self)
            let total = total.unsafelyUnwrapped
            var own = Partial(type, scratch: nil, wide: options.exactFloat64 ? wide : nil)
            own.guess = total.pointee.guess
            var pass = NormPass(grads.only(index), type, options, nil, nil, isPerTensor: false)
            pass.minus = minus?.only(index)
            pass.run(into: &own)
            if pass.firstElement != .max && UInt64(index) < firstTensor {
                (firstTensor, firstElement) = (UInt64(index), pass.firstElement)
            }
            let norm = own.elements == 0 ? .zero : own.norm(omitsNonfinite: options.nonfinite == .zero)
            if !norm.isZero { nonzeroTensors &+= 1 }
            tensorNorms?[index] = norm.divided(by: options.gradScale).double
            total.pointee.merge(&own)
            total.pointee.guess = own.guess
            parts?.pointee.take(index, &own, norm, options, isShared: false)
        }
    }
}
