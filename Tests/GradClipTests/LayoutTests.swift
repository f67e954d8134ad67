// What Swift puts into memory whose size C states.
import CGradClipKernels
import Testing

@testable import GradClip

@Test func whatIsKnownOfColumnsFitsIntoItsRoom() {
    #expect(MemoryLayout<Partial>.stride <= Int(GK_PARTIAL))
    // It lies behind the columns of a pass of units, and in any other pass before what that keeps there.
    #expect(MemoryLayout<Total>.stride <= Int(GK_PARTIAL))
}
