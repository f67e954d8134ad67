// A Swift program that clips through the C functions, and whose own objects, arrays and
// strings must live and die as without them. Prints what happened; gate-static-swift.sh
// compares.
import CGradClip

final class Layer {
    nonisolated(unsafe) static var alive = 0
    let name: String
    var gradient: [Float]
    var next: Layer?

    init(name: String, gradient: [Float], next: Layer?) {
        self.name = name
        self.gradient = gradient
        self.next = next
        Layer.alive += 1
    }

    deinit { Layer.alive -= 1 }
}

/// Clips all layers to half their norm, in place; returns the norm.
func clip(_ layers: [Layer]) -> Double {
    let tensors = layers.map { layer in
        let memory = UnsafeMutablePointer<Float>.allocate(capacity: layer.gradient.count)
        memory.initialize(from: layer.gradient, count: layer.gradient.count)
        return gradclip_tensor(
            data: memory, length: UInt64(layer.gradient.count), dtype: UInt32(GRADCLIP_F32), flags: 0, device_type: 0,
            device_id: 0)
    }
    var options = gradclip_options()
    gradclip_options_init(&options, MemoryLayout<gradclip_options>.size)
    options.eps = 0
    var result = gradclip_result()
    gradclip_result_init(&result, MemoryLayout<gradclip_result>.size)
    let measured = gradclip_get_total_norm(tensors, tensors.count, 2, &options, &result)
    let norm = result.total_norm
    let clipped = gradclip_clip_grad_norm(tensors, tensors.count, norm / 2, 2, &options, &result)
    if measured != 0 || clipped != 0 { return -1 }
    for (layer, tensor) in zip(layers, tensors) {
        let memory = tensor.data.assumingMemoryBound(to: Float.self)
        layer.gradient = Array(UnsafeBufferPointer(start: memory, count: layer.gradient.count))
        memory.deallocate()
    }
    return norm
}

/// A chain of objects that hold strings and arrays; what it says of itself.
func train(_ step: Int) -> String {
    var layers: [Layer] = []
    for i in 0..<50 {
        let gradient = [Float](repeating: 0, count: 100) + [3, 4]
        layers.append(Layer(name: "layer \(step).\(i) with a name too long to be kept inline", gradient: gradient, next: layers.last))
    }
    let norm = clip(layers)
    let describe: () -> String = { [last = layers[49]] in "\(last.name), \(last.next!.name), \(last.gradient[100]), \(last.gradient[101])" }
    let copies = layers + layers
    return "\(norm * norm) \(copies.count) \(describe())"
}

var text = ""
for step in 0..<20 { text = train(step) }
// Enough for several threads.
let large = Layer(name: "large", gradient: [Float](repeating: 1, count: 1 << 22), next: nil)
let norm = clip([large])
print(text)
print("\(norm) \(large.gradient[0]) \(large.gradient[(1 << 22) - 1]), \(Layer.alive) alive")
