/* Leaf and node hashes of RFC 6962, and the chain of record lines. */
#ifndef SHA256_H
#define SHA256_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_X86
#endif

enum { HASH = 32 };

/* Whether this processor has what the other functions need. */
int has_sha_extensions(void);

/* Spans are pairs of offsets in `text`: where a line begins and ends. `out`: 32 bytes a line. */
void hash_leaves(const uint8_t *text, const int64_t *spans, int64_t count, uint8_t *out);

/* `level`: 64 bytes a node; `out`: 32. */
void hash_nodes(const uint8_t *level, int64_t count, uint8_t *out);

/* The first line but line 0 that does not begin with the leaf before it; -1 without one. */
int64_t unchained(const uint8_t *text, const int64_t *spans, int64_t count, const uint8_t *leaves);

#endif
