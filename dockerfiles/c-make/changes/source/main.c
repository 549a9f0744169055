#include "logstat.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char usage[] = "usage: logstat [--top COUNT] LOG...\n"
                            "Counts the requests of access logs, plain or compressed with gzip.\n";

int main(int argc, char **argv)
{
    struct table table = {0};
    size_t limit = 10;
    int status = EXIT_SUCCESS;

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return argc < 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("logstat 1.2.0, zlib %s\n", zlibVersion());
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--top") == 0 && i + 1 < argc) {
            limit = strtoul(argv[++i], NULL, 10);
            continue;
        }
        long bad = read_log(argv[i], &table);
        if (bad < 0) {
            perror(argv[i]);
            status = EXIT_FAILURE;
        } else if (bad > 0) {
            fprintf(stderr, "%s: %ld lines left out\n", argv[i], bad);
        }
    }
    print_report(stdout, &table, limit);
    table_free(&table);
    return status;
}
