/*
 * A host that has no gradclip: it opens the plugin, in which fork.c is, and runs it.
 *
 * fork_plugin PLUGIN
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    int (*plugin_main)(int, char **);
    char *again[] = {argv[0], "/proc/self/exe", argc > 1 ? argv[1] : NULL, NULL};
    if (argc < 2) return 2;
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!plugin) return fprintf(stderr, "fork_plugin: %s\n", dlerror()), 2;
    *(void **)&plugin_main = dlsym(plugin, "plugin_main");
    if (!plugin_main) return fprintf(stderr, "fork_plugin: %s\n", dlerror()), 2;
    if (getenv("GRADCLIP_TEST_SCENARIO")) return plugin_main(argc, argv);
    int status = plugin_main(3, again);
    /* It goes while nobody calls: its threads end, and a fork does not call into it. */
    return status || dlclose(plugin);
}
