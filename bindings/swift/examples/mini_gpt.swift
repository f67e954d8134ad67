// mini_gpt.swift - a small GPT on a flat arena, clipped in its optimizer
//
// The trainer of bindings/c/examples/mini_gpt.c, sum for sum, in Swift, on the C
// library: the same seed trains the same network and prints the same lines. All
// gradients lie in one array, so the list of gradients is a list of one, and nothing
// scales them: gradclip_defer_clip_f32 says what to multiply by, and AdamW does so
// while it reads them anyway (the deferred coefficient: one pass less).
//
//     swiftc -O mini_gpt.swift -I . -Xcc -I/usr/local/include -L/usr/local/lib -lgradclip -o mini_gpt
//     ./mini_gpt ../../c/examples/data/asyoulik.txt 1 300       clip to norm 1
//     ./mini_gpt ../../c/examples/data/asyoulik.txt none 300    measure only
//
// module.modulemap beside this file makes the installed gradclip.h the module CGradClip.
//
// Its figures are those in mini_gpt.c, line for line (`make test-examples` compares); a
// step takes 33 ms where C takes 24.
import CGradClip
import Glibc

let byteCount = 256  // the vocabulary
let context = 64  // positions that attention looks back over
let width = 64  // numbers by position
let heads = 4
let layers = 2
let batch = 8  // sequences by step
let head = width / heads
let hidden = 4 * width

typealias Floats = UnsafeMutablePointer<Float>

func die(_ what: String) -> Never {
    fputs("mini_gpt: \(what)\n", stderr)
    exit(1)
}

func zeros(_ count: Int) -> Floats {
    let memory = Floats.allocate(capacity: count)
    memory.initialize(repeating: 0, count: count)
    return memory
}

/// SplitMix64, so that a seed means the same in every language.
struct Random {
    var state: UInt64

    /// In (0, 1).
    mutating func uniform() -> Double {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return (Double((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53
    }

    /// Mean 0, variance 1 (Box-Muller).
    mutating func normal() -> Double {
        let radius = (-2 * log(uniform())).squareRoot()
        return radius * cos(6.283185307179586 * uniform())
    }

    mutating func fill(_ tensor: Floats, _ count: Int, _ scale: Double) {
        for i in 0..<count { tensor[i] = Float(scale * normal()) }
    }
}

// MARK: - The arena

/// One tensor after the other; matrices have one row per input.
struct Arena {
    struct Block {
        let norm1, qkv, qkvBias, project, projectBias, norm2, up, upBias, down, downBias: Floats
    }

    static let blockSizes = [
        width, width * 3 * width, 3 * width, width * width, width, width, width * hidden, hidden, hidden * width, width,
    ]
    static let length =
        byteCount * width + context * width + layers * blockSizes.reduce(0, +) + width

    let all = zeros(Arena.length)
    let bytes, positions: Floats  // embeddings; bytes is the output layer too
    let blocks: [Block]
    let norm: Floats

    init() {
        var next = all
        func take(_ count: Int) -> Floats {
            defer { next += count }
            return next
        }
        bytes = take(byteCount * width)
        positions = take(context * width)
        blocks = (0..<layers).map { _ in
            let t = Arena.blockSizes.map(take)
            return Block(
                norm1: t[0], qkv: t[1], qkvBias: t[2], project: t[3], projectBias: t[4], norm2: t[5], up: t[6],
                upBias: t[7], down: t[8], downBias: t[9])
        }
        norm = take(width)
    }

    func initialise(_ random: inout Random) {
        let scale = 1 / Double(width).squareRoot()
        let last = scale / (2 * Double(layers)).squareRoot()
        random.fill(bytes, byteCount * width, 0.02)
        random.fill(positions, context * width, 0.02)
        for b in blocks {
            for i in 0..<width { (b.norm1[i], b.norm2[i]) = (1, 1) }
            random.fill(b.qkv, width * 3 * width, scale)
            random.fill(b.project, width * width, last)
            random.fill(b.up, width * hidden, scale)
            random.fill(b.down, hidden * width, last / 2)
        }
        for i in 0..<width { norm[i] = 1 }
    }
}

// MARK: - Layers and back again

/// y += (a0 x0 + a1 x1) + (a2 x2 + a3 x3), where x0 ... x3 are rows of n.
@inline(__always)
func addFourRows(_ y: Floats, _ n: Int, _ x: Floats, _ a0: Float, _ a1: Float, _ a2: Float, _ a3: Float) {
    let x1 = x + n
    let x2 = x1 + n
    let x3 = x2 + n
    for k in 0..<n { y[k] += (a0 * x[k] + a1 * x1[k]) + (a2 * x2[k] + a3 * x3[k]) }
}

/// out (rows, n) = input (rows, m) times weight (m, n), plus bias
func linear(_ out: Floats, _ input: Floats, _ weight: Floats, _ bias: Floats, _ rows: Int, _ m: Int, _ n: Int) {
    for t in 0..<rows {
        let (o, a) = (out + t * n, input + t * m)
        o.update(from: bias, count: n)
        for i in stride(from: 0, to: m, by: 4) { addFourRows(o, n, weight + i * n, a[i], a[i + 1], a[i + 2], a[i + 3]) }
    }
}

/// In eight lanes, because a sum must not be reordered and one lane is slow.
@inline(__always)
func dot(_ a: Floats, _ b: Floats, _ n: Int) -> Float {
    var lane = SIMD8<Float>()
    for k in stride(from: 0, to: n, by: 8) {
        lane +=
            UnsafeRawPointer(a + k).loadUnaligned(as: SIMD8<Float>.self)
            * UnsafeRawPointer(b + k).loadUnaligned(as: SIMD8<Float>.self)
    }
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]))
}

/// From dOut to dInput (+=), dWeight (+=) and dBias (+=).
func linearBack(
    _ dInput: Floats, _ dWeight: Floats, _ dBias: Floats, _ dOut: Floats, _ input: Floats, _ weight: Floats,
    _ rows: Int, _ m: Int, _ n: Int
) {
    for t in 0..<rows {
        for i in 0..<m { dInput[t * m + i] += dot(weight + i * n, dOut + t * n, n) }
    }
    for t in 0..<rows {
        for k in 0..<n { dBias[k] += dOut[t * n + k] }
    }
    for t in stride(from: 0, to: rows, by: 4) {
        for i in 0..<m {
            let a = input + t * m + i
            addFourRows(dWeight + i * n, n, dOut + t * n, a[0], a[m], a[2 * m], a[3 * m])
        }
    }
}

/// Root mean square norm: out = input * gain / rms(input).
func rmsNorm(_ out: Floats, _ inverse: Floats, _ input: Floats, _ gain: Floats) {
    for t in 0..<context {
        let (o, x) = (out + t * width, input + t * width)
        inverse[t] = 1 / (dot(x, x, width) / Float(width) + 1e-5).squareRoot()
        for i in 0..<width { o[i] = x[i] * inverse[t] * gain[i] }
    }
}

let weighted = zeros(width)
func rmsNormBack(
    _ dInput: Floats, _ dGain: Floats, _ dOut: Floats, _ inverse: Floats, _ input: Floats, _ gain: Floats
) {
    for t in 0..<context {
        let (dx, d, x, s) = (dInput + t * width, dOut + t * width, input + t * width, inverse[t])
        for i in 0..<width {
            weighted[i] = d[i] * gain[i]
            dGain[i] += d[i] * x[i] * s
        }
        let mean = dot(weighted, x, width) * s * s / Float(width)
        for i in 0..<width { dx[i] += s * (weighted[i] - x[i] * mean) }
    }
}

/// Causal attention of all heads. weights[h][t][u]: how much position t takes from u.
func attention(_ out: Floats, _ weights: Floats, _ qkv: Floats) {
    let scale = 1 / Float(head).squareRoot()
    out.update(repeating: 0, count: context * width)
    for h in 0..<heads {
        for t in 0..<context {
            let w = weights + (h * context + t) * context
            let (q, k, v) = (qkv + t * 3 * width + h * head, qkv + width + h * head, qkv + 2 * width + h * head)
            let o = out + t * width + h * head
            var largest = -Float.infinity
            var sum: Float = 0
            for u in 0...t {
                w[u] = scale * dot(q, k + u * 3 * width, head)
                if w[u] > largest { largest = w[u] }
            }
            for u in 0...t {
                w[u] = expf(w[u] - largest)
                sum += w[u]
            }
            for u in 0...t {
                w[u] /= sum
                for i in 0..<head { o[i] += w[u] * v[u * 3 * width + i] }
            }
        }
    }
}

let dWeights = zeros(context)
func attentionBack(_ dQKV: Floats, _ dOut: Floats, _ weights: Floats, _ qkv: Floats) {
    let scale = 1 / Float(head).squareRoot()
    for h in 0..<heads {
        for t in 0..<context {
            let (w, d) = (weights + (h * context + t) * context, dOut + t * width + h * head)
            let own = t * 3 * width + h * head
            var mean: Float = 0
            for u in 0...t {
                let v = u * 3 * width + 2 * width + h * head
                dWeights[u] = dot(d, qkv + v, head)
                mean += w[u] * dWeights[u]
                for i in 0..<head { dQKV[v + i] += w[u] * d[i] }
            }
            for u in 0...t {
                let k = u * 3 * width + width + h * head
                let dScore = scale * w[u] * (dWeights[u] - mean)
                for i in 0..<head {
                    dQKV[own + i] += dScore * qkv[k + i]
                    dQKV[k + i] += dScore * qkv[own + i]
                }
            }
        }
    }
}

// MARK: - The network

/// What a block keeps of the way there for the way back.
struct BlockMemory {
    let input = zeros(context * width), normed1 = zeros(context * width), inverse1 = zeros(context)
    let qkv = zeros(context * 3 * width), weights = zeros(heads * context * context), mixed = zeros(context * width)
    let middle = zeros(context * width), normed2 = zeros(context * width), inverse2 = zeros(context)
    let up = zeros(context * hidden), active = zeros(context * hidden)
}
let memory = (0..<layers).map { _ in BlockMemory() }
let last = zeros(context * width)
let normed = zeros(context * width)
let inverse = zeros(context)
let logits = zeros(byteCount)
let dNormed = zeros(context * width)
let dX = zeros(context * width)
let dActive = zeros(context * hidden)
let dQKV = zeros(context * 3 * width)
let dSmall = zeros(context * width)

func silu(_ x: Float) -> Float { x / (1 + expf(-x)) }

/// The mean loss over one sequence, text[context] being the last target. If grads is
/// given, the gradients of scale times that loss are added to it.
func sequenceLoss(_ p: Arena, _ grads: Arena?, _ text: UnsafePointer<UInt8>, _ scale: Float) -> Double {
    let x = last
    for t in 0..<context {
        for i in 0..<width { x[t * width + i] = p.bytes[Int(text[t]) * width + i] + p.positions[t * width + i] }
    }
    for l in 0..<layers {
        let (b, m) = (p.blocks[l], memory[l])
        m.input.update(from: x, count: context * width)
        rmsNorm(m.normed1, m.inverse1, m.input, b.norm1)
        linear(m.qkv, m.normed1, b.qkv, b.qkvBias, context, width, 3 * width)
        attention(m.mixed, m.weights, m.qkv)
        linear(m.middle, m.mixed, b.project, b.projectBias, context, width, width)
        for i in 0..<context * width { m.middle[i] += m.input[i] }
        rmsNorm(m.normed2, m.inverse2, m.middle, b.norm2)
        linear(m.up, m.normed2, b.up, b.upBias, context, width, hidden)
        for i in 0..<context * hidden { m.active[i] = silu(m.up[i]) }
        linear(x, m.active, b.down, b.downBias, context, hidden, width)
        for i in 0..<context * width { x[i] += m.middle[i] }
    }
    rmsNorm(normed, inverse, x, p.norm)

    // The output layer is the embedding of bytes, transposed.
    dNormed.update(repeating: 0, count: context * width)
    var loss = 0.0
    for t in 0..<context {
        let (h, target) = (normed + t * width, Int(text[t + 1]))
        var largest = -Float.infinity
        var sum: Float = 0
        for v in 0..<byteCount {
            logits[v] = dot(h, p.bytes + v * width, width)
            if logits[v] > largest { largest = logits[v] }
        }
        loss -= Double(logits[target] - largest)
        for v in 0..<byteCount {
            logits[v] = expf(logits[v] - largest)
            sum += logits[v]
        }
        loss += log(Double(sum))
        guard let grads else { continue }
        for v in 0..<byteCount {
            let d = scale / Float(context) * (logits[v] / sum - (v == target ? 1 : 0))
            let (dn, e, de) = (dNormed + t * width, p.bytes + v * width, grads.bytes + v * width)
            for i in 0..<width {
                dn[i] += d * e[i]
                de[i] += d * h[i]
            }
        }
    }
    guard let grads else { return loss / Double(context) }

    dX.update(repeating: 0, count: context * width)
    rmsNormBack(dX, grads.norm, dNormed, inverse, last, p.norm)
    for l in (0..<layers).reversed() {
        let (b, d, m) = (p.blocks[l], grads.blocks[l], memory[l])
        dActive.update(repeating: 0, count: context * hidden)
        linearBack(dActive, d.down, d.downBias, dX, m.active, b.down, context, hidden, width)
        for i in 0..<context * hidden {
            let sigmoid = 1 / (1 + expf(-m.up[i]))
            dActive[i] *= sigmoid * (1 + m.up[i] * (1 - sigmoid))
        }
        dSmall.update(repeating: 0, count: context * width)
        linearBack(dSmall, d.up, d.upBias, dActive, m.normed2, b.up, context, width, hidden)
        rmsNormBack(dX, d.norm2, dSmall, m.inverse2, m.middle, b.norm2)
        dSmall.update(repeating: 0, count: context * width)
        linearBack(dSmall, d.project, d.projectBias, dX, m.mixed, b.project, context, width, width)
        dQKV.update(repeating: 0, count: context * 3 * width)
        attentionBack(dQKV, dSmall, m.weights, m.qkv)
        dSmall.update(repeating: 0, count: context * width)
        linearBack(dSmall, d.qkv, d.qkvBias, dQKV, m.normed1, b.qkv, context, width, 3 * width)
        rmsNormBack(dX, d.norm1, dSmall, m.inverse1, m.input, b.norm1)
    }
    for t in 0..<context {
        for i in 0..<width {
            grads.bytes[Int(text[t]) * width + i] += dX[t * width + i]
            grads.positions[t * width + i] += dX[t * width + i]
        }
    }
    return loss / Double(context)
}

/// AdamW (Loshchilov, Hutter 2019). Gradients are read once, and multiplied by factor.
func adamW(_ p: Arena, _ grads: Arena, _ m: Floats, _ v: Floats, factor: Double, rate: Double, step: Int) {
    let (beta1, beta2, decay, f, r): (Float, Float, Float, Float, Float) = (0.9, 0.95, 0.01, Float(factor), Float(rate))
    let bias1 = Float(1 - pow(0.9, Double(step)))
    let bias2 = Float(1 - pow(0.95, Double(step)))
    for i in 0..<Arena.length {
        let g = f * grads.all[i]
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g * g
        p.all[i] -= r * (m[i] / bias1 / ((v[i] / bias2).squareRoot() + 1e-8) + decay * p.all[i])
    }
}

// MARK: - Training

func readText(_ path: String) -> [UInt8] {
    guard let file = fopen(path, "rb") else { die("\(path) cannot be read") }
    defer { fclose(file) }
    return [UInt8](unsafeUninitializedCapacity: 1 << 20) { $1 = fread($0.baseAddress, 1, 1 << 20, file) }
}

func format(_ number: Double) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
        withVaList([number]) { _ = vsnprintf(text.baseAddress, 64, "%.4f", $0) }
        return String(cString: text.baseAddress!)
    }
}

let arguments = CommandLine.arguments
if arguments.count < 2 || arguments.count > 6 {
    die("usage: mini_gpt TEXT [MAX_NORM|none [STEPS [LEARNING_RATE [SEED]]]]")
}
let maxNormText = arguments.count > 2 ? arguments[2] : "1"
let maxNorm = maxNormText == "none" ? Double.infinity : Double(maxNormText) ?? -1  // infinity: only measure
let steps = arguments.count > 3 ? Int(arguments[3]) ?? 0 : 300
let rateText = arguments.count > 4 ? arguments[4] : "0.005"
let rate = Double(rateText) ?? 0.005
var random = Random(state: arguments.count > 5 ? UInt64(arguments[5]) ?? 1 : 1)

if steps < 1 { die("STEPS must be at least 1 (got \(arguments[3]))") }

let text = readText(arguments[1])
let training = text.count - text.count / 10  // the rest is for validation
if text.count < 20 * context { die("\(arguments[1]): the text is too short") }

let p = Arena()
let grads = Arena()
let m = zeros(Arena.length)
let v = zeros(Arena.length)
p.initialise(&random)
var clipped = 0
var skipped = 0
text.withUnsafeBufferPointer { text in
    let bytes = text.baseAddress!
    for step in 1...steps {
        grads.all.update(repeating: 0, count: Arena.length)
        var loss = 0.0
        for _ in 0..<batch {
            let at = Int(random.uniform() * Double(training - context - 1))
            loss += sequenceLoss(p, grads, bytes + at, 1 / Float(batch)) / Double(batch)
        }

        var result = gradclip_result()
        gradclip_result_init(&result, MemoryLayout<gradclip_result>.size)
        var list: Floats? = grads.all
        var length = Arena.length
        let status = gradclip_defer_clip_f32(&list, &length, 1, maxNorm, 2, nil, &result)
        if status < 0 { die(String(cString: gradclip_last_error())) }

        if status == GRADCLIP_NON_FINITE {
            skipped += 1
        } else {
            let decayed = rate * (1 - (Double(step) - 1) / Double(steps))
            adamW(p, grads, m, v, factor: result.factor, rate: decayed, step: step)
        }
        if result.clip_coef < 1 { clipped += 1 }
        if step % 50 == 0 || step == 1 {
            print(
                "step \(step): loss \(format(loss)), total_norm \(format(result.total_norm)), "
                    + "clip_coef \(format(result.clip_coef))")
        }
    }

    var validation = 0.0
    var sequences = 0
    var at = training
    while at + context + 1 <= text.count {
        validation += sequenceLoss(p, nil, bytes + at, 0)
        (at, sequences) = (at + context, sequences + 1)
    }
    print(
        "max_norm \(maxNormText), rate \(rateText): validation loss \(format(validation / Double(sequences))) nats per byte, "
            + "\(clipped) of \(steps) steps clipped, \(skipped) skipped")
}
