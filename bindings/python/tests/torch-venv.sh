# To be sourced, with $package and $build set: makes the virtual environment $venv with torch
# in $build (1 GB, kept), and the function pip. It is venv-torch, or that of $environment. TORCH
# names another version for pip (TORCH=torch==2.6.*). Without it the wheel without CUDA is taken
# if pip's sources have it, otherwise whatever torch they have. shellcheck shell=sh
GRADCLIP_PREBUILT=$(readlink -f "$build/lib/libgradclip.so")
export GRADCLIP_PREBUILT

venv=$build/venv-${environment:-torch}
if ! [ -x "$venv/bin/python" ]; then
    echo "making an environment with torch in $venv (about 1 GB)"
    "${PYTHON:-python3}" -m venv "$venv"
fi
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null || [ -n "${TORCH:-}" ]; then
    pip install "${TORCH:-torch==2.13.0+cpu}" || pip install "${TORCH:-torch}"
fi
pip install --force-reinstall --no-deps "$package"
