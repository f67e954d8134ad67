// The function table of one instruction set: the only way in.
//
// These files are compiled once per level (the folders GradClipKernelsX86v3 and
// …X86v4 are links to this one); only the name of the exported symbol differs.
import CGradClipKernels

// Each: one generic function for the narrow types, one for float64.
private func exact(
    _ dtype: DType, _ term: TermKind, _ data: UnsafeRawPointer?, _ count: Int64, _ exponent: Int32, _ levels: Int32,
    _ block: UnsafeMutablePointer<gk_block>?
) {
    let (data, block) = (data.unsafelyUnwrapped, block.unsafelyUnwrapped)
    let (count, exponent, levels) = (Int(count), Int(exponent), Int(levels))
    switch dtype {
    case .float32:
        sumExactly(Float32Element.self, term, data, count, exponent: exponent, levels: levels, &block.pointee)
    case .float16:
        sumExactly(Float16Element.self, term, data, count, exponent: exponent, levels: levels, &block.pointee)
    case .bfloat16:
        sumExactly(BFloat16Element.self, term, data, count, exponent: exponent, levels: levels, &block.pointee)
    case .float64: sumWideExactly(term, data, count, exponent: exponent, &block.pointee)
    }
}

private func mostLevels(_ dtype: DType, _ term: TermKind) -> Int32 {
    switch dtype {
    case .float32: Int32(mostLevels(Float32Element.self, term))
    case .float16: Int32(mostLevels(Float16Element.self, term))
    case .bfloat16: Int32(mostLevels(BFloat16Element.self, term))
    case .float64: Int32(mostWideLevels)
    }
}

/// Squares of float32 in fixed point instead of two accumulators. (At x86-64-v4 by AVX-512 IFMA; elsewhere by a model of it, for
/// tests.) A look at the processor's flag takes 18 ns, which it takes 800 elements to win back: of a short block two
/// accumulators are tried first.
func useFixedSquares(_ table: UnsafeMutablePointer<gk_kernels>) {
    table.pointee.exact = { dtype, term, data, count, exponent, levels, block in
        let fits = dtype == .float32 && term == .square && levels <= 2
        if !fits || count < 512 {
            exact(dtype, term, data, count, exponent, levels, block)
            if !fits || block.unsafelyUnwrapped.pointee.holds { return }
            block.unsafelyUnwrapped.pointee = gk_block()
        }
        sumSquaresInFixedPoint(
            data.unsafelyUnwrapped, Int(count), exponent: Int(exponent), &block.unsafelyUnwrapped.pointee)
    }
    table.pointee.reach = { dtype, term in dtype == .float32 && term == .square ? 104 : Int32(unitDepth(2)) }
}

#if !GRADCLIP_X86_64_V4
#if GRADCLIP_HARDWARE_F16
private func fixedPoint(
    _ dtype: DType, _ data: UnsafeRawPointer?, _ count: Int64, _ exponent: Int32,
    _ block: UnsafeMutablePointer<gk_block>?
) {
    let (data, block) = (data.unsafelyUnwrapped, block.unsafelyUnwrapped)
    switch dtype {
    case .float16:
        sumInFixedPoint(Float16Element.self, data, Int(count), exponent: Int(exponent), &block.pointee)
    case .bfloat16:
        sumInFixedPoint(BFloat16Element.self, data, Int(count), exponent: Int(exponent), &block.pointee)
    case .float32, .float64: break
    }
}
#endif

private func bin(
    _ dtype: DType, _ term: TermKind, _ data: UnsafeRawPointer?, _ count: Int64, _ bins: UnsafeMutableRawPointer?
) -> Bool {
    let (data, bins) = (data.unsafelyUnwrapped, bins.unsafelyUnwrapped)
    switch dtype {
    case .float32: return bin(Float32Element.self, term, data, Int(count), bins)
    case .float16: return bin(Float16Element.self, term, data, Int(count), bins)
    case .bfloat16: return bin(BFloat16Element.self, term, data, Int(count), bins)
    case .float64: return bin(term, data, Int(count), bins)
    }
}

private func rounded(
    _ dtype: DType, _ term: TermKind, _ data: UnsafeRawPointer?, _ count: Int64, _ bound: Int32,
    _ block: UnsafeMutablePointer<gk_block>?
) {
    let (data, block) = (data.unsafelyUnwrapped, block.unsafelyUnwrapped)
    let (count, bound) = (Int(count), Int(bound))
    switch dtype {
    case .float32: sumRounded(Float32Element.self, term, data, count, bound: bound, &block.pointee)
    case .float16: sumRounded(Float16Element.self, term, data, count, bound: bound, &block.pointee)
    case .bfloat16: sumRounded(BFloat16Element.self, term, data, count, bound: bound, &block.pointee)
    case .float64: sumRounded(term, data, count, bound: bound, &block.pointee)
    }
}

private func extremes(
    _ dtype: DType, _ data: UnsafeRawPointer?, _ count: Int64, _ block: UnsafeMutablePointer<gk_block>?
) {
    let (data, block) = (data.unsafelyUnwrapped, block.unsafelyUnwrapped)
    switch dtype {
    case .float32: findExtremes(Float32Element.self, data, Int(count), &block.pointee)
    case .float16: findExtremes(Float16Element.self, data, Int(count), &block.pointee)
    case .bfloat16: findExtremes(BFloat16Element.self, data, Int(count), &block.pointee)
    case .float64: findExtremes(data, Int(count), &block.pointee)
    }
}

private func power(
    _ dtype: DType, _ data: UnsafeRawPointer?, _ count: Int64, _ dominant: UnsafePointer<gk_dominant>?,
    _ scratch: UnsafeMutableRawPointer?
) -> Double {
    let data = data.unsafelyUnwrapped
    let dominant = dominant.unsafelyUnwrapped.pointee
    switch dtype {
    case .float32: return powers(Float32Element.self, data, Int(count), dominant, scratch)
    case .float16: return powers(Float16Element.self, data, Int(count), dominant, scratch)
    case .bfloat16: return powers(BFloat16Element.self, data, Int(count), dominant, scratch)
    case .float64: return sumPowers(Float64Element.self, data, Int(count), dominant)
    }
}

@inline(__always)
private func powers<E: NarrowElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ dominant: gk_dominant, _ scratch: UnsafeMutableRawPointer?
) -> Double {
    guard let tables = dominant.tables else { return sumPowers(Widened<E>.self, data, count, dominant) }
    return sumFloatPowers(E.self, data, count, dominant, Tables(mutating: tables), scratch.unsafelyUnwrapped)
}

private func nonfinite(_ dtype: DType, _ data: UnsafeRawPointer?, _ count: Int64) -> gk_nonfinite {
    let data = data.unsafelyUnwrapped
    switch dtype {
    case .float32: return countNonfinite(Float32Element.self, data, Int(count))
    case .float16: return countNonfinite(Float16Element.self, data, Int(count))
    case .bfloat16: return countNonfinite(BFloat16Element.self, data, Int(count))
    case .float64: return countNonfinite(data, Int(count))
    }
}

private func inspect(
    _ dtype: DType, _ data: UnsafeRawPointer?, _ count: Int64, _ statistics: UnsafeMutablePointer<gk_statistics>?
) {
    let (data, statistics) = (data.unsafelyUnwrapped, statistics.unsafelyUnwrapped)
    switch dtype {
    case .float32: inspectBlock(Float32Element.self, data, Int(count), statistics)
    case .float16: inspectBlock(Float16Element.self, data, Int(count), statistics)
    case .bfloat16: inspectBlock(BFloat16Element.self, data, Int(count), statistics)
    case .float64: inspectBlock(data, Int(count), statistics)
    }
}

private func scale(
    _ dtype: DType, _ source: UnsafeRawPointer?, _ destination: UnsafeMutableRawPointer?, _ length: Int64,
    _ scaling: UnsafePointer<gk_scaling>?
) {
    let (source, destination) = (source.unsafelyUnwrapped, destination.unsafelyUnwrapped)
    let scaling = scaling.unsafelyUnwrapped.pointee
    switch dtype {
    case .float32: scaleTensor(Float32Element.self, source, destination, Int(length), scaling)
    case .float16: scaleTensor(Float16Element.self, source, destination, Int(length), scaling)
    case .bfloat16: scaleTensor(BFloat16Element.self, source, destination, Int(length), scaling)
    case .float64: scaleTensor(source, destination, Int(length), scaling)
    }
}

private func clamp(_ dtype: DType, _ data: UnsafeMutableRawPointer?, _ length: Int64, _ limit: Double) {
    let data = data.unsafelyUnwrapped
    switch dtype {
    case .float32: clampTensor(Float32Element.self, data, Int(length), limit)
    case .float16: clampTensor(Float16Element.self, data, Int(length), limit)
    case .bfloat16: clampTensor(BFloat16Element.self, data, Int(length), limit)
    case .float64: clampTensor(data, Int(length), limit)
    }
}

private func accumulate(
    _ dtype: DType, _ rows: UnsafeMutablePointer<UnsafeRawPointer?>?, _ length: Int64,
    _ factors: UnsafePointer<Double>?, _ sums: UnsafeMutablePointer<Double>?, _ scratch: UnsafeMutableRawPointer?
) {
    let (rows, factors, scratch) = (rows.unsafelyUnwrapped, factors.unsafelyUnwrapped, scratch.unsafelyUnwrapped)
    let sums = UnsafeMutableRawPointer(sums.unsafelyUnwrapped)
    switch dtype {
    case .float32: accumulateAll(Widened<Float32Element>.self, rows, Int(length), factors, sums, scratch)
    case .float16: accumulateAll(Widened<Float16Element>.self, rows, Int(length), factors, sums, scratch)
    case .bfloat16: accumulateAll(Widened<BFloat16Element>.self, rows, Int(length), factors, sums, scratch)
    case .float64: accumulateAll(Float64Element.self, rows, Int(length), factors, sums, scratch)
    }
}

private func add(
    _ dtype: DType, _ data: UnsafeRawPointer?, _ length: Int64, _ factor: Double,
    _ sums: UnsafeMutablePointer<Double>?, _ scratch: UnsafeMutableRawPointer?
) {
    let (data, scratch) = (data.unsafelyUnwrapped, scratch.unsafelyUnwrapped)
    let sums = UnsafeMutableRawPointer(sums.unsafelyUnwrapped)
    switch dtype {
    case .float32: addRow(Widened<Float32Element>.self, data, Int(length), factor, sums, scratch)
    case .float16: addRow(Widened<Float16Element>.self, data, Int(length), factor, sums, scratch)
    case .bfloat16: addRow(Widened<BFloat16Element>.self, data, Int(length), factor, sums, scratch)
    case .float64: addRow(Float64Element.self, data, Int(length), factor, sums, scratch)
    }
}

private func fill(_ table: UnsafeMutablePointer<gk_kernels>) {
    table.pointee.exact = { exact($0, $1, $2, $3, $4, $5, $6) }
    table.pointee.most_levels = { mostLevels($0, $1) }
    table.pointee.reach = { _, _ in Int32(unitDepth(2)) }
    #if GRADCLIP_HARDWARE_F16
    table.pointee.fixed_point = { fixedPoint($0, $1, $2, $3, $4) }
    #endif
    table.pointee.bins = { bin($0, $1, $2, $3, $4) }
    table.pointee.rounded = { rounded($0, $1, $2, $3, $4, $5) }
    table.pointee.extremes = { extremes($0, $1, $2, $3) }
    table.pointee.power = { power($0, $1, $2, $3, $4) }
    table.pointee.nonfinite = { nonfinite($0, $1, $2) }
    table.pointee.inspect = { inspect($0, $1, $2, $3) }
    table.pointee.scale = { scale($0, $1, $2, $3, $4) }
    table.pointee.clamp = { clamp($0, $1, $2, $3) }
    table.pointee.accumulate = { accumulate($0, $1, $2, $3, $4, $5) }
    table.pointee.add = { add($0, $1, $2, $3, $4, $5) }
}
#endif

#if GRADCLIP_X86_64_V4
/// What waits for memory at any width is left to the kernels of x86-64-v3.
@_cdecl("gradclip_kernels_x86_64_v4")
public func fillV4(_ table: UnsafeMutablePointer<gk_kernels>) {
    table.pointee.exact = { exact($0, $1, $2, $3, $4, $5, $6) }
    table.pointee.most_levels = { mostLevels($0, $1) }
}

/// On top of that.
@_cdecl("gradclip_kernels_x86_64_v4_ifma")
public func fillV4Ifma(_ table: UnsafeMutablePointer<gk_kernels>) { useFixedSquares(table) }
#elseif GRADCLIP_X86_64_V3
@_cdecl("gradclip_kernels_x86_64_v3")
public func fillV3(_ table: UnsafeMutablePointer<gk_kernels>) { fill(table) }
#else
@_cdecl("gradclip_kernels_baseline")
public func fillBaseline(_ table: UnsafeMutablePointer<gk_kernels>) { fill(table) }
#endif
