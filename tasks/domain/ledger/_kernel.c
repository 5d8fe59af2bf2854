/* The ledger's hot path in C: record lines found in a buffer, hashed two at a time, their chain
 * checked, their tree built. x86-64 with SHA extensions only; kernel.py falls back to hashlib.
 *
 * A leaf is SHA-256(0x00 || line), a node SHA-256(0x01 || left || right): RFC 6962 section 2.1.
 * Lines are named by spans: pairs of int64, the offsets in a buffer where a line begins and ends.
 * Here is what Python sees; `_sha256.c` hashes, `_shape.c` takes legacy events apart.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_sha256.h"
#include "_shape.h"

#ifdef HAS_X86

enum { SPAN = 2 * (int)sizeof(int64_t) };

/* The lines that a function is about; all of them lie inside of the text. */
typedef struct {
    Py_buffer text, spans;
    int64_t count;
} Lines;

static void let_go(Lines *lines)
{
    PyBuffer_Release(&lines->text);
    PyBuffer_Release(&lines->spans);
}

static int are_inside(const Lines *lines)
{
    const int64_t *spans = lines->spans.buf;
    if (lines->spans.len % SPAN || (uintptr_t)spans % sizeof *spans)
        return 0;
    for (int64_t i = 0; i < lines->count; i++)
        if (spans[2 * i] < 0 || spans[2 * i] > spans[2 * i + 1] ||
            spans[2 * i + 1] > lines->text.len)
            return 0;
    return 1;
}

static int check(Lines *lines)
{
    lines->count = lines->spans.len / SPAN;
    if (are_inside(lines))
        return 1;
    let_go(lines);
    PyErr_SetString(PyExc_ValueError, "expected spans of lines inside of the text");
    return 0;
}

PyDoc_STRVAR(leaf_hashes_doc,
             "leaf_hashes(text, spans, /) -> bytes\n\nSHA-256(0x00 || line), 32 bytes a line.");

static PyObject *leaf_hashes(PyObject *module, PyObject *args)
{
    Lines lines;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*", &lines.text, &lines.spans) || !check(&lines))
        return NULL;
    PyObject *made = PyBytes_FromStringAndSize(NULL, HASH * lines.count);
    if (made) {
        uint8_t *out = (uint8_t *)PyBytes_AsString(made);
        Py_BEGIN_ALLOW_THREADS
        hash_leaves(lines.text.buf, lines.spans.buf, lines.count, out);
        Py_END_ALLOW_THREADS
    }
    let_go(&lines);
    return made;
}

PyDoc_STRVAR(pair_hashes_doc,
             "pair_hashes(level, /) -> bytes\n\nSHA-256(0x01 || left || right) of neighbours.");

static PyObject *pair_hashes(PyObject *module, PyObject *args)
{
    Py_buffer level;
    PyObject *made = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*", &level))
        return NULL;
    if (level.len % (2 * HASH))
        PyErr_SetString(PyExc_ValueError, "expected pairs of hashes, 64 bytes each");
    else
        made = PyBytes_FromStringAndSize(NULL, level.len / 2);
    if (made) {
        uint8_t *out = (uint8_t *)PyBytes_AsString(made);
        Py_BEGIN_ALLOW_THREADS
        hash_nodes(level.buf, level.len / (2 * HASH), out);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&level);
    return made;
}

PyDoc_STRVAR(first_unchained_doc,
             "first_unchained(text, spans, leaves, /) -> int\n\n"
             "The first line but line 0 that does not begin with {\"_prev\":\" and the hex of the\n"
             "leaf before it; -1 without one.");

static PyObject *first_unchained(PyObject *module, PyObject *args)
{
    Lines lines;
    Py_buffer leaves;
    int64_t found = -1;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*", &lines.text, &lines.spans, &leaves))
        return NULL;
    if (!check(&lines)) {
        PyBuffer_Release(&leaves);
        return NULL;
    }
    int fits = leaves.len == HASH * lines.count;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        found = unchained(lines.text.buf, lines.spans.buf, lines.count, leaves.buf);
        Py_END_ALLOW_THREADS
    }
    let_go(&lines);
    PyBuffer_Release(&leaves);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "expected a leaf hash for each line");
        return NULL;
    }
    return PyLong_FromLongLong(found);
}

/* Spans of the lines of a text, grown while they are found. */
typedef struct {
    int64_t *at;
    int64_t count, room;
} Found;

static int note(Found *found, int64_t first, int64_t end)
{
    if (found->count == found->room) {
        int64_t room = found->room ? 2 * found->room : 4096;
        int64_t *at = realloc(found->at, (size_t)room * SPAN);
        if (!at)
            return 0;
        found->at = at;
        found->room = room;
    }
    found->at[2 * found->count] = first;
    found->at[2 * found->count + 1] = end;
    found->count++;
    return 1;
}

PyDoc_STRVAR(split_doc,
             "split(text, most, longest, /) -> tuple[bytes, int]\n\n"
             "Spans of the lines that a newline ends, `most` at most, up to the first one longer\n"
             "than `longest`; and where the text behind them begins.");

static PyObject *split(PyObject *module, PyObject *args)
{
    Py_buffer text;
    long long most, longest;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*LL", &text, &most, &longest))
        return NULL;
    Found found = {NULL, 0, 0};
    int64_t first = 0;
    int room = 1;
    Py_BEGIN_ALLOW_THREADS
    const uint8_t *begin = text.buf;
    while (found.count < most && first < text.len) {
        const uint8_t *newline = memchr(begin + first, '\n', (size_t)(text.len - first));
        if (!newline || newline - begin - first > longest)
            break;
        if (!(room = note(&found, first, newline - begin)))
            break;
        first = newline - begin + 1;
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&text);
    const char *spans = found.at ? (const char *)found.at : "";
    PyObject *made = room ? Py_BuildValue("y#L", spans, (Py_ssize_t)(found.count * SPAN),
                                          (long long)first)
                          : PyErr_NoMemory();
    free(found.at);
    return made;
}

/* ---- rows of COPY (FORMAT binary): int16 columns, then an int32 length and the bytes of each ---- */

enum { MOST_COLUMNS = 3, NULL_FIELD = -1, NO_MORE_ROWS = 0xffff };

typedef enum { WHOLE, CUT, WRONG, NO_MEMORY } Row;

static uint64_t big(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* One row from `*at` on: its bigint, 0 beside a flag when it is NULL, and the spans of the rest. */
static Row take_row(const uint8_t *text, int64_t size, int64_t *at, int columns, Found found[],
                    Found *seqs)
{
    int64_t next = *at + 2, begins[MOST_COLUMNS], ends[MOST_COLUMNS];
    if (next > size)
        return CUT;
    int there = (int)big(text + *at, 2);
    if (there != columns)
        return there == NO_MORE_ROWS ? CUT : WRONG;
    for (int i = 0; i < columns; i++) {
        if (next + 4 > size)
            return CUT;
        int64_t length = (int32_t)big(text + next, 4);
        next += 4;
        if (length < NULL_FIELD || (i == 0 && length != NULL_FIELD && length != 8))
            return WRONG;
        begins[i] = next;
        next += length == NULL_FIELD ? 0 : length;
        ends[i] = next;
        if (next > size)
            return CUT;
    }
    int is_null = begins[0] == ends[0];
    if (!note(seqs, is_null ? -1 : (int64_t)big(text + begins[0], 8), is_null))
        return NO_MEMORY;
    for (int i = 1; i < columns; i++)
        if (!note(&found[i - 1], begins[i], ends[i]))
            return NO_MEMORY;
    *at = next;
    return WHOLE;
}

PyDoc_STRVAR(copy_rows_doc,
             "copy_rows(text, columns, /) -> tuple[bytes, bool, list[bytes], int]\n\n"
             "Rows of COPY (FORMAT binary) without its header, the first column a bigint:\n"
             "their int64, -1 for NULL; whether each is one more than the one before; the spans\n"
             "of each further column, empty for NULL; where the first row that is cut off begins.");

static PyObject *copy_rows(PyObject *module, PyObject *args)
{
    Py_buffer text;
    int columns;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*i", &text, &columns))
        return NULL;
    Found seqs = {NULL, 0, 0}, found[MOST_COLUMNS - 1] = {{NULL, 0, 0}, {NULL, 0, 0}};
    int64_t end = 0;
    int is_run = 1;
    Row row = columns >= 1 && columns <= MOST_COLUMNS ? WHOLE : WRONG;
    Py_BEGIN_ALLOW_THREADS
    while (row == WHOLE)
        row = take_row(text.buf, text.len, &end, columns, found, &seqs);
    for (int64_t i = 0; i < seqs.count; i++) { /* from pairs (seq, is NULL) to seqs */
        is_run &= !seqs.at[2 * i + 1] && (i == 0 || seqs.at[2 * i] == seqs.at[i - 1] + 1);
        seqs.at[i] = seqs.at[2 * i];
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&text);
    PyObject *made = NULL;
    if (row == NO_MEMORY) {
        PyErr_NoMemory();
    } else if (row == WRONG) {
        PyErr_SetString(PyExc_ValueError, "expected rows of a bigint and the other columns asked for");
    } else {
        PyObject *spans = PyList_New(0);
        for (int i = 0; spans && i < columns - 1; i++) {
            const char *places = found[i].at ? (const char *)found[i].at : "";
            PyObject *one = PyBytes_FromStringAndSize(places, (Py_ssize_t)(found[i].count * SPAN));
            if (!one || PyList_Append(spans, one) < 0)
                Py_CLEAR(spans);
            Py_XDECREF(one);
        }
        const char *numbers = seqs.at ? (const char *)seqs.at : "";
        if (spans)
            made = Py_BuildValue("y#NNL", numbers, (Py_ssize_t)(seqs.count * 8),
                                 PyBool_FromLong(is_run), spans, (long long)end);
    }
    free(seqs.at);
    for (int i = 0; i < MOST_COLUMNS - 1; i++)
        free(found[i].at);
    return made;
}

PyDoc_STRVAR(read_event_doc,
             "read_event(event, /) -> tuple[bytes, str, str, str, str, str, str, bytes] | None\n\n"
             "Of a legacy event: its shape, and as they stand the link (empty without one), the\n"
             "event's id, its hash, the session's id, the signature (null, or in quotes) and the\n"
             "time; last what the hash is over. None when shapes do not describe it.");

/* The event without its hash, proof and signature. */
static PyObject *hashed_part(const char *event, int64_t size, const Span *members)
{
    const int64_t hash = sizeof ",\"hash\":" - 1, signature = sizeof ",\"signature\":" - 1;
    const int64_t first = members[EVENT_HASH].begin - hash, proof = members[MERKLE_PROOF].end;
    const int64_t second = members[SIGNATURE].begin - signature - proof;
    const int64_t third = size - members[SIGNATURE].end;
    PyObject *made = PyBytes_FromStringAndSize(NULL, first + second + third);
    if (made) {
        char *out = PyBytes_AsString(made);
        memcpy(out, event, (size_t)first);
        memcpy(out + first, event + proof, (size_t)second);
        memcpy(out + first + second, event + members[SIGNATURE].end, (size_t)third);
    }
    return made;
}

static PyObject *read_event(PyObject *module, PyObject *args)
{
    Py_buffer event;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*", &event))
        return NULL;
    Shape shape;
    PyObject *made = NULL;
    shape.text = malloc((size_t)event.len + SHAPE_SLACK);
    if (!shape.text) {
        PyErr_NoMemory();
    } else if (!shape_of(event.buf, event.len, &shape)) {
        made = Py_NewRef(Py_None);
    } else {
        const char *text = event.buf;
        const Span *m = shape.members, link = shape.link.end ? shape.link : (Span){0, 2};
#define WHOLE_OF(span) text + (span).begin, (Py_ssize_t)((span).end - (span).begin)
#define INSIDE_OF(span) text + (span).begin + 1, (Py_ssize_t)((span).end - (span).begin - 2)
        made = Py_BuildValue("y#s#s#s#s#s#s#N", (char *)shape.text, (Py_ssize_t)shape.size,
                             INSIDE_OF(link), INSIDE_OF(m[EVENT_ID]), INSIDE_OF(m[EVENT_HASH]),
                             INSIDE_OF(m[SESSION_ID]), WHOLE_OF(m[SIGNATURE]),
                             WHOLE_OF(m[TIMESTAMP]), hashed_part(text, event.len, m));
    }
    free(shape.text);
    PyBuffer_Release(&event);
    return made;
}

static PyMethodDef METHODS[] = {
    {"read_event", read_event, METH_VARARGS, read_event_doc},
    {"copy_rows", copy_rows, METH_VARARGS, copy_rows_doc},
    {"leaf_hashes", leaf_hashes, METH_VARARGS, leaf_hashes_doc},
    {"pair_hashes", pair_hashes, METH_VARARGS, pair_hashes_doc},
    {"first_unchained", first_unchained, METH_VARARGS, first_unchained_doc},
    {"split", split, METH_VARARGS, split_doc},
    {NULL, NULL, 0, NULL}};

#else

static PyMethodDef METHODS[] = {{NULL, NULL, 0, NULL}};

#endif

static int fill(PyObject *module)
{
    if (has_sha_extensions())
        return 0;
    PyErr_SetString(PyExc_ImportError, "this processor has no SHA extensions of x86-64");
    (void)module;
    return -1;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef MODULE = {.m_base = PyModuleDef_HEAD_INIT,
                                    .m_name = "_kernel",
                                    .m_doc = "Leaf and node hashes of RFC 6962, two at a time.",
                                    .m_methods = METHODS,
                                    .m_slots = SLOTS};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&MODULE);
}
