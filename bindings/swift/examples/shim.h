#include <gradclip.h>
