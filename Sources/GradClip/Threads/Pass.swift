// A pass over a list: threads draw pieces of the work, do them, and hand in what they found.
import CGradClipKernels
import CGradClipSystem

/// What all threads of a pass know, and where they hand in.
protocol Pass {
    /// The pieces of the work in an order that is the same for all threads.
    associatedtype Pieces: IteratorProtocol
    var pieces: Pieces { get }
    /// The number of the piece that is drawn next.
    var next: Int64 { get set }
}

/// What one thread does of a pass.
protocol Share {
    associatedtype Work: Pass
    /// `isShared`: other threads may be at work on the pass. (What they do together does not mutate it through
    /// methods: that would be an access to all of it.)
    init(_ pass: UnsafeMutablePointer<Work>, _ workspace: Workspace, isShared: Bool)
    mutating func work(on piece: Work.Pieces.Element)
    /// Tells the pass what came of it, at the end. No other thread hands in meanwhile.
    mutating func handIn()
    /// Gives back what it took.
    func close()
}

extension Share {
    func handIn() {}
    func close() {}

    /// What ThreadPool.run calls, with a pass as the context.
    static func run(_ context: UnsafeMutableRawPointer?, _ workspace: UnsafeMutableRawPointer?, isShared: Bool) {
        let pass = context.unsafelyUnwrapped.assumingMemoryBound(to: Work.self)
        var share = Self(pass, Workspace(workspace), isShared: isShared)
        var pieces = pass.pointee.pieces
        var passed: Int64 = 0
        draw: while true {
            let drawn = gk_draw_number(&pass.pointee.next)
            while let piece = pieces.next() {
                passed &+= 1
                if passed &- 1 == drawn {
                    share.work(on: piece)
                    continue draw
                }
            }
            break
        }
        ThreadPool.lock(ifShared: isShared)
        share.handIn()
        ThreadPool.unlock(ifShared: isShared)
        share.close()
    }
}
