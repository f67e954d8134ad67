"""The low-level module says what the header says, function by function and field by field."""

import ctypes
import inspect
import re
import subprocess
from pathlib import Path

import pytest
from conftest import CHECKOUT

from gradclip._native import errors, ffi

HEADER = (CHECKOUT / "include" / "gradclip.h").read_text()
CODE = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.S)
SOURCE = inspect.getsource(ffi)

POINTERS = {
    "int64_t *": ctypes.POINTER(ctypes.c_int64),
    "const int64_t *": ctypes.POINTER(ctypes.c_int64),
    "const gradclip_tensor *": ctypes.POINTER(ffi.gradclip_tensor),
    "const gradclip_options *": ctypes.POINTER(ffi.gradclip_options),
    "gradclip_options *": ctypes.POINTER(ffi.gradclip_options),
    "gradclip_result *": ctypes.POINTER(ffi.gradclip_result),
    "const gradclip_units *": ctypes.POINTER(ffi.gradclip_units),
    "gradclip_per_example_result *": ctypes.POINTER(ffi.gradclip_per_example_result),
    "const uint32_t *": ctypes.POINTER(ctypes.c_uint32),
    "gradclip_report *": ctypes.POINTER(ffi.gradclip_report),
    "gradclip_accumulator *": ctypes.c_void_p,
    "const gradclip_accumulator *": ctypes.c_void_p,
    "gradclip_accumulator **": ctypes.POINTER(ctypes.c_void_p),
    "const gradclip_chooser_options *": ctypes.POINTER(ffi.gradclip_chooser_options),
    "gradclip_chooser_options *": ctypes.POINTER(ffi.gradclip_chooser_options),
    "gradclip_decision *": ctypes.POINTER(ffi.gradclip_decision),
    "gradclip_chooser *": ctypes.c_void_p,
    "const gradclip_chooser *": ctypes.c_void_p,
    "gradclip_chooser **": ctypes.POINTER(ctypes.c_void_p),
    "gradclip_monitor *": ctypes.POINTER(ffi.gradclip_monitor),
    "const gradclip_result *": ctypes.POINTER(ffi.gradclip_result),
    "const gradclip_decision *": ctypes.POINTER(ffi.gradclip_decision),
    "gradclip_log_callback": ffi.gradclip_log_callback,
    "double *": ctypes.POINTER(ctypes.c_double),
    "const double *": ctypes.POINTER(ctypes.c_double),
    "size_t *": ctypes.POINTER(ctypes.c_size_t),
    "const void *": ctypes.c_void_p,
    "const char *": ctypes.c_char_p,
    "void *": ctypes.c_void_p,
    "void *const *": ctypes.c_void_p,
    "gradclip_tensor *": ctypes.POINTER(ffi.gradclip_tensor),
    "gradclip_dlpack_reader": ffi.gradclip_dlpack_reader,
}
VALUES = {
    "double": ctypes.c_double,
    "size_t": ctypes.c_size_t,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "int32_t": ctypes.c_int32,
    "gradclip_status": ctypes.c_int32,
    "void": None,
}


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


def parameter(text):
    """("double", "eps") of "double eps"."""
    kind, name = re.fullmatch(r"(.*?)(\w+)", one_line(text)).groups()
    return kind.strip(), name


def declarations():
    found = {}
    for text in re.findall(
        r"^(?:gradclip_status|uint32_t|void|const char \*)[^;{]*\);", CODE, re.M
    ):
        text = one_line(text)
        result, name, parameters = re.fullmatch(r"(.*?)(gradclip_\w+)\((.*)\);", text).groups()
        parameters = [] if parameters == "void" else parameters.split(",")
        found[name] = (text, result.strip(), [parameter(p) for p in parameters])
    return found


DECLARED = declarations()
# Those for one type of element are left out: those for all types do the same.
DECLARATIONS = {name: one for name, one in DECLARED.items() if not name.endswith(("_f32", "_f64"))}


def ctype(text):
    return POINTERS[text] if text in POINTERS else VALUES[text]


def test_every_function_of_the_header_is_declared():
    functions = re.sub(r"^typedef .*\(\*.*;", "", CODE, flags=re.M)
    assert len(DECLARED) == len(re.findall(r"\bgradclip_\w+\(", functions))
    assert {re.sub("_f(32|64)$", "", name) for name in DECLARED} == set(DECLARATIONS)
    assert set(ffi.FUNCTIONS) == set(DECLARATIONS)
    with pytest.raises(AttributeError, match="no attribute 'gradclip_clip'"):
        ffi.gradclip_clip  # noqa: B018


def test_every_name_that_the_package_uses_is_there():
    package = Path(ffi.__file__).parents[1]
    used = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r"\bffi\.(\w+)", path.read_text())
    }
    assert len(used) > 60
    assert used <= set(vars(ffi)) | set(ffi.FUNCTIONS)


@pytest.mark.parametrize("name", DECLARATIONS)
def test_function_has_the_headers_declaration_and_types(name):
    text, result, parameters = DECLARATIONS[name]
    function = getattr(ffi, name)
    assert one_line(text) in one_line(SOURCE)
    assert function.restype is ctype(result)
    assert list(function.argtypes) == [ctype(kind) for kind, _ in parameters]
    assert list(function.names) == [name for _, name in parameters]


def test_constants():
    constants = dict(re.findall(r"\b(GRADCLIP_\w+) = (-?\d+)u?\b", CODE))
    assert len(constants) >= 14
    for name, value in constants.items():
        assert getattr(ffi, name) == int(value), name
    assert ffi.GRADCLIP_NONE == ctypes.c_uint64(-1).value


STRUCTURES = re.findall(r"typedef struct (gradclip_\w+) \{", CODE)


def test_every_structure_of_the_header_is_declared():
    declared = {
        n for n, v in vars(ffi).items() if n.startswith("gradclip_") and hasattr(v, "_fields_")
    }
    assert declared == set(STRUCTURES)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_has_the_compilers_layout(name, tmp_path):
    structure = getattr(ffi, name)
    body = re.search(rf"typedef struct {name} \{{(.*?)\}} {name};", CODE, re.S).group(1)
    fields = [parameter(field) for field in body.split(";") if field.strip()]
    assert [(n, t) for n, t in structure._fields_] == [(n, ctype(k)) for k, n in fields]
    lines = "".join(
        f'printf("%zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));\n'
        for _, field in fields
    )
    (tmp_path / "layout.c").write_text(
        f"#include <stdio.h>\n#include <gradclip.h>\nint main(void) {{ {lines}"
        f'printf("%zu 0\\n", sizeof({name})); }}\n'
    )
    program = tmp_path / "layout"
    include = str(CHECKOUT / "include")
    subprocess.run(
        ["cc", "-I", include, str(tmp_path / "layout.c"), "-o", str(program)], check=True
    )
    printed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    expected = [
        f"{getattr(structure, field).offset} {getattr(structure, field).size}"
        for field, _ in structure._fields_
    ]
    assert printed.split("\n")[:-1] == [*expected, f"{ctypes.sizeof(structure)} 0"]


def test_defaults_are_the_librarys():
    options = ffi.gradclip_options()
    assert ffi.gradclip_options_init(options, ctypes.sizeof(options)) == 0
    parameters = inspect.signature(__import__("gradclip").clip_grad_norm_).parameters
    assert parameters["eps"].default == options.eps
    assert parameters["grad_scale"].default == options.grad_scale
    assert parameters["nonfinite"].default == "leave"
    assert options.nonfinite == ffi.GRADCLIP_NONFINITE_LEAVE
    assert options.struct_size == ctypes.sizeof(options)


def test_result_init():
    result = ffi.gradclip_result(total_norm=7.0)
    assert ffi.gradclip_result_init(result, ctypes.sizeof(result)) == 0
    assert result.struct_size == ctypes.sizeof(result) and result.total_norm == 0.0
    assert not result.tensor_norms


def test_number_of_threads():
    before = ffi.gradclip_get_num_threads()
    assert before >= 1
    ffi.gradclip_set_num_threads(3)
    assert ffi.gradclip_get_num_threads() == 3
    ffi.gradclip_set_num_threads(before)


def test_coefficient_and_scale():
    coef = ctypes.c_double()
    assert ffi.gradclip_clip_coef(1.0, 4.0, None, coef) == 0
    assert coef.value == 1.0 / (4.0 + 1e-6)
    grad = (ctypes.c_double * 2)(3.0, 4.0)
    data = ctypes.cast(grad, ctypes.c_void_p)
    tensor = ffi.gradclip_tensor(data, 2, ffi.GRADCLIP_F64)
    assert ffi.gradclip_scale(tensor, 1, 0.5, None) == 0
    assert list(grad) == [1.5, 2.0]


def test_statuses_and_errors():
    assert ffi.gradclip_status_string(ffi.GRADCLIP_ERROR_INVALID_ARGUMENT) == b"invalid argument"
    assert ffi.gradclip_clip_coef(-1.0, 1.0, None, ctypes.c_double()) < 0
    assert b"max_norm" in ffi.gradclip_last_error()
    for status, kind in (
        (-1, errors.InvalidArgumentError),
        (-2, errors.UnsupportedError),
        (-3, errors.OutOfMemoryError),
        (-4, errors.BadDataError),
    ):
        error = errors.error_for(status)
        assert type(error) is kind and "max_norm" in str(error) and error.status == status
    assert str(errors.error_for(-99)).startswith("status -99 (unknown status): max_norm")


def test_isa_is_one_of_the_headers():
    assert ffi.gradclip_isa() in (b"baseline", b"x86-64-v3", b"x86-64-v4", b"x86-64-v4-ifma", b"neon")
