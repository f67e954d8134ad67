// A pool of threads of the library's own.
//
// Workers are made when they are first needed, sleep between jobs (they never spin:
// a virtual machine may have taken their processor away), and take part in a job
// if they wake in time; the caller works too and waits for nobody who has not
// begun. A caller that finds the pool busy works alone.
//
// A worker that has begun and loses its processor to another program holds up the call: its
// caller cannot take the work back, half of which may be written, and must not return while
// memory is read. So where a job waited longer than it gained, the next one does without
// workers; if they are late again after that, the next two do, then four, and so on, but none for longer than a quarter of
// a second: by then the processor may be back.
//
// The lock is there for jobs that several threads do, and a call that does its work alone
// never takes it; nor is a call cancelled while others work for it.
import CGradClipKernels
import CGradClipSystem

package enum ThreadPool {
    private struct State {
        var threads: UnsafeMutablePointer<UInt64>?
        var count = 0
        /// Counts jobs, so that a worker takes part in each at most once.
        var generation: UInt64 = 0
        var body: gk_body?
        var context: UnsafeMutableRawPointer?
        /// How many more workers may join the job.
        var places = 0
        /// How many workers are in it.
        var active = 0
        var isBusy = false
        /// How many jobs are still to do without workers, and how many the next time.
        var alone = 0
        var nextAlone = 1
        /// When that ends at the latest.
        var aloneUntil: Int64 = 0
        var isRegistered = false
        var isStopping = false
    }

    /// All of it is read and written under the lock.
    nonisolated(unsafe) private static var state = State()

    private static var most: Int { 256 }
    private static var mostAlone: Int { 64 }
    private static var longestAlone: Int64 { 250_000_000 }

    /// Runs the body on up to `count` threads, this one included, and returns when all
    /// that took part are done. The body is told whether others may take part.
    package static func run(_ count: Int, _ context: UnsafeMutableRawPointer, _ body: gk_body) {
        if count <= 1 { return gk_with_scratch(body, context, false) }
        // (To wait for others is a place where POSIX lets a thread end, in the middle of it.)
        let cancellation = gk_cancellation_disable()
        defer { gk_cancellation_restore(cancellation) }
        if !begin(count &- 1, context, body) { return gk_with_scratch(body, context, false) }
        let start = gk_nanoseconds()
        gk_with_scratch(body, context, true)
        let worked = gk_nanoseconds() &- start
        gk_pool_lock()
        let joined = min(count &- 1, most) &- state.places
        state.places = 0
        while state.active > 0 { gk_pool_wait_for_end() }
        let waited = gk_nanoseconds() &- start &- worked
        state.isBusy = false
        adapt(worked, waited, joined)
        gk_pool_unlock()
    }

    /// Alone it takes at most the caller's time for each that took part. Under the lock.
    private static func adapt(_ worked: Int64, _ waited: Int64, _ joined: Int) {
        let usual: Int64 = 20_000  // to wake up, and the end of a segment
        if waited <= usual &+ worked / 4 &* Int64(joined) {
            state.nextAlone = 1
        } else {
            state.alone = state.nextAlone
            state.aloneUntil = gk_nanoseconds() &+ longestAlone
            state.nextAlone = min(state.nextAlone &* 2, mostAlone)
        }
    }

    /// Around what threads of a job write together.
    @inline(__always)
    package static func lock(ifShared isShared: Bool) { if isShared { gk_pool_lock() } }
    @inline(__always)
    package static func unlock(ifShared isShared: Bool) { if isShared { gk_pool_unlock() } }

    /// False if the pool is busy, or cannot have a worker.
    private static func begin(_ workers: Int, _ context: UnsafeMutableRawPointer, _ body: gk_body) -> Bool {
        gk_pool_lock()
        defer { gk_pool_unlock() }
        if state.isBusy || state.isStopping { return false }
        if state.alone > 0 && gk_nanoseconds() < state.aloneUntil {
            state.alone &-= 1
            return false
        }
        state.alone = 0
        grow(to: min(workers, most))
        if state.count == 0 { return false }
        state.isBusy = true
        state.body = body
        state.context = context
        state.places = workers
        state.generation &+= 1
        // (One that still works sees the job before it sleeps.)
        if workers < state.count {
            for _ in 0..<workers { gk_pool_wake_worker() }
        } else {
            gk_pool_announce_work()
        }
        return true
    }

    private static func grow(to count: Int) {
        if state.count >= count { return }
        if !state.isRegistered {
            state.isRegistered = true
            gk_pool_register({ ThreadPool.forget() }, { ThreadPool.stop() })
        }
        if state.threads == nil {
            state.threads = gk_allocate(most &* MemoryLayout<UInt64>.stride)?.assumingMemoryBound(to: UInt64.self)
        }
        guard let threads = state.threads else { return }
        while state.count < count {
            // A worker that starts now has seen no job yet, the one that follows included.
            let seen = UnsafeMutableRawPointer(bitPattern: UInt(truncatingIfNeeded: state.generation))
            if !gk_thread_start(&threads[state.count], { ThreadPool.work(seen: $0) }, seen) { return }
            state.count &+= 1
        }
    }

    private static func work(seen: UnsafeMutableRawPointer?) {
        _ = gk_float_environment_enter()
        var seen = UInt64(UInt(bitPattern: seen))
        gk_pool_lock()
        while !state.isStopping {
            if state.generation == seen || state.places == 0 {
                seen = state.generation
                gk_pool_wait_for_work()
                continue
            }
            seen = state.generation
            state.places &-= 1
            state.active &+= 1
            let body = state.body
            let context = state.context
            gk_pool_unlock()
            gk_with_scratch(body, context, true)
            gk_pool_lock()
            state.active &-= 1
            if state.active == 0 { gk_pool_announce_end() }
        }
        gk_pool_unlock()
    }

    /// In a forked child: there are no workers, and nobody waits. Called under the lock.
    private static func forget() {
        state.count = 0
        state.places = 0
        state.active = 0
        state.isBusy = false
    }

    /// When the library goes: workers end.
    private static func stop() {
        gk_pool_lock()
        state.isStopping = true
        gk_pool_announce_work()
        let count = state.count
        let threads = state.threads
        state.count = 0
        state.threads = nil
        gk_pool_unlock()
        for i in 0..<count { gk_thread_join(threads.unsafelyUnwrapped[i]) }
        gk_release(threads)
    }

    // ------------------------------------------------------ how many threads --

    /// Set by the user; 0: not.
    nonisolated(unsafe) private static var chosenCount: UInt32 = 0
    /// What the process may use; 0: no thread has asked yet. Each that comes before one has asks
    /// for itself, so that nobody waits while files are read.
    nonisolated(unsafe) private static var availableCount: UInt32 = 0

    /// The user's choice, or what the process may use.
    package static var count: Int {
        get {
            var count = gk_atomic_load(&chosenCount)
            if count == 0 { count = gk_atomic_load(&availableCount) }
            if count == 0 {
                count = UInt32(available())
                gk_atomic_store(&availableCount, count)
            }
            return Int(count)
        }
        set { gk_atomic_store(&chosenCount, UInt32(min(newValue, most))) }
    }

    /// GRADCLIP_NUM_THREADS, or the processors of the affinity mask, but no more than
    /// the quotas of its cgroups.
    private static func available() -> Int {
        if let text = gk_environment("GRADCLIP_NUM_THREADS"), let wanted = number(text) { return wanted }
        let cancellation = gk_cancellation_disable()
        defer { gk_cancellation_restore(cancellation) }
        return min(Int(gk_processor_count()), most)
    }

    /// The number that a text is: digits and nothing else, and not 0. Nil for any other text.
    private static func number(_ text: UnsafePointer<CChar>) -> Int? {
        var value = 0
        var length = 0
        while text[length] >= 48 && text[length] <= 57 {
            value = min(value &* 10 &+ Int(text[length]) &- 48, most)
            length &+= 1
        }
        return text[length] == 0 && value > 0 ? value : nil
    }
}
