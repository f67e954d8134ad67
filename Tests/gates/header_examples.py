"""The programs in gradclip.h's comments, as a file that a compiler takes: header_examples.py HEADER.

A block is what stands four columns further in than its comment. "for (every step)" and lines of "..." stand for
the program around it; what comes before a line of "..." alone is no part of a function.
"""

import re
import sys

AROUND = """
#include <gradclip.h>
#include <stdio.h>
#include <stdlib.h>
extern float *weight_grad, *bias_grad;
extern gradclip_tensor *grads;
extern size_t count;
extern double learning_rate, loss, max_norm;
extern gradclip_result result;
extern gradclip_accumulator *accumulator;
extern float **pointers;
extern size_t *lengths, i;
void optimizer_step(void);
int every_step(void);
"""


def blocks(header):
    block = []
    for line in header.splitlines():
        if line.startswith(" *     ") or (block and line == " *"):
            block.append(line[7:])
            continue
        if block:
            yield "\n".join(block).strip("\n")
        block = []


def is_program(block):
    """Whether it is C, not a formula, a table or words."""
    return ";" in block and re.search(r"gradclip_\w+\(", block)


def main():
    programs = [block for block in blocks(open(sys.argv[1]).read()) if is_program(block)]
    print(AROUND)
    for number, program in enumerate(programs):
        before, dots, after = program.partition("\n...\n")
        if dots:
            print(before)
            program = after
        program = program.replace("for (every step)", "while (every_step())")
        program = re.sub(r"^ *\.\.\. .*\.\.\.$", "", program, flags=re.M)
        program = re.sub(r"grads\[i\]", "pointers[i]", program)
        print(f"void program_{number}(void);\nvoid program_{number}(void)\n{{\n{program}\n}}")
    if len(programs) < 4:
        sys.exit(f"only {len(programs)} programs were found in {sys.argv[1]}")


if __name__ == "__main__":
    main()
