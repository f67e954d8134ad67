#!/usr/bin/env python3
"""gate-messages.py BUILD_DIR: every function of gradclip.h that returns a status is called with every
argument wrong in turn. A call that is refused names that argument, as the header spells it, and the
value as it was given. What is taken in spite of it, or is called by another name, is listed below."""

import ctypes as c
import math
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = HERE.parent.parent / "include/gradclip.h"
library = c.CDLL(str(Path(sys.argv[1]) / "lib/libgradclip.so"))
library.gradclip_last_error.restype = c.c_char_p

# Pointers that may be NULL: what is not asked for, and what has a default.
MAY_BE_NULL = {
    "options": {"gradclip_options_init", "gradclip_chooser_options_init", "gradclip_chooser_create"},
    "result": {"gradclip_get_total_norm_f32", "gradclip_get_total_norm_f64", "gradclip_get_total_norm",
               "gradclip_defer_clip_f32", "gradclip_defer_clip_f64", "gradclip_defer_clip", "gradclip_result_init",
               "gradclip_accumulator_finish", "gradclip_monitor_log", "gradclip_chooser_feed_tensor",
               "gradclip_clip_per_example"},
    "decision": {"gradclip_decision_init", "gradclip_chooser_feed", "gradclip_chooser_feed_tensors"},
    "loss": (), "learning_rate": (), "clip_coefs": (), "group_norms": (), "norms": (), "factors": (), "sums": (),
}  # fmt: skip  (the functions after a name are those where it must not be NULL)
ALSO_NULL = {("gradclip_accumulator_to_words", "accumulator"), ("gradclip_accumulator_export", "bytes"),
             ("gradclip_chooser_export", "bytes")}  # fmt: skip
# Numbers that are in range although they look wrong.
TAKEN = {
    ("norm_type", -1), ("factor", -1), ("unclipped", -1), ("total_norm", math.nan, "gradclip_chooser_feed"),
    ("size", 2**64 - 1, "gradclip_accumulator_export"), ("size", 2**64 - 1, "gradclip_chooser_export"),
}  # fmt: skip
# An argument that is found wrong through another one, whose name is then told.
OTHER_NAME = {("gradclip_accumulator_import", "size"): "bytes", ("gradclip_chooser_import", "size"): "bytes"}


def prototypes():
    plain = subprocess.run(["gcc", "-E", "-P", str(HEADER)], capture_output=True, text=True, check=True).stdout
    for name, arguments in re.findall(r"gradclip_status (gradclip_\w+)\(([^;]*)\);", plain):
        split = [re.fullmatch(r"(.*?)(\w+)", a.strip(), re.S) for a in arguments.split(",")]
        yield name, [(" ".join(m[1].split()).replace("* ", "*"), m[2]) for m in split]


class Tensor(c.Structure):
    _fields_ = [("data", c.c_void_p), ("length", c.c_uint64), ("dtype", c.c_uint32), ("flags", c.c_uint32),
                ("device_type", c.c_int32), ("device_id", c.c_int32)]  # fmt: skip


class World:
    """Valid arguments by name, fresh for each call."""

    def __init__(self, function):
        self.kept = []
        self.function = function
        self.wide = function.endswith("_f64")
        self.chooser = self.made("gradclip_chooser", 3 if "feed_tensor" in function else 1)
        accumulators = []
        for _ in range(2):
            handle = c.c_void_p()
            assert library.gradclip_accumulator_create(c.c_double(2), None, c.byref(handle)) == 0
            accumulators.append(handle)
        self.accumulators = accumulators

    def keep(self, value):
        self.kept.append(value)
        return value

    def made(self, what, kind):
        options = self.keep(c.create_string_buffer(96))
        assert library.gradclip_chooser_options_init(options, c.c_size_t(96), c.c_uint32(kind)) == 0
        handle = c.c_void_p()
        assert library.gradclip_chooser_create(options, c.byref(handle)) == 0
        return handle

    def struct(self, name, size):
        room = self.keep(c.create_string_buffer(size))
        init = getattr(library, f"{name}_init", None)
        if init is None:
            c.memmove(room, c.byref(c.c_uint64(size)), 8)
        elif name == "gradclip_chooser_options":
            init(room, c.c_size_t(size), c.c_uint32(1))
        else:
            init(room, c.c_size_t(size))
        return room

    def tensor(self, length=4, dtype=1):
        data = self.keep((c.c_double * 8)())
        return self.keep(Tensor(c.cast(data, c.c_void_p), length, dtype, 0, 0, 0))

    def argument(self, kind, name):
        numbers = self.keep((c.c_double * 64)(*[1.0] * 64))
        if kind in ("double",):
            return c.c_double({"quantile": 0.5}.get(name, 1.0))
        if kind == "size_t":
            sizes = {"struct_size": 64, "count": 1, "length": 4, "report_size": 80, "examples": 2, "size": 160}
            return c.c_size_t(sizes.get(name, 1))
        if kind == "uint32_t":
            return c.c_uint32({"kind": 1}.get(name, 0))
        if kind == "uint64_t":
            return c.c_uint64(1)
        if kind == "gradclip_dlpack_reader":
            self.reader = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p)(lambda *_: -1)
            return self.reader
        if "*const *" in kind and kind.startswith(("float", "double")):
            return self.keep((c.c_void_p * 1)(c.addressof(numbers)))
        if kind == "void *const *":
            return self.keep((c.c_void_p * 1)(1))
        if kind.startswith("const size_t *"):
            return self.keep((c.c_size_t * 1)(4))
        if "gradclip_tensor *" in kind:
            return c.byref(self.tensor(2 if name == "sums" else 4))
        if "gradclip_units *" in kind:
            return self.keep((c.c_uint64 * 3)(1, 4, 1))
        if "uint32_t *" in kind:
            return self.keep((c.c_uint32 * 1)(0))
        if kind == "gradclip_accumulator **" or kind == "gradclip_chooser **":
            return c.byref(self.keep(c.c_void_p()))
        if "gradclip_accumulator *" in kind:
            return self.accumulators[name == "other"]
        if "gradclip_chooser *" in kind:
            return self.chooser
        if "gradclip_monitor *" in kind:
            room = self.struct("gradclip_monitor", 40)
            self.callback = c.CFUNCTYPE(None, c.c_void_p, c.c_uint32, c.c_char_p)(lambda *_: None)
            c.memmove(c.addressof(room) + 16, c.byref(self.callback), 8)
            return room
        if "gradclip_result *" in kind:
            room = self.struct("gradclip_result", 72)
            if kind.startswith("const"):  # of a call, for the log
                assert library.gradclip_get_total_norm(c.byref(self.tensor()), c.c_size_t(1), c.c_double(2), None, room) == 0
            return room
        for struct, size in (("gradclip_options", 40), ("gradclip_chooser_options", 96), ("gradclip_decision", 72),
                             ("gradclip_per_example_result", 48)):  # fmt: skip
            if f"{struct} *" in kind:
                return self.struct(struct, size)
        if "gradclip_report *" in kind:
            return self.keep(c.create_string_buffer(256))
        if kind == "int64_t *" or kind == "const int64_t *":
            words = self.keep((c.c_int64 * 24)())
            library.gradclip_accumulator_to_words(self.accumulators[0], c.c_double(1), words)
            return words
        if kind == "size_t *":
            return c.byref(self.keep(c.c_size_t(4096)))
        if kind in ("void *", "const void *"):
            room, size = self.keep(c.create_string_buffer(4096)), c.c_size_t(4096)
            if kind.startswith("const"):
                export = library.gradclip_chooser_export if "chooser" in self.function else library.gradclip_accumulator_export
                export(self.chooser if "chooser" in self.function else self.accumulators[0], room, c.byref(size))
            return room
        if "double *" in kind or "float *" in kind:
            return numbers
        raise SystemExit(f"gate-messages: what is a {kind!r}? ({self.function}, {name})")

    def end(self):
        library.gradclip_chooser_free(self.chooser)
        for handle in self.accumulators:
            library.gradclip_accumulator_free(handle)


def wrong_values(kind):
    if kind == "double":
        return [(c.c_double(math.nan), math.nan, "nan"), (c.c_double(-1), -1, "-1")]
    if kind in ("size_t", "uint64_t"):
        return [(c.c_uint64(2**64 - 1), 2**64 - 1, "18446744073709551615")]
    if kind == "uint32_t":
        return [(c.c_uint32(2**32 - 1), 2**32 - 1, "4294967295")]
    return [(None, None, "NULL")]


def is_taken(function, name, value):
    if value is None:
        must_not = MAY_BE_NULL.get(name)
        if must_not is not None:
            return function not in must_not
        return (function, name) in ALSO_NULL
    if (function, name) == ("gradclip_adaptive_clip_grad", "norm_type"):
        return False  # orders above 0 only
    for known, number, *where in TAKEN:
        same = number == value or number != number and value != value
        if known == name and same and function in (where or [function]):
            return True
    return False


problems, refused, taken = [], 0, 0
for function, arguments in prototypes():
    for place, (kind, name) in enumerate(arguments):
        for wrong, value, shown in wrong_values(kind):
            world = World(function)
            given = [world.argument(k, n) for k, n in arguments]
            if function.endswith("_init"):
                for i, (k, n) in enumerate(arguments):
                    if n == "struct_size":
                        given[i] = c.c_size_t(8)
            given[place] = wrong
            status = getattr(library, function)(*given)
            said = library.gradclip_last_error().decode()
            world.end()
            call = f"{function}({name} = {shown})"
            if is_taken(function, name, value):
                taken += 1
                if status < 0:
                    problems.append(f"{call} is refused: {said}")
                continue
            if status >= 0:
                problems.append(f"{call} is taken: {status}")
                continue
            refused += 1
            expected = OTHER_NAME.get((function, name), name)
            if not re.match(rf"{expected}(\W|$)", said):
                problems.append(f"{call}: the message does not begin with {expected}: {said}")
            elif expected == name and f"(got {shown})" not in said:
                problems.append(f"{call}: the message does not have the value: {said}")

for problem in problems:
    print(f"gate-messages: {problem}", file=sys.stderr)
if problems or refused < 100:
    sys.exit(1)
print(f"ok: {refused} calls with one argument wrong name it and its value; {taken} are taken, as listed")
