// A pass over a list: threads draw pieces of the work, do them, and hand in what they found.
import CGradClipKernels
import CGradClipSystem

/// What all threads of a pass know; it does not change while they work. Where they hand in is elsewhere, and a pass has
/// a pointer to it: for Swift, to change a field is an access to all that it lies in, which others read meanwhile.
protocol Pass {
    /// The pieces of the work in an order that is the same for all threads.
    associatedtype Pieces: IteratorProtocol
    var pieces: Pieces { get }
}

extension Pass {
    /// Up to so many threads draw its pieces and work on them; `share` is what each does, a Share's `run`.
    func run(threads: Int, _ share: gk_body) {
        withUnsafePointer(to: self) { pass in
            var draws = Draws(pass: pass, pieces: pass.pointee.pieces)
            withUnsafeMutablePointer(to: &draws) { ThreadPool.run(threads, UnsafeMutableRawPointer($0), share) }
        }
    }
}

/// What the threads of a pass draw from.
private struct Draws<Work: Pass> {
    let pass: UnsafePointer<Work>
    let pieces: Work.Pieces
    /// The number of the piece that is drawn next.
    var next: Int64 = 0
}

/// What one thread does of a pass.
protocol Share {
    associatedtype Work: Pass
    /// `isShared`: other threads may be at work on the pass.
    init(_ pass: UnsafePointer<Work>, _ workspace: Workspace, isShared: Bool)
    mutating func work(on piece: Work.Pieces.Element)
    /// Tells what came of it, at the end. No other thread hands in meanwhile.
    mutating func handIn()
    /// Gives back what it took.
    func close()
}

extension Share {
    func handIn() {}
    func close() {}

    /// What ThreadPool.run calls for a pass.
    static func run(_ context: UnsafeMutableRawPointer?, _ workspace: UnsafeMutableRawPointer?, isShared: Bool) {
        let draws = context.unsafelyUnwrapped.assumingMemoryBound(to: Draws<Work>.self)
        let pass = draws.pointee.pass
        var share = Self(pass, Workspace(workspace), isShared: isShared)
        var pieces = draws.pointee.pieces
        var passed: Int64 = 0
        draw: while true {
            let drawn = gk_draw_number(&draws.pointee.next)
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
