/* The shape of a legacy event: see legacy_shapes.py. */
#ifndef SHAPE_H
#define SHAPE_H

#include <stdint.h>

enum { MEMBERS = 7 };

typedef struct {
    int64_t begin, end;
} Span;

/* What is left of an event when its values are taken out, and where its scalar members stand. */
typedef struct {
    uint8_t *text; /* SHAPE_SLACK larger than the event */
    int64_t size;
    Span members[MEMBERS], link; /* link: of `_previous_hash` in `data`, empty without one */
    int count;
} Shape;

enum { SHAPE_SLACK = 64 }; /* for the brackets that a declined event leaves open */

/* In the order in which they stand. */
enum { EVENT_ID, EVENT_TYPE, EVENT_HASH, MERKLE_PROOF, SESSION_ID, SIGNATURE, TIMESTAMP };

/* 1 when the whole of `event` is a writer's event, of the kind that shapes describe. */
int shape_of(const uint8_t *event, int64_t size, Shape *shape);

#endif
