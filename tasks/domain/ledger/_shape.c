/* An event of the older layout, taken apart by a lexer that accepts less than JSON.
 *
 * Accepted are objects without white space, strings of printable ASCII without an escape, numbers
 * as Python writes finite ones, true, false, null, and lists of scalars of one kind. The shape has
 * objects and keys as they stand, and s, n or w for each scalar; a list is [s], [n], [w] or [].
 * Anything else is declined: a parser looks at it.
 */
#include "_shape.h"

#include <string.h>

enum { MOST_LEVELS = 9, DECLINED = -1, EVENT_LEVEL = 1, DATA_LEVEL = 2, MOST_NAME = 512 };

static const char HEAD[] = "{\"data\":{";
static const char LINK[] = "\"_previous_hash\"";
static const char TAIL[] = ",\"event_id\":s,\"event_type\":s,\"hash\":s,\"merkle_proof\":w"
                           ",\"session_id\":s,\"signature\":s,\"timestamp\":n}";
enum { SIGNATURE_KIND = sizeof TAIL - 1 - sizeof "s,\"timestamp\":n}" + 1 };

typedef struct {
    const uint8_t *text;
    int64_t size;
    Shape *shape;
} Reader;

static int64_t value(Reader *r, int64_t at, int level);

static int is(const Reader *r, int64_t at, uint8_t mark)
{
    return at < r->size && r->text[at] == mark;
}

static void put(Reader *r, const void *what, int64_t size)
{
    memcpy(r->shape->text + r->shape->size, what, (size_t)size);
    r->shape->size += size;
}

static int64_t digits(const Reader *r, int64_t at, int most)
{
    int64_t end = at;
    while (end < r->size && end - at < most && (uint8_t)(r->text[end] - '0') < 10)
        end++;
    return end;
}

/* Each of these gives the end of what begins at `at`, or DECLINED. */

static int64_t string(const Reader *r, int64_t at)
{
    const uint8_t *begin = r->text + at + 1, *quote;
    if (!is(r, at, '"') || !(quote = memchr(begin, '"', (size_t)(r->size - at - 1))))
        return DECLINED;
    int odd = 0;
    for (const uint8_t *mark = begin; mark < quote; mark++)
        odd |= (*mark < 0x20) | (*mark > 0x7e) | (*mark == '\\');
    return odd ? DECLINED : quote + 1 - r->text;
}

static int64_t power(const Reader *r, int64_t at)
{
    if (!is(r, at + 1, '+') && !is(r, at + 1, '-'))
        return DECLINED;
    int64_t end = digits(r, at + 2, 2);
    return end == at + 2 ? DECLINED : end;
}

static int64_t number(const Reader *r, int64_t at)
{
    at += is(r, at, '-');
    int64_t end = is(r, at, '0') ? at + 1 : digits(r, at, 18);
    if (end == at)
        return DECLINED;
    if (is(r, end, '.')) {
        at = end + 1;
        end = digits(r, at, 30);
        if (end == at)
            return DECLINED;
    }
    return is(r, end, 'e') ? power(r, end) : end;
}

static int64_t word(const Reader *r, int64_t at)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        int64_t size = (int64_t)strlen(words[i]);
        if (r->size - at >= size && !memcmp(r->text + at, words[i], (size_t)size))
            return at + size;
    }
    return DECLINED;
}

static int64_t scalar(const Reader *r, int64_t at, uint8_t *kind)
{
    if (at >= r->size)
        return DECLINED;
    uint8_t first = r->text[at];
    *kind = first == '"' ? 's' : first == '-' || (uint8_t)(first - '0') < 10 ? 'n' : 'w';
    return *kind == 's' ? string(r, at) : *kind == 'n' ? number(r, at) : word(r, at);
}

static int64_t list(Reader *r, int64_t at)
{
    uint8_t first, kind;
    put(r, "[", 1);
    if (!is(r, ++at, ']')) {
        if ((at = scalar(r, at, &first)) == DECLINED)
            return DECLINED;
        put(r, &first, 1);
        while (is(r, at, ','))
            if ((at = scalar(r, at + 1, &kind)) == DECLINED || kind != first)
                return DECLINED;
    }
    put(r, "]", 1);
    return is(r, at, ']') ? at + 1 : DECLINED;
}

static int64_t member(Reader *r, int64_t at, int level)
{
    int64_t end = string(r, at), key = end - at;
    if (end == DECLINED || !is(r, end, ':'))
        return DECLINED;
    put(r, r->text + at, key + 1);
    int64_t begin = end + 1;
    end = value(r, begin, level);
    if (level == DATA_LEVEL && key == sizeof LINK - 1 && !memcmp(r->text + at, LINK, (size_t)key))
        r->shape->link = (Span){begin, end};
    return end;
}

static int64_t object(Reader *r, int64_t at, int level)
{
    put(r, "{", 1);
    if (level > MOST_LEVELS)
        return DECLINED;
    if (!is(r, ++at, '}')) {
        at = member(r, at, level);
        while (at != DECLINED && is(r, at, ',')) {
            put(r, ",", 1);
            at = member(r, at + 1, level);
        }
    }
    put(r, "}", 1);
    return at != DECLINED && is(r, at, '}') ? at + 1 : DECLINED;
}

static int64_t value(Reader *r, int64_t at, int level)
{
    if (is(r, at, '{'))
        return object(r, at, level + 1);
    if (is(r, at, '['))
        return list(r, at);
    uint8_t kind;
    int64_t end = scalar(r, at, &kind);
    if (end == DECLINED)
        return DECLINED;
    put(r, &kind, 1);
    if (level == EVENT_LEVEL) {
        if (r->shape->count == MEMBERS)
            return DECLINED;
        r->shape->members[r->shape->count++] = (Span){at, end};
    }
    return end;
}

static int is_quoted(const uint8_t *event, Span span, int64_t least, int64_t most)
{
    int64_t inside = span.end - span.begin - 2;
    return event[span.begin] == '"' && inside >= least && inside <= most;
}

static int is_null(const uint8_t *event, Span span)
{
    return span.end - span.begin == 4 && !memcmp(event + span.begin, "null", 4);
}

/* Whether the members are those of an event, in their order, and as long as they must be. */
static int is_event(const uint8_t *event, const Shape *shape)
{
    const int64_t head = sizeof HEAD - 1, tail = sizeof TAIL - 1;
    if (shape->count != MEMBERS || shape->size < head + tail || memcmp(shape->text, HEAD, head))
        return 0;
    const uint8_t *end = shape->text + shape->size - tail;
    const Span *members = shape->members;
    if (memcmp(end, TAIL, SIGNATURE_KIND) ||
        memcmp(end + SIGNATURE_KIND + 1, TAIL + SIGNATURE_KIND + 1, tail - SIGNATURE_KIND - 1))
        return 0;
    return is_quoted(event, members[EVENT_ID], 1, MOST_NAME) &&
           is_quoted(event, members[EVENT_TYPE], 1, MOST_NAME) &&
           is_quoted(event, members[EVENT_HASH], 64, 64) &&
           is_null(event, members[MERKLE_PROOF]) &&
           is_quoted(event, members[SESSION_ID], 1, MOST_NAME) &&
           (end[SIGNATURE_KIND] == 's' || is_null(event, members[SIGNATURE])) &&
           (!shape->link.end || is_quoted(event, shape->link, 64, 64));
}

int shape_of(const uint8_t *event, int64_t size, Shape *shape)
{
    Reader reader = {event, size, shape};
    shape->size = 0;
    shape->count = 0;
    shape->link = (Span){0, 0};
    return is(&reader, 0, '{') && object(&reader, 0, EVENT_LEVEL) == size && is_event(event, shape);
}
