#!/usr/bin/env python3
"""No function outside the v3 and v4 kernels has an instruction that an x86-64
without AVX lacks, no v3 kernel has one of AVX-512, and of all v4 kernels only the one that is for AVX-512 IFMA has those
of that.

An instruction is judged by its bytes: in 64-bit mode C4 and C5 begin a VEX
encoding (AVX, AVX2, FMA, BMI) and 62 an EVEX one (AVX-512). Instructions past
SSE2 that have neither encoding are judged by name.
"""

import re
import sys
from collections import Counter
from pathlib import Path

from disassembly import instructions, unstripped

PREFIXES = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x67, 0xF0}  # may stand before VEX or EVEX
# tzcnt is not among them: an old processor runs it as bsf, which differs for 0
# only; compilers emit `rep bsf` on purpose where 0 cannot occur.
PAST_SSE2 = re.compile(
    r"^(popcnt|lzcnt|movbe|crc32|adcx|adox|"
    r"addsub|hadd|hsub|lddqu|movddup|movshdup|movsldup|"  # SSE3
    r"pabs|palignr|phadd|phsub|pmaddubs|pmulhrs|pshufb|psign|"  # SSSE3
    r"blend|pblend|dpp|extractps|insertps|movntdqa|mpsadbw|packusdw|pcmpeqq|pextr[bdq]|phminpos|pinsr[bdq]|"
    r"pmaxs[bd]|pmaxu[dw]|pmins[bd]|pminu[dw]|pmovsx|pmovzx|pmuldq|pmulld|ptest|round|"  # SSE4.1
    r"pcmp[ei]str|pcmpgtq|aes|pclmul)"  # SSE4.2
)
IFMA = "vpmadd52"
FOR_IFMA = "sumSquaresInFixedPoint"


def level_of(symbol):
    if "GradClipKernelsX86v4" in symbol or "x86_64_v4" in symbol:
        return "v4"
    if "GradClipKernelsX86v3" in symbol or "x86_64_v3" in symbol:
        return "v3"
    return "baseline"


def kind_of(code, mnemonic):
    at = 0
    while at < len(code) and code[at] in PREFIXES:
        at += 1
    if at < len(code) and code[at] in (0xC4, 0xC5):
        return "VEX"
    if at < len(code) and code[at] == 0x62:
        return "EVEX"
    return "past SSE2" if PAST_SSE2.match(mnemonic) else "plain"


def check(library):
    seen, wrong = Counter(), []
    for symbol, code, name, line in instructions(library):
        kind = kind_of(code, name)
        level = level_of(symbol)
        seen[level, kind] += 1
        if name.startswith(IFMA):
            seen["ifma", ""] += 1
            if level != "v4" or FOR_IFMA not in symbol:
                wrong.append(f"IFMA in {symbol}: {line}")
        if level == "baseline" and kind != "plain" or level == "v3" and kind == "EVEX":
            wrong.append(f"{kind} in {symbol}: {line}")
    for text in wrong[:20]:
        print(text, file=sys.stderr)
    if wrong:
        sys.exit(f"gate-isa: {len(wrong)} instructions that the level lacks in {library}")
    # The gate must have something to see: each level uses what it is made for.
    if not (seen["baseline", "plain"] and seen["v3", "VEX"] and seen["v4", "EVEX"] and seen["ifma", ""]):
        sys.exit(f"gate-isa: a level is missing in {library}: {dict(seen)}")
    ifma = seen["ifma", ""]
    total = {level: sum(n for key, n in seen.items() if key[0] == level) for level in ("baseline", "v3", "v4")}
    print(
        f"ok: {library.name}: no AVX in {total['baseline']} instructions outside the kernels of v3 ({total['v3']}, "
        f"none of AVX-512) and v4 ({total['v4']}, {ifma} of IFMA, all in {FOR_IFMA})"
    )


def main():
    build = Path(sys.argv[1])
    check(unstripped(build))
    check(build / "lib" / "libgradclip.a")


if __name__ == "__main__":
    main()
