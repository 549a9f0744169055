#include "logstat.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash(const char *name)
{
    uint64_t value = 1469598103934665603ULL;
    for (; *name; name++)
        value = (value ^ (unsigned char)*name) * 1099511628211ULL;
    return value;
}

static struct entry *slot(struct entry *entries, size_t size, const char *name)
{
    size_t index = hash(name) & (size - 1);
    while (entries[index].name && strcmp(entries[index].name, name) != 0)
        index = (index + 1) & (size - 1);
    return &entries[index];
}

static int grow(struct table *table)
{
    size_t size = table->size ? table->size * 2 : 64;
    struct entry *entries = calloc(size, sizeof *entries);
    if (!entries)
        return -1;
    for (size_t i = 0; i < table->size; i++)
        if (table->entries[i].name)
            *slot(entries, size, table->entries[i].name) = table->entries[i];
    free(table->entries);
    table->entries = entries;
    table->size = size;
    return 0;
}

int table_add(struct table *table, const char *name, unsigned long bytes)
{
    if (table->used * 2 >= table->size && grow(table) != 0)
        return -1;
    struct entry *entry = slot(table->entries, table->size, name);
    if (!entry->name) {
        entry->name = strdup(name);
        if (!entry->name)
            return -1;
        table->used++;
    }
    entry->requests++;
    entry->bytes += bytes;
    return 0;
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->size; i++)
        free(table->entries[i].name);
    free(table->entries);
}
