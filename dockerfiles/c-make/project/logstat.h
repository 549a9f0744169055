#ifndef LOGSTAT_H
#define LOGSTAT_H

#include <stddef.h>
#include <stdio.h>

/* Counts by name, in a hash table with open addressing. */
struct entry {
    char *name;
    unsigned long requests;
    unsigned long bytes;
};

struct table {
    struct entry *entries;
    size_t used;
    size_t size;
};

int table_add(struct table *table, const char *name, unsigned long bytes);
void table_free(struct table *table);

/* Reads an access log, plain or compressed with gzip; returns the number of lines that made no sense, -1 on failure. */
long read_log(const char *path, struct table *table);

void print_report(FILE *out, const struct table *table, size_t limit);

#endif
