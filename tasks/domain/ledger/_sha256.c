/* SHA-256 of RFC 6962 section 2.1 by the SHA extensions of x86, two messages at a time, because one
 * alone waits for the latency of each sha256rnds2.
 */
#include "_sha256.h"

#include <string.h>

#ifdef HAS_X86

#include <cpuid.h>
#include <immintrin.h>


#define TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum { BLOCK = 64, LEAF = 0, NODE = 1 };

static const uint32_t ROUND_CONSTANTS[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* ---- SHA-256: the state as the instructions want it, words A B E F and C D G H ---- */

typedef struct {
    __m128i abef, cdgh;
} State;

INLINE State initial_state(void)
{
    State s = {_mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
               _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)};
    return s;
}

INLINE __m128i big_endian(__m128i x)
{
    return _mm_shuffle_epi8(x, _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
}

INLINE void load_block(__m128i w[4], const uint8_t *block)
{
    for (int i = 0; i < 4; i++)
        w[i] = big_endian(_mm_loadu_si128((const __m128i *)(block + 16 * i)));
}

/* Four rounds, and the four words of the schedule that take the place of those just used. */
INLINE void rounds(State *s, __m128i w[4], int t)
{
    const __m128i *constants = (const __m128i *)ROUND_CONSTANTS;
    __m128i k = _mm_add_epi32(w[t & 3], _mm_load_si128(constants + t));
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, k);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(k, 0x0E));
    if (t < 12) {
        __m128i part = _mm_sha256msg1_epu32(w[t & 3], w[(t + 1) & 3]);
        part = _mm_add_epi32(part, _mm_alignr_epi8(w[(t + 3) & 3], w[(t + 2) & 3], 4));
        w[t & 3] = _mm_sha256msg2_epu32(part, w[(t + 3) & 3]);
    }
}

INLINE void add(State *s, State more)
{
    s->abef = _mm_add_epi32(s->abef, more.abef);
    s->cdgh = _mm_add_epi32(s->cdgh, more.cdgh);
}

INLINE void compress_one(State *s, const uint8_t *block)
{
    State a = *s;
    __m128i w[4];
    load_block(w, block);
#pragma GCC unroll 16
    for (int t = 0; t < 16; t++)
        rounds(&a, w, t);
    add(s, a);
}

INLINE void compress_two(State *s, const uint8_t *block, State *u, const uint8_t *other)
{
    State a = *s, b = *u;
    __m128i w[4], v[4];
    load_block(w, block);
    load_block(v, other);
#pragma GCC unroll 16
    for (int t = 0; t < 16; t++) {
        rounds(&a, w, t);
        rounds(&b, v, t);
    }
    add(s, a);
    add(u, b);
}

INLINE void store_hash(const State *s, uint8_t *out)
{
    __m128i feba = _mm_shuffle_epi32(s->abef, 0x1B), dchg = _mm_shuffle_epi32(s->cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)out, big_endian(_mm_blend_epi16(feba, dchg, 0xF0)));
    _mm_storeu_si128((__m128i *)(out + 16), big_endian(_mm_alignr_epi8(dchg, feba, 8)));
}

/* ---- leaves ---- */

/* One message, 0x00 || line: its blocks are a head, the line itself shifted by one, and a tail. */
typedef struct {
    State state;
    const uint8_t *line;
    uint8_t *out;
    int64_t done, whole, blocks;
    uint8_t head[BLOCK], tail[2 * BLOCK];
} Message;

INLINE void begin(Message *m, const uint8_t *line, int64_t size, uint8_t *out)
{
    int64_t total = size + 1, rest = total % BLOCK;
    m->state = initial_state();
    m->line = line;
    m->out = out;
    m->done = 0;
    m->whole = total / BLOCK;
    m->blocks = m->whole + (rest < 56 ? 1 : 2);
    memset(m->tail, 0, sizeof m->tail);
    if (m->whole) {
        m->head[0] = LEAF;
        memcpy(m->head + 1, line, BLOCK - 1);
        memcpy(m->tail, line + m->whole * BLOCK - 1, (size_t)rest);
    } else {
        m->tail[0] = LEAF;
        memcpy(m->tail + 1, line, (size_t)size);
    }
    m->tail[rest] = 0x80;
    uint64_t bits = __builtin_bswap64((uint64_t)total * 8);
    memcpy(m->tail + (m->blocks - m->whole) * BLOCK - 8, &bits, 8);
}

INLINE const uint8_t *next_block(Message *m)
{
    int64_t at = m->done++;
    if (at >= m->whole)
        return m->tail + (at - m->whole) * BLOCK;
    return at ? m->line + at * BLOCK - 1 : m->head;
}

INLINE int ended(const Message *m)
{
    if (m->done < m->blocks)
        return 0;
    store_hash(&m->state, m->out);
    return 1;
}

/* Lines of different lengths keep both messages busy: each takes the next line when it ends. */
TARGET void hash_leaves(const uint8_t *text, const int64_t *spans, int64_t count, uint8_t *out)
{
    Message a, b;
    int64_t next = 0;
    int has_a = 0, has_b = 0;
#define TAKE(m, has)                                                                              \
    if ((has = next < count)) {                                                                   \
        begin(&m, text + spans[2 * next], spans[2 * next + 1] - spans[2 * next], out + HASH * next); \
        next++;                                                                                   \
    }
    TAKE(a, has_a)
    TAKE(b, has_b)
    while (has_a && has_b) {
        const uint8_t *block = next_block(&a);
        compress_two(&a.state, block, &b.state, next_block(&b));
        if (ended(&a)) {
            TAKE(a, has_a)
        }
        if (ended(&b)) {
            TAKE(b, has_b)
        }
    }
#undef TAKE
    for (Message *last = has_a ? &a : has_b ? &b : NULL; last && !ended(last);)
        compress_one(&last->state, next_block(last));
}

/* ---- nodes: 65 bytes, so one block and a second one of a single byte and padding ---- */

TARGET void hash_nodes(const uint8_t *level, int64_t count, uint8_t *out)
{
    uint8_t blocks[2][2 * BLOCK] = {{0}};
    for (int i = 0; i < 2; i++) {
        blocks[i][0] = NODE;
        blocks[i][65] = 0x80;
        blocks[i][126] = 65 * 8 >> 8;
        blocks[i][127] = (65 * 8) & 0xff;
    }
    for (int64_t i = 0; i < count; i += 2) {
        int64_t pair = i + 1 < count ? i + 1 : i; /* the last one of an odd number, twice */
        State s = initial_state(), u = initial_state();
        memcpy(blocks[0] + 1, level + 2 * HASH * i, 2 * HASH);
        memcpy(blocks[1] + 1, level + 2 * HASH * pair, 2 * HASH);
        compress_two(&s, blocks[0], &u, blocks[1]);
        compress_two(&s, blocks[0] + BLOCK, &u, blocks[1] + BLOCK);
        store_hash(&s, out + HASH * i);
        store_hash(&u, out + HASH * pair);
    }
}

/* ---- the chain: a line begins with {"_prev":" and, in hex, the leaf before it ---- */

INLINE __m128i hex_digits(__m128i halves)
{
    const __m128i digits = _mm_set_epi64x(0x6665646362613938LL, 0x3736353433323130LL);
    return _mm_shuffle_epi8(digits, halves);
}

INLINE int is_hex_of(const uint8_t *text, const uint8_t *bytes)
{
    const __m128i low = _mm_set1_epi8(0x0f);
    __m128i same = _mm_set1_epi8(-1);
    for (int i = 0; i < HASH; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(bytes + i));
        __m128i high = hex_digits(_mm_and_si128(_mm_srli_epi16(x, 4), low));
        __m128i rest = hex_digits(_mm_and_si128(x, low));
        const __m128i *t = (const __m128i *)(text + 2 * i);
        same = _mm_and_si128(
            same, _mm_cmpeq_epi8(_mm_loadu_si128(t), _mm_unpacklo_epi8(high, rest)));
        same = _mm_and_si128(
            same, _mm_cmpeq_epi8(_mm_loadu_si128(t + 1), _mm_unpackhi_epi8(high, rest)));
    }
    return _mm_movemask_epi8(same) == 0xffff;
}

TARGET int64_t unchained(const uint8_t *text, const int64_t *spans, int64_t count,
                         const uint8_t *leaves)
{
    static const char before[] = "{\"_prev\":\"";
    const int64_t lead = sizeof before - 1, link = 2 * HASH;
    for (int64_t i = 1; i < count; i++) {
        const uint8_t *line = text + spans[2 * i];
        if (spans[2 * i + 1] - spans[2 * i] <= lead + link || memcmp(line, before, (size_t)lead) ||
            line[lead + link] != '"' || !is_hex_of(line + lead, leaves + HASH * (i - 1)))
            return i;
    }
    return -1;
}

int has_sha_extensions(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

#else

int has_sha_extensions(void)
{
    return 0;
}

#endif
