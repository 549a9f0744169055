#include "logstat.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* The path and the size of a line in the common log format: … "GET /path HTTP/1.1" 200 1234 */
static int parse(char *line, char **path, unsigned long *bytes)
{
    char *quote = strchr(line, '"');
    char *end = quote ? strchr(quote + 1, '"') : NULL;
    if (!end)
        return -1;
    char *start = strchr(quote, ' ');
    if (!start || start > end)
        return -1;
    start++;
    start[strcspn(start, " \"?")] = '\0';
    *path = start;
    unsigned status;
    if (sscanf(end + 1, "%u %lu", &status, bytes) != 2)
        *bytes = 0;
    return 0;
}

long read_log(const char *path, struct table *table)
{
    gzFile file = gzopen(path, "rb");
    if (!file)
        return -1;
    char line[8192];
    long bad = 0;
    while (gzgets(file, line, sizeof line)) {
        char *name;
        unsigned long bytes;
        if (parse(line, &name, &bytes) != 0)
            bad++;
        else if (table_add(table, name, bytes) != 0)
            bad = -1;
        if (bad < 0)
            break;
    }
    gzclose(file);
    return bad;
}
