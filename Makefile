# gradclip: `make help` lists the targets.

PREFIX   ?= /usr/local
DESTDIR  ?=
PYTHON   ?= python3
CC       ?= cc
VERSION  := $(shell sed -n 's/^\#define GRADCLIP_VERSION_STRING "\(.*\)"/\1/p' include/gradclip.h)
MAJOR    := $(firstword $(subst ., ,$(VERSION)))
FILE     := libgradclip.so.$(VERSION)
SONAME   := libgradclip.so.$(MAJOR)

BUILD    := build
SCRATCH  := .build-embedded
SOURCES  := Package.swift exports.map $(wildcard include/*.h include/module.modulemap) $(shell find Sources -type f -o -type l)

# Embedded Swift needs whole-module compilation; of the library only the C
# functions leave (exports.map).
SWIFT_BUILD := swift build --configuration release --traits Embedded --scratch-path $(SCRATCH) --product gradclip \
	--disable-local-rpath -Xswiftc -no-toolchain-stdlib-rpath \
	-Xswiftc -wmo -Xswiftc -Xfrontend -Xswiftc -function-sections -Xlinker --version-script=$(CURDIR)/exports.map -Xlinker -soname=$(SONAME) \
	-Xlinker --gc-sections -Xlinker -z -Xlinker relro -Xlinker -z -Xlinker now

.PHONY: all lib help clean
all: lib

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

lib: $(BUILD)/lib/$(FILE) ## build build/lib/libgradclip.so (the default)

$(BUILD)/lib/$(FILE): $(SOURCES)
	@command -v swift >/dev/null || { echo "gradclip: Swift 6.2 or newer is needed to build (https://swift.org/install); swift is not in PATH" >&2; exit 1; }
	$(SWIFT_BUILD)
	@mkdir -p $(BUILD)/lib $(BUILD)/lib-unstripped
	cp $(SCRATCH)/release/libgradclip.so $(BUILD)/lib-unstripped/$(FILE)
	strip --strip-unneeded -R .swift_modhash -o $@ $(BUILD)/lib-unstripped/$(FILE)
	ln -sf $(FILE) $(BUILD)/lib/$(SONAME)
	ln -sf $(SONAME) $(BUILD)/lib/libgradclip.so

clean: ## remove what was built
	rm -rf $(BUILD) .build .build-*
