#include "logstat.h"

#include <stdlib.h>
#include <string.h>

static int by_requests(const void *a, const void *b)
{
    const struct entry *x = *(const struct entry *const *)a, *y = *(const struct entry *const *)b;
    if (x->requests != y->requests)
        return x->requests < y->requests ? 1 : -1;
    return strcmp(x->name, y->name);
}

void print_report(FILE *out, const struct table *table, size_t limit)
{
    const struct entry **found = malloc((table->used + 1) * sizeof *found);
    size_t count = 0;
    if (!found)
        return;
    for (size_t i = 0; i < table->size; i++)
        if (table->entries[i].name)
            found[count++] = &table->entries[i];
    qsort(found, count, sizeof *found, by_requests);
    for (size_t i = 0; i < count && i < limit; i++)
        fprintf(out, "%8lu %12lu %s\n", found[i]->requests, found[i]->bytes, found[i]->name);
    free(found);
}
