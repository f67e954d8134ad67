// One pass over a list: every tensor through the kernels, over all threads.
import CGradClipKernels
import GradClipKernels

/// What all threads of a norm pass know, and the total that they hand in to.
struct NormPass: Pass {
    let grads: TensorList
    /// What is subtracted from each, if differences are to be measured.
    let minus: TensorList?
    let options: ClipOptions
    let tensorNorms: UnsafeMutablePointer<Double>?
    let parts: UnsafeMutablePointer<Parts>?
    /// Whether each tensor's own norm is asked for; for p = 0 the norm counts tensors whose own is not 0.
    let isPerTensor: Bool
    let kernels = gk_process_kernels().unsafelyUnwrapped
    let total: UnsafeMutablePointer<Total>
    /// The total's, as threads find them that begin while others hand in.
    let type: NormType
    let guess: Guess
    /// Whether large tensors have been added before.
    var lacksLarge = false

    var pieces: Segments { Segments(grads) }

    /// Adds all to what is known already.
    @inline(never)
    static func run(
        _ grads: TensorList, minus: TensorList? = nil, into total: inout Total, _ options: ClipOptions,
        tensorNorms: UnsafeMutablePointer<Double>? = nil, parts: UnsafeMutablePointer<Parts>? = nil
    ) {
        withUnsafeMutablePointer(to: &total) { total in
            let isPerTensor = tensorNorms != nil || parts != nil || total.pointee.sums.type.power == 0
            var pass = NormPass(
                grads: grads, minus: minus, options: options, tensorNorms: tensorNorms, parts: parts,
                isPerTensor: isPerTensor,
                total: total, type: total.pointee.sums.type, guess: total.pointee.sums.guess)
            pass.run()
        }
    }

    private mutating func run() {
        let threads = grads.threadCount(allowed: options.threads)
        if isPerTensor && threads > 1 { addLargeTensors() }
        run(threads: threads) { NormShare.run($0, $1, isShared: $2) }
    }

    // ------------------------------------------------------------ large tensors --

    private mutating func addLargeTensors() {
        lacksLarge = true
        for i in 0..<grads.count where grads.isLarge(i) { addLargeTensor(i) }
    }

    @inline(never)
    private func addLargeTensor(_ index: Int) {
        var limbs = gk_wide_limbs()
        withUnsafeMutablePointer(to: &limbs) { limbs in
            var own = Total(type, wide: options.exactFloat64 ? limbs : nil)
            own.sums.guess = total.pointee.sums.guess
            withUnsafeMutablePointer(to: &own) { own in
                var pass = NormPass(
                    grads: grads.only(index), minus: minus?.only(index), options: options, tensorNorms: nil, parts: nil,
                    isPerTensor: false,
                    total: own, type: own.pointee.sums.type, guess: own.pointee.sums.guess)
                pass.run()
            }
            if !own.first.isNone { own.first.tensor = UInt64(index) }
            add(index, &own, to: total, isShared: false)
        }
    }

    /// Adds a tensor that was measured apart, and notes its norm.
    func add(_ index: Int, _ own: inout Total, to total: UnsafeMutablePointer<Total>, isShared: Bool) {
        total.pointee.merge(&own)
        total.pointee.sums.guess = own.sums.guess
        let elements = own.sums.elements
        let norm = elements == 0 ? .zero : own.sums.norm(omitsNonfinite: options.nonfinite == .zero)
        note(index, norm, elements: elements, in: total)
        if let parts, hasGroups, elements > 0 {
            parts.pointee.add(index, &own.sums, isZero: norm.isZero, isShared: isShared)
        }
    }

    /// Notes a tensor's norm, and the coefficient where each is a part of its own.
    func note(_ index: Int, _ norm: NormValue, elements: Int, in total: UnsafeMutablePointer<Total>) {
        if !norm.isZero { total.pointee.nonzeroTensors &+= 1 }
        tensorNorms?[index] = norm.double(dividedBy: options.gradScale)
        if let parts, !hasGroups, elements > 0 { parts.pointee.note(index, norm, elements: elements, options) }
    }

    var hasGroups: Bool { parts?.pointee.groups != nil }
}
