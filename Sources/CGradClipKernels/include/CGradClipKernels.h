// What the engine and the kernels say to each other, in C because the kernels
// of each instruction set must be reached through a C function table: through a
// Swift import the compiler would specialise them again for the caller's
// instruction set. Also the few things that Swift cannot say.
#ifndef CGRADCLIPKERNELS_H
#define CGRADCLIPKERNELS_H

#include "gk_environment.h"
#include "gk_kernels.h"
#include "gk_scratch.h"
#include "gk_squares.h"
#include "gk_vectors.h"

#endif
