"""What programs ask of macOS's libSystem, as far as tests need it: a function of Python for each, which takes the
machine, finds the arguments in its registers, and returns what the function returns. Its name is `lib` and the
symbol's, which begins with an underscore.
"""

from __future__ import annotations

import math
import re
import struct
import time

from machine import Again, Ended, Function, Machine, Waiting

ENOMEM = 12


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def formatted(m: Machine, text: int) -> bytes:
    """printf's: all arguments behind the named ones lie on the stack, 8 bytes each."""
    place = m.get("SP")

    def take() -> int:
        nonlocal place
        place += 8
        return m.number(place - 8)

    def one(match: re.Match[bytes]) -> bytes:
        flags, width, precision, length, kind = (group.decode() for group in match.groups(b""))
        if kind == "%":
            return b"%"
        if "*" in width:
            width = str(signed(take(), 32))
        if "*" in precision:
            precision = f".{signed(take(), 32)}"
        value = take()
        rule = f"%{flags}{width}{precision}"
        if kind == "s":
            return (rule + "s").encode() % m.string(value)
        if kind == "p":
            return hex(value).encode()
        if kind in "eEfFgGaA":
            number = struct.unpack("<d", struct.pack("<Q", value))[0]
            if kind in "aA":
                return str(number.hex()).encode()
            return (rule + kind).encode() % number
        bits = 64 if length in ("l", "ll", "z", "j", "t") else {"h": 16, "hh": 8}.get(length, 32)
        if kind in "di":
            return (rule + "d").encode() % signed(value, bits)
        if kind == "c":
            return bytes([value & 255])
        return (rule + {"u": "d"}.get(kind, kind)).encode() % (value & ((1 << bits) - 1))

    return re.sub(rb"%([-+ #0]*)(\d+|\*)?(\.\d+|\.\*|\.)?(hh|h|ll|l|z|j|t)?([a-zA-Z%])", one, m.string(text))


def lib__start(m: Machine) -> int:
    if len(m.to_call) == 0:
        return lib_exit(m)
    address, arguments = m.to_call.pop(0)
    for i, value in enumerate(arguments):
        m.set(f"X{i}", value)
    m.set("X30", m.stub("__start"))
    raise Again(address)


def lib_exit(m: Machine) -> int:
    code = m.argument(0)
    if m.at_exit:
        m.status = getattr(m, "status", code)
        function, argument = m.at_exit.pop()
        m.set("X0", argument)
        m.set("X30", m.stub("_exit"))
        raise Again(function)
    raise Ended(getattr(m, "status", code) & 255)


def lib__exit(m: Machine) -> int:
    raise Ended(m.argument(0) & 255)


def lib_abort(m: Machine) -> int:
    raise SystemExit("macos.py: abort() was called")


def lib___stack_chk_fail(m: Machine) -> int:
    raise SystemExit("macos.py: the stack was overwritten")


def lib___cxa_atexit(m: Machine) -> int:
    m.at_exit.append((m.argument(0), m.argument(1)))
    return 0


def lib_atexit(m: Machine) -> int:
    m.at_exit.append((m.argument(0), 0))
    return 0


def lib__tlv_bootstrap(m: Machine) -> int:
    """A variable of this thread: its descriptor has the function, the image, and the offset."""
    image, offset = m.number(m.argument(0) + 8), m.number(m.argument(0) + 16)
    if image not in m.thread.variables:
        m.thread.variables[image] = m.allocate(len(m.tls[image]))
        m.write(m.thread.variables[image], m.tls[image])
    return m.thread.variables[image] + offset


# Memory and text.


def lib_malloc(m: Machine) -> int:
    address = m.allocate(m.argument(0))
    if address:
        m.write(address, b"\xa5" * min(m.argument(0), 1 << 20))  # what was there before is nobody's zero
    return address


def lib_calloc(m: Machine) -> int:
    size = m.argument(0) * m.argument(1)
    address = m.allocate(size)
    if address:
        m.write(address, bytes(size))
    return address


def lib_realloc(m: Machine) -> int:
    old, size = m.argument(0), m.argument(1)
    new = m.allocate(size)
    if new and old:
        m.write(new, m.read(old, min(size, m.sizes[old][0])))
        m.release(old)
    return new


def lib_free(m: Machine) -> None:
    m.release(m.argument(0))


def lib_posix_memalign(m: Machine) -> int:
    address = m.allocate(m.argument(2), m.argument(1))
    if not address:
        return ENOMEM
    m.write(m.argument(0), struct.pack("<Q", address))
    return 0


def lib_memcpy(m: Machine) -> None:
    if m.argument(2):
        m.write(m.argument(0), m.read(m.argument(1), m.argument(2)))


lib_memmove = lib_memcpy


def lib___memcpy_chk(m: Machine) -> None:
    lib_memcpy(m)


def lib_memset(m: Machine) -> None:
    m.write(m.argument(0), bytes([m.argument(1) & 255]) * m.argument(2))


def lib_bzero(m: Machine) -> None:
    m.write(m.argument(0), bytes(m.argument(1)))


def lib_memset_pattern16(m: Machine) -> None:
    size = m.argument(2)
    m.write(m.argument(0), (m.read(m.argument(1), 16) * (size // 16 + 1))[:size])


def order(a: bytes, b: bytes) -> int:
    return (a > b) - (a < b)


def lib_memcmp(m: Machine) -> int:
    size = m.argument(2)
    return order(m.read(m.argument(0), size), m.read(m.argument(1), size)) if size else 0


def lib_strcmp(m: Machine) -> int:
    return order(m.string(m.argument(0)), m.string(m.argument(1)))


def lib_strncmp(m: Machine) -> int:
    size = m.argument(2)
    return order(m.string(m.argument(0))[:size], m.string(m.argument(1))[:size])


def lib_strlen(m: Machine) -> int:
    return len(m.string(m.argument(0)))


def lib_strstr(m: Machine) -> int:
    place = m.string(m.argument(0)).find(m.string(m.argument(1)))
    return m.argument(0) + place if place >= 0 else 0


def lib_strchr(m: Machine) -> int:
    place = (m.string(m.argument(0)) + b"\0").find(bytes([m.argument(1) & 255]))
    return m.argument(0) + place if place >= 0 else 0


def lib_strcpy(m: Machine) -> None:
    m.write(m.argument(0), m.string(m.argument(1)) + b"\0")


def lib_strncpy(m: Machine) -> None:
    size = m.argument(2)
    m.write(m.argument(0), m.string(m.argument(1))[:size].ljust(size, b"\0"))


def lib_strtod(m: Machine) -> float:
    text = m.string(m.argument(0)).decode()
    match = re.match(r"\s*[-+]?(?:nan|inf(?:inity)?|0x[0-9a-f.]+(?:p[-+]?\d+)?|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)", text, re.I)
    if m.argument(1):
        m.write(m.argument(1), struct.pack("<Q", m.argument(0) + (match.end() if match else 0)))
    if not match:
        return 0.0
    return float.fromhex(match[0]) if "x" in match[0].lower() else float(match[0])


def lib_localeconv(m: Machine) -> int:
    return m.word(m.text("."))


def lib_getenv(m: Machine) -> int:
    return 0


# Output.


def put(m: Machine, file: int, data: bytes) -> int:
    m.out[file].write(data)
    return len(data)


def lib_printf(m: Machine) -> int:
    return put(m, 1, formatted(m, m.argument(0)))


def lib_puts(m: Machine) -> int:
    return put(m, 1, m.string(m.argument(0)) + b"\n")


def lib_putchar(m: Machine) -> int:
    put(m, 1, bytes([m.argument(0) & 255]))
    return m.argument(0)


def lib_fprintf(m: Machine) -> int:
    return put(m, m.argument(0), formatted(m, m.argument(1)))


def lib_fputc(m: Machine) -> int:
    put(m, m.argument(1), bytes([m.argument(0) & 255]))
    return m.argument(0)


def lib_fputs(m: Machine) -> int:
    return put(m, m.argument(1), m.string(m.argument(0)))


def lib_fwrite(m: Machine) -> int:
    put(m, m.argument(3), m.read(m.argument(0), m.argument(1) * m.argument(2)))
    return m.argument(2)


def lib_fflush(m: Machine) -> int:
    return 0


def lib_snprintf(m: Machine) -> int:
    text = formatted(m, m.argument(2))
    if m.argument(1):
        m.write(m.argument(0), text[: m.argument(1) - 1] + b"\0")
    return len(text)


# The system, and mathematics that only tests ask for.


def lib_sysctlbyname(m: Machine) -> int:
    if m.string(m.argument(0)) != b"hw.logicalcpu":
        return -1
    m.write(m.argument(1), struct.pack("<i", 4))
    return 0


def lib_clock_gettime(m: Machine) -> int:
    m.write(m.argument(1), struct.pack("<QQ", *divmod(time.monotonic_ns(), 10**9)))
    return 0


def lib_arc4random_buf(m: Machine) -> None:
    m.write(m.argument(0), bytes(i * 37 % 251 for i in range(m.argument(1))))


def lib_ldexp(m: Machine) -> float:
    try:
        return math.ldexp(m.double(0), signed(m.argument(0), 32))
    except OverflowError:
        return math.copysign(math.inf, m.double(0))


def lib_nextafter(m: Machine) -> float:
    return math.nextafter(m.double(0), m.double(1))


# Threads.


def lib_pthread_create(m: Machine) -> int:
    handle, body, context = m.argument(0), m.argument(2), m.argument(3)
    creator = m.thread
    before = m.cpu.context_save()
    thread = m.new_thread()
    m.set("PC", body)
    m.set("X0", context)
    m.set("X30", m.stub("__thread_end"))
    thread.context = m.cpu.context_save()
    m.threads.append(thread)
    m.cpu.context_restore(before)
    m.thread = creator
    m.write(handle, struct.pack("<Q", thread.number))
    return 0


def lib__thread_end(m: Machine) -> int:
    m.thread.ended = True
    m.next_turn()
    raise Again(m.get("PC"))


def lib_pthread_join(m: Machine) -> int:
    if not m.threads[m.argument(0) - 1].ended:
        raise Waiting
    return 0


def lib_pthread_mutex_lock(m: Machine) -> int:
    if m.argument(0) in m.locks:
        raise Waiting
    m.locks[m.argument(0)] = m.thread
    return 0


def lib_pthread_mutex_unlock(m: Machine) -> int:
    if m.locks.pop(m.argument(0), None) is not m.thread:
        raise SystemExit("macos.py: a thread unlocks what it has not locked")
    return 0


def lib_pthread_cond_wait(m: Machine) -> int:
    condition, lock = m.argument(0), m.argument(1)
    if m.thread.waits is None:
        if m.locks.pop(lock, None) is not m.thread:
            raise SystemExit("macos.py: a thread waits without the lock")
        m.thread.waits = condition
        raise Waiting
    if condition not in m.thread.woken or lock in m.locks:
        raise Waiting
    m.locks[lock] = m.thread
    m.thread.waits = None
    m.thread.woken.clear()
    return 0


def wake(m: Machine, most: int) -> int:
    for thread in m.threads:
        if thread.waits == m.argument(0) and not thread.woken and most:
            thread.woken.add(m.argument(0))
            most -= 1
    return 0


def lib_pthread_cond_broadcast(m: Machine) -> int:
    return wake(m, -1)


def lib_pthread_cond_signal(m: Machine) -> int:
    return wake(m, 1)


def nothing(m: Machine) -> int:
    return 0


lib_pthread_attr_init = lib_pthread_attr_destroy = lib_pthread_attr_setstacksize = nothing
lib_pthread_sigmask = lib_pthread_setcancelstate = lib_pthread_atfork = nothing


FUNCTIONS: dict[str, Function] = {name.removeprefix("lib"): value for name, value in globals().items() if name.startswith("lib_")}
