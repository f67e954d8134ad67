# Included by the Makefile: the static library, the manual page, installing, the
# archive for people without Swift.

LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR    ?= $(PREFIX)/share
OBJECTS    := $(SCRATCH)/release/gradclip.product/Objects.LinkFileList
# (GNU ld and objcopy make the archive, which know no Mach-O.)
ARCHIVE    := $(if $(filter linux,$(SYSTEM)),$(BUILD)/lib/libgradclip.a)
INSTALL    := SYSTEM="$(SYSTEM)" PYTHON="$(PYTHON)" LIBRARY="$(BUILD)/lib/$(FILE)" STATIC="$(ARCHIVE)" MANUAL="$(BUILD)/man" VERSION="$(VERSION)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" \
	INCLUDEDIR="$(INCLUDEDIR)" DATADIR="$(DATADIR)" packaging/install.sh

.PHONY: static man install uninstall dist docs-swift test-install test-cpp test-package

static: $(or $(ARCHIVE),no-static) ## build build/lib/libgradclip.a

.PHONY: no-static
no-static:
	@echo "gradclip: make static needs GNU binutils, and an object format that they know: it is there for Linux only" >&2; exit 1

# From the objects of the shared library; built again if only their product is there.
$(BUILD)/lib/libgradclip.a: $(BUILD)/lib/$(FILE) $(EXPORTS) packaging/exports.sh packaging/make-static.sh
	@[ -e $(OBJECTS) ] || { echo "$(SWIFT_BUILD)"; $(SWIFT_BUILD); }
	packaging/make-static.sh $(OBJECTS) $@

man: $(BUILD)/man/gradclip.3 ## make the manual pages from the header: gradclip(3), and one for each function

# Dated by the header's last change.
$(BUILD)/man/gradclip.3: include/gradclip.h packaging/man.py
	@mkdir -p $(BUILD)/man
	LC_ALL=C $(PYTHON) packaging/man.py include/gradclip.h \
		"$$(git log -1 --format=%cs -- include/gradclip.h 2>/dev/null | grep . || $(PYTHON) -c 'import os, time; print(time.strftime("%Y-%m-%d", time.gmtime(os.path.getmtime("include/gradclip.h"))))')" $(BUILD)/man

install: lib $(ARCHIVE) man ## install under PREFIX (DESTDIR, LIBDIR, INCLUDEDIR, DATADIR are understood)
	$(INSTALL) install

uninstall: ## remove what install put there
	$(INSTALL) uninstall

dist: lib static man wheel ## build/archive: an archive of libraries, headers and wheel, for people without Swift
	MANUAL="$(BUILD)/man" $(PYTHON) packaging/archives.py $(BUILD)/lib/$(FILE) $(BUILD)/dist/gradclip-$(VERSION)-*.whl $(BUILD)/archive

test-install: lib $(ARCHIVE) man ## the installed library and the archive, used as their users do
	Tests/install/run.sh $(BUILD)

test-cpp: lib ## gradclip.hpp: gcc and clang, C++17 and C++20, with exceptions and without
	Tests/cpp/run.sh $(BUILD)

test-package: lib docs-swift ## the Swift module as a versioned dependency of another package, and its documentation
	bindings/swift/tests/run.sh $(BUILD)

docs-swift: ## build/docc: the documentation of the Swift module
	bindings/swift/docc.sh $(BUILD)
