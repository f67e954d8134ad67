// The function table of one instruction set: the only way in.
//
// These files are compiled once per level (the targets GradClipKernelsX86v3 and
// …X86v4 hold links to them); only the name of the exported symbol differs.
import CGradClipKernels

private func reduce(
    _ dtype: UInt32, _ data: UnsafeRawPointer?, _ length: Int64, _ reduction: UnsafeMutablePointer<gk_reduction>?
) {
    let data = data.unsafelyUnwrapped
    let r = reduction.unsafelyUnwrapped
    let length = Int(length)
    let element = Int(dtype)
    let term = Int(r.pointee.term)
    switch (element, term) {
    case (GK_F32, GK_SQUARE): reduceExactly(Square.self, data, length, r)
    case (GK_F32, GK_ABS): reduceExactly(Absolute.self, data, length, r)
    case (GK_F64, GK_SQUARE) where r.pointee.wide != nil: reduceWide(data, length, r)
    case (GK_F64, GK_ABS) where r.pointee.wide != nil: reduceWide(data, length, r)
    default: reduceElsewhere(element, term, data, length, r)
    }
}

#if GRADCLIP_X86_64_V4
// What waits for memory at any width is left to the kernels of x86-64-v3.
private func reduceElsewhere(
    _ element: Int, _ term: Int, _ data: UnsafeRawPointer, _ length: Int, _ r: Reduction
) {
    gk_process_kernels().pointee.reduce_below(UInt32(element), data, Int64(length), r)
}
#else
private func reduceElsewhere(
    _ element: Int, _ term: Int, _ data: UnsafeRawPointer, _ length: Int, _ r: Reduction
) {
    switch (element, term) {
    case (GK_F64, GK_EXTREMES): reduceExtremes(data, length, r)
    case (GK_F64, GK_POWER): reducePowers(data, length, r)
    case (GK_F64, _): reduceRounded(Float64Element.self, data, length, r)
    case (GK_F32, GK_EXTREMES): reduceFloatExtremes(data, length, r)
    case (GK_F32, GK_POWER) where tablesServe(r): reduceFloatPowers(data, length, r)
    case (GK_F32, GK_POWER): reduceThroughDoubles(data, length, r)
    #if GRADCLIP_HARDWARE_F16
    case (GK_F32, _): reduceRounded(WideFloat32Element.self, data, length, r)
    #endif
    #if !GRADCLIP_HARDWARE_F16
    case (GK_F32, _): reduceThroughDoubles(data, length, r)
    #endif
    case (GK_F16, _): reduceThroughFloats(Float16Element.self, data, length, r)
    default: reduceThroughFloats(BFloat16Element.self, data, length, r)
    }
}

// Where there is no loop for an element type, or it does not serve, each block is converted
// in the scratch memory first. At the baseline that is the rule, to keep it small.

@inline(never)
private func reduceThroughFloats<E: HalfElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ length: Int, _ r: Reduction
) {
    var start = 0
    while start < length {
        var count = Int(GK_BLOCK)
        if triesFixedPoint(r) {
            let done = sumInFixedPoint(E.self, data + start &* E.size, length &- start, r)
            start &+= done
            r.pointee.offset &+= UInt64(truncatingIfNeeded: done)
            count = fixedPointBlock
        }
        count = min(count, length &- start)
        if count > 0 {
            convert(E.self, data + start &* E.size, count, toFloats: r.pointee.scratch.unsafelyUnwrapped)
            reduceScratch(GK_F32, count, r)
            start &+= count
            r.pointee.offset &+= UInt64(truncatingIfNeeded: count)
        }
    }
}

@inline(never)
private func reduceThroughDoubles(_ data: UnsafeRawPointer, _ length: Int, _ r: Reduction) {
    forEachBlock(data, length, 4, r) { block, count in
        convert(block, count, toDoubles: r.pointee.scratch.unsafelyUnwrapped)
        reduceScratch(GK_F64, count, r)
    }
}

/// Reduces the block in the scratch memory as if it stood where it came from.
@inline(never)
private func reduceScratch(_ element: Int, _ count: Int, _ r: Reduction) {
    let offset = r.pointee.offset
    reduce(UInt32(element), r.pointee.scratch, Int64(count), r)
    r.pointee.offset = offset
}

private func scale(
    _ dtype: UInt32, _ source: UnsafeRawPointer?, _ destination: UnsafeMutableRawPointer?, _ length: Int64,
    _ scaling: UnsafePointer<gk_scaling>?
) {
    let source = source.unsafelyUnwrapped
    let destination = destination.unsafelyUnwrapped
    let length = Int(length)
    let scaling = scaling.unsafelyUnwrapped.pointee
    switch Int(dtype) {
    case GK_F32: scaleTensor(Float32Element.self, source, destination, length, scaling)
    case GK_F64: scaleTensor(source, destination, length, scaling)
    case GK_F16: scaleTensor(Float16Element.self, source, destination, length, scaling)
    default: scaleTensor(BFloat16Element.self, source, destination, length, scaling)
    }
}

private func clamp(_ dtype: UInt32, _ data: UnsafeMutableRawPointer?, _ length: Int64, _ limit: Double) {
    let data = data.unsafelyUnwrapped
    let length = Int(length)
    switch Int(dtype) {
    case GK_F32: clampTensor(Float32Element.self, data, length, limit)
    case GK_F64: clampTensor(data, length, limit)
    case GK_F16: clampTensor(Float16Element.self, data, length, limit)
    default: clampTensor(BFloat16Element.self, data, length, limit)
    }
}

private func inspect(
    _ dtype: UInt32, _ data: UnsafeRawPointer?, _ length: Int64, _ statistics: UnsafeMutablePointer<gk_statistics>?
) {
    let data = data.unsafelyUnwrapped
    let length = Int(length)
    let statistics = statistics.unsafelyUnwrapped
    switch Int(dtype) {
    case GK_F32: inspectFloats(data, length, normal: 0x0080_0000, statistics)
    case GK_F64: inspectTensor(data, length, statistics)
    case GK_F16: inspectThroughFloats(Float16Element.self, data, length, statistics)
    default: inspectThroughFloats(BFloat16Element.self, data, length, statistics)
    }
}

private func accumulate(
    _ dtype: UInt32, _ rows: UnsafeMutablePointer<UnsafeRawPointer?>?, _ length: Int64,
    _ factors: UnsafePointer<Double>?, _ sums: UnsafeMutablePointer<Double>?, _ scratch: UnsafeMutableRawPointer?
) {
    let rows = rows.unsafelyUnwrapped
    let factors = factors.unsafelyUnwrapped
    let sums = UnsafeMutableRawPointer(sums.unsafelyUnwrapped)
    let scratch = scratch.unsafelyUnwrapped
    let length = Int(length)
    switch Int(dtype) {
    case GK_F64: accumulateAll(Float64Element.self, rows, length, factors, sums, scratch)
    case GK_F32: accumulateAll(WideFloat32Element.self, rows, length, factors, sums, scratch)
    case GK_F16: accumulateThroughFloats(Float16Element.self, rows, length, factors, sums, scratch)
    default: accumulateThroughFloats(BFloat16Element.self, rows, length, factors, sums, scratch)
    }
}

private func fill(_ table: UnsafeMutablePointer<gk_kernels>) {
    table.pointee.reduce = { reduce($0, $1, $2, $3) }
    table.pointee.scale = { scale($0, $1, $2, $3, $4) }
    table.pointee.clamp = { clamp($0, $1, $2, $3) }
    table.pointee.inspect = { inspect($0, $1, $2, $3) }
    table.pointee.accumulate = { accumulate($0, $1, $2, $3, $4, $5) }
}
#endif

#if GRADCLIP_X86_64_V4
@_cdecl("gradclip_kernels_x86_64_v4")
public func fillV4(_ table: UnsafeMutablePointer<gk_kernels>) {
    table.pointee.reduce_below = table.pointee.reduce
    table.pointee.reduce = { reduce($0, $1, $2, $3) }
}
#elseif GRADCLIP_X86_64_V3
@_cdecl("gradclip_kernels_x86_64_v3")
public func fillV3(_ table: UnsafeMutablePointer<gk_kernels>) { fill(table) }
#else
@_cdecl("gradclip_kernels_baseline")
public func fillBaseline(_ table: UnsafeMutablePointer<gk_kernels>) { fill(table) }
#endif
