// swift-tools-version: 6.1
import PackageDescription

// `swift build` gives the Swift module GradClip and an ordinary libgradclip.so.
// `make` adds the trait Embedded, which makes the library small and free of the
// Swift runtime; the flags that go with it are in the Makefile.
let embedded: [SwiftSetting] = [.enableExperimentalFeature("Embedded", .when(traits: ["Embedded"]))]

// The kernels once more for newer instruction sets. Only GradClipABI depends on
// them, so that GradClip can be a dependency of other packages (SwiftPM refuses
// unsafe flags there).
#if arch(x86_64)
let levels: [Target] = [
    .target(
        name: "GradClipKernelsX86v3", dependencies: ["CGradClipKernels"],
        swiftSettings: embedded + [
            .define("GRADCLIP_X86_64_V3"), .define("GRADCLIP_HARDWARE_F16"),
            .unsafeFlags(["-Xcc", "-march=x86-64-v3"]),
        ]),
    .target(
        name: "GradClipKernelsX86v4", dependencies: ["CGradClipKernels"],
        swiftSettings: embedded + [
            .define("GRADCLIP_X86_64_V4"), .define("GRADCLIP_HARDWARE_F16"),
            .unsafeFlags(["-Xcc", "-march=x86-64-v4", "-Xcc", "-mprefer-vector-width=512"]),
        ]),
]
let baseline: [SwiftSetting] = embedded
#else
let levels: [Target] = []
let baseline: [SwiftSetting] = embedded + [.define("GRADCLIP_HARDWARE_F16")]
#endif

let package = Package(
    name: "gradclip",
    // Float16 and all else of the standard library that is used are there from macOS 11 on.
    platforms: [.macOS(.v11)],
    products: [
        .library(name: "GradClip", targets: ["GradClip"]),
        .library(name: "gradclip", type: .dynamic, targets: ["GradClipABI"]),
    ],
    traits: ["Embedded"],
    targets: [
        .systemLibrary(name: "CGradClip", path: "include"),
        .target(name: "CGradClipSystem"),
        .target(name: "CGradClipKernels"),
        .target(name: "GradClipKernels", dependencies: ["CGradClipKernels"], swiftSettings: baseline),
        .target(
            name: "GradClip", dependencies: ["CGradClip", "CGradClipSystem", "CGradClipKernels", "GradClipKernels"],
            swiftSettings: embedded),
        .target(
            name: "GradClipABI",
            dependencies: ["CGradClip", "CGradClipSystem", "CGradClipKernels", "GradClip"]
                + levels.map { .target(name: $0.name) },
            swiftSettings: embedded),
        // With all levels, of which the tests take the one that the processor has.
        .testTarget(
            name: "GradClipTests",
            dependencies: ["GradClip", "GradClipKernels", "CGradClipKernels"] + levels.map { .target(name: $0.name) }),
    ] + levels
)
