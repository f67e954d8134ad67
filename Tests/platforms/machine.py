"""A processor of arm64 in unicorn, and in its memory a program of macOS with its libraries.

As macOS's loader does, a Machine maps the segments of Mach-O images, rebases and binds them, and calls their
initializers. A name that no image exports is libSystem's: its address is an instruction that calls a Python
function (libsystem.py); every other instruction is emulated. Threads take turns: one goes on until it waits.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import lief
import unicorn
from unicorn import arm64_const as arm64

lief.logging.disable()
PAGE = 0x4000
STUBS, STACKS, HEAP, HEAP_SIZE = 0x1000_0000, 0x2000_0000, 0x4000_0000, 0x4000_0000
IMAGES = 0x1_0000_0000
STACK = 0x10_0000
REGISTERS = {
    name: getattr(arm64, f"UC_ARM64_REG_{name}") for name in ["PC", "SP", *(f"{kind}{i}" for kind in "XD" for i in range(31))]
}


class Ended(Exception):
    """The program ended, with this status."""


class Waiting(Exception):
    """The calling thread cannot go on; the call is made again when its turn comes."""


class Again(Exception):
    """The processor goes on at this address instead of returning."""


class Thread:
    def __init__(self, number: int, context: object) -> None:
        self.number, self.context = number, context
        self.variables: dict[int, int] = {}  # where those of a _Thread_local's image lie
        self.woken: set[int] = set()  # conditions that were signalled while it waited
        self.waits: int | None = None  # for this condition
        self.ended = False


Function = Callable[["Machine"], "int | float | None"]


class Machine:
    """A processor, its memory, and the program in it. `functions` are libSystem's, by name."""

    def __init__(self, program: Path, arguments: list[str], functions: dict[str, Function]) -> None:
        self.functions = functions
        self.cpu = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.cpu.ctl_set_cpu_model(arm64.UC_CPU_ARM64_MAX)
        self.cpu.mem_map(STUBS, 0x10000)
        self.cpu.mem_write(STUBS, struct.pack("<II", 0xD4000001, 0xD65F03C0) * 0x2000)  # svc 0; ret
        self.cpu.mem_map(STACKS, HEAP - STACKS, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.cpu.mem_map(HEAP, HEAP_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.cpu.hook_add(unicorn.UC_HOOK_INTR, self.call)
        self.heap, self.sizes, self.free_blocks = HEAP, {}, {}
        self.stubs: list[str] = []
        self.exports: dict[str, int] = {}
        self.tls: dict[int, bytes] = {}
        self.initializers: list[int] = []
        self.at_exit: list[tuple[int, int]] = []
        self.locks: dict[int, Thread] = {}
        self.strings: dict[str, int] = {}
        self.data = {"___stderrp": self.word(2), "___stdoutp": self.word(1), "___stack_chk_guard": self.word(0x5EED)}
        self.next_image = IMAGES
        self.out = {1: sys.stdout.buffer, 2: sys.stderr.buffer}
        entry = self.load(program)
        words = [self.text(word) for word in [str(program), *arguments]]
        argv = self.allocate(8 * (len(words) + 2))
        self.cpu.mem_write(argv, struct.pack(f"<{len(words) + 1}Q", *words, 0))
        self.thread = self.new_thread()
        self.threads = [self.thread]
        # Initializers, then main(), then exit() with what it returned.
        self.to_call = [(address, (len(words), argv, argv + 8 * len(words), 0)) for address in [*self.initializers, entry]]
        self.set("PC", self.stub("__start"))

    # ------------------------------------------------------------- memory --

    def get(self, register: str) -> int:
        return int(self.cpu.reg_read(REGISTERS[register]))

    def set(self, register: str, value: int) -> None:
        self.cpu.reg_write(REGISTERS[register], value & (2**64 - 1))

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.cpu.mem_read(address, size))

    def write(self, address: int, data: bytes) -> None:
        self.cpu.mem_write(address, data)

    def number(self, address: int) -> int:
        return int(struct.unpack("<Q", self.read(address, 8))[0])

    def string(self, address: int) -> bytes:
        text = b""
        while b"\0" not in text:
            text += self.read(address + len(text), 64 - address % 64 if not text else 64)
        return text.split(b"\0", 1)[0]

    def allocate(self, size: int, alignment: int = 16) -> int:
        size = max((size + 63) // 64 * 64, 64)
        alignment = max(alignment, 64)
        blocks = self.free_blocks.get((size, alignment))
        if blocks:
            return int(blocks.pop())
        address = (self.heap + alignment - 1) // alignment * alignment
        if size > HEAP + HEAP_SIZE - address:
            return 0
        self.heap = address + size
        self.sizes[address] = (size, alignment)
        return address

    def release(self, address: int) -> None:
        if address:
            self.free_blocks.setdefault(self.sizes[address], []).append(address)

    def word(self, value: int) -> int:
        address = self.allocate(8)
        self.write(address, struct.pack("<Q", value))
        return address

    def text(self, text: str) -> int:
        if text not in self.strings:
            self.strings[text] = self.allocate(len(text) + 1)
            self.write(self.strings[text], text.encode() + b"\0")
        return self.strings[text]

    # -------------------------------------------------------------- images --

    def load(self, path: Path) -> int:
        """Maps an image and the libraries it needs; its entry point, 0 if it has none."""
        image = lief.MachO.parse(str(path)).at(0)
        for library in image.libraries:
            if library.command != lief.MachO.LoadCommand.TYPE.ID_DYLIB and library.name.startswith("@rpath/"):
                self.load(path.parent / library.name.removeprefix("@rpath/"))
        base = image.imagebase
        slide = self.next_image - base
        pages = []
        for segment in image.segments:
            if segment.name in ("__PAGEZERO", "__LINKEDIT") or segment.virtual_size == 0:
                continue
            size = (segment.virtual_size + PAGE - 1) // PAGE * PAGE
            self.cpu.mem_map(segment.virtual_address + slide, size)
            self.write(segment.virtual_address + slide, bytes(segment.content))
            self.next_image = max(self.next_image, segment.virtual_address + slide + size)
            pages.append((segment.virtual_address + slide, size, segment.init_protection))
        self.next_image = (self.next_image + 0xFFFFFF) // 0x1000000 * 0x1000000
        for fixup in image.relocations:
            # Without chains of them, what stands there is the address that the image asks for.
            target = getattr(fixup, "target", None)
            where = fixup.address + slide
            self.write(where, struct.pack("<Q", (self.number(where) if target is None else target) + slide))
        for binding in image.bindings:
            # A weak definition is the image's own where no image before it exports one of that name.
            weak = getattr(binding, "binding_class", None) == lief.MachO.DyldBindingInfo.CLASS.WEAK
            if binding.has_symbol and not (weak and binding.symbol.name not in self.exports):
                address = self.resolve(binding.symbol.name) + binding.addend
                self.write(binding.address + slide, struct.pack("<Q", address))
        for symbol in image.exported_symbols:
            self.exports[symbol.name] = symbol.value + slide
        for section in image.sections:
            start = section.virtual_address + slide
            if section.type == lief.MachO.Section.TYPE.MOD_INIT_FUNC_POINTERS:
                self.initializers += struct.unpack(f"<{section.size // 8}Q", self.read(start, section.size))
            elif section.type == lief.MachO.Section.TYPE.INIT_FUNC_OFFSETS:
                self.initializers += [
                    base + slide + n for n in struct.unpack(f"<{section.size // 4}I", self.read(start, section.size))
                ]
        # What a _Thread_local starts as: the template of this image's, which all its descriptors share.
        kinds = (lief.MachO.Section.TYPE.THREAD_LOCAL_REGULAR, lief.MachO.Section.TYPE.THREAD_LOCAL_ZEROFILL)
        parts = sorted((part for part in image.sections if part.type in kinds), key=lambda part: part.virtual_address)
        template = b""
        for part in parts:
            template += bytes(part.virtual_address - parts[0].virtual_address - len(template))
            template += bytes(part.content) if part.type == kinds[0] else bytes(part.size)
        for section in image.sections:
            if section.type == lief.MachO.Section.TYPE.THREAD_LOCAL_VARIABLES:
                for descriptor in range(section.virtual_address + slide, section.virtual_address + slide + section.size, 24):
                    self.write(descriptor + 8, struct.pack("<Q", base + slide))
                self.tls[base + slide] = template
        for address, size, protection in pages:
            self.cpu.mem_protect(address, size, int(protection))
        return int(image.entrypoint) + slide if image.has_main_command else 0

    def resolve(self, name: str) -> int:
        if name in self.exports:
            return self.exports[name]
        return self.data[name] if name in self.data else self.stub(name)

    def stub(self, name: str) -> int:
        """The address of an instruction that calls the Python function for this name."""
        if name not in self.stubs:
            self.stubs.append(name)
        return STUBS + 8 * self.stubs.index(name)

    # ------------------------------------------------------------- running --

    def new_thread(self) -> Thread:
        number = len(getattr(self, "threads", [])) + 1
        self.set("SP", STACKS + number * STACK - 64)
        return Thread(number, self.cpu.context_save())

    def turn(self, thread: Thread) -> None:
        """Goes on with another thread."""
        self.thread.context = self.cpu.context_save()
        self.thread = thread
        self.cpu.context_restore(thread.context)

    def next_turn(self) -> None:
        """The thread after this one that is not known to wait."""
        place = self.threads.index(self.thread)
        for thread in self.threads[place + 1 :] + self.threads[: place + 1]:
            if not thread.ended and (thread.waits is None or thread.waits in thread.woken):
                self.turn(thread)
                return
        raise SystemExit("macos.py: every thread waits for another one")

    def run(self) -> int:
        idle = 0
        while True:
            self.outcome: BaseException | None = None
            try:
                self.cpu.emu_start(self.get("PC"), 0)
            except unicorn.UcError as error:
                raise SystemExit(f"macos.py: {error} at {self.get('PC'):#x}, called from {self.get('X30'):#x}") from None
            if isinstance(self.outcome, Ended):
                for file in self.out.values():
                    file.flush()
                return int(self.outcome.args[0])
            if isinstance(self.outcome, Waiting):
                self.set("PC", self.called)
                idle += 1
                if idle > 2 * len(self.threads):
                    raise SystemExit("macos.py: every thread waits for another one")
                self.next_turn()
            elif isinstance(self.outcome, Again):
                idle = 0
                self.set("PC", self.outcome.args[0])
            elif self.outcome:
                raise self.outcome

    def call(self, *_: object) -> None:
        """A stub was called: its function, and then its `ret`; what that cannot say is left to run()."""
        self.called = self.get("PC") - 4
        name = self.stubs[(self.called - STUBS) // 8]
        try:
            if name not in self.functions:
                raise SystemExit(f"macos.py: there is no {name.removeprefix('_')}() here")
            value = self.functions[name](self)
        except BaseException as outcome:
            self.outcome = outcome
            self.cpu.emu_stop()
            return
        if isinstance(value, float):
            self.set("D0", struct.unpack("<Q", struct.pack("<d", value))[0])
        elif value is not None:
            self.set("X0", value)

    def argument(self, index: int) -> int:
        return self.get("X%d" % index)

    def double(self, index: int) -> float:
        return float(struct.unpack("<d", struct.pack("<Q", self.get(f"D{index}")))[0])
