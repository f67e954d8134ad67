// macOS: which processors the process may use. There are no masks and no quotas.
#ifdef __APPLE__
#include "CGradClipSystem.h"

#include <sys/sysctl.h>

int gk_processor_count(void) {
    int count = 0;
    size_t size = sizeof count;
    return sysctlbyname("hw.logicalcpu", &count, &size, NULL, 0) == 0 && count > 0 ? count : 1;
}
#endif
