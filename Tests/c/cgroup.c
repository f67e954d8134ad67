/* cgroup EXPECTED: the threads that a process may use, in the cgroup that cgroup.sh made for it. */
#include "check.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    const unsigned expected = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    CHECK(gradclip_get_num_threads() == expected, "%u threads, expected %u", gradclip_get_num_threads(), expected);
    return checks_summary("cgroup");
}
