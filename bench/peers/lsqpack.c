/* Both ends of one direction of a QPACK connection by ls-qpack, for the codec benchmarks: what
 * qpack.rs does with ours. Blocks go over whole. */

#include <stdlib.h>
#include <sys/types.h>

#include "lsqpack.h"
#include "lsxpack_header.h"

enum { FIELDS = 64, PREFIX = 16, ROOM = 4096 };

struct ends {
    struct lsqpack_enc enc;
    struct lsqpack_dec dec;
    struct lsxpack_header list[FIELDS];
    size_t count;
    /* A block's prefix is written last, to lie before its first field. */
    unsigned char block[PREFIX + ROOM];
    size_t start, end;
    unsigned char instructions[ROOM];
    size_t instructions_len;
    unsigned char acknowledgement[ROOM];
    size_t acknowledgement_len;
    struct lsxpack_header header;
    char decoded[2 * ROOM];
    size_t used, fields;
};

static struct lsxpack_header *prepare(void *context, struct lsxpack_header *header, size_t space)
{
    struct ends *ends = context;
    size_t room = sizeof ends->decoded - ends->used;
    if (space > room)
        return NULL;
    if (header) {
        header->val_len = space;
        return header;
    }
    lsxpack_header_prepare_decode(&ends->header, ends->decoded, ends->used, room);
    return &ends->header;
}

static int process(void *context, struct lsxpack_header *header)
{
    struct ends *ends = context;
    ends->used += header->name_len + header->val_len + header->dec_overhead;
    ends->fields++;
    return 0;
}

static void unblocked(void *context)
{
    (void) context;
}

static const struct lsqpack_dec_hset_if callbacks = { unblocked, prepare, process };

struct ends *ringway_lsqpack_new(unsigned capacity)
{
    struct ends *ends = calloc(1, sizeof *ends);
    unsigned char first[LSQPACK_LONGEST_SDTC];
    size_t len = sizeof first;
    if (!ends)
        abort();
    lsqpack_dec_init(&ends->dec, NULL, capacity, 16, &callbacks, 0);
    if (lsqpack_enc_init(&ends->enc, NULL, capacity, capacity, 16, 0, first, &len))
        abort();
    if (capacity && lsqpack_dec_enc_in(&ends->dec, first, len))
        abort();
    return ends;
}

void ringway_lsqpack_free(struct ends *ends)
{
    lsqpack_enc_cleanup(&ends->enc);
    lsqpack_dec_cleanup(&ends->dec);
    free(ends);
}

/* One more field of the list; the text, its name and behind it its value, must stay. */
void ringway_lsqpack_add(struct ends *ends, const char *text, size_t name, size_t value)
{
    if (ends->count == FIELDS)
        abort();
    lsxpack_header_set_offset2(&ends->list[ends->count++], text, 0, name, name, value);
}

/* The list as a block; its length. */
size_t ringway_lsqpack_encode(struct ends *ends)
{
    unsigned char prefix[PREFIX];
    size_t instructed = 0;
    ends->end = PREFIX;
    if (lsqpack_enc_start_header(&ends->enc, 4, 0))
        abort();
    for (size_t i = 0; i < ends->count; i++) {
        size_t there = ROOM - instructed, here = sizeof ends->block - ends->end;
        if (lsqpack_enc_encode(&ends->enc, ends->instructions + instructed, &there,
                               ends->block + ends->end, &here, &ends->list[i], 0) != LQES_OK)
            abort();
        instructed += there;
        ends->end += here;
    }
    ssize_t len = lsqpack_enc_end_header(&ends->enc, prefix, sizeof prefix, NULL);
    if (len <= 0)
        abort();
    ends->start = PREFIX - len;
    memcpy(ends->block + ends->start, prefix, len);
    ends->instructions_len = instructed;
    return ends->end - ends->start;
}

/* The decoder learns what the encoder inserted. */
void ringway_lsqpack_instruct(struct ends *ends)
{
    if (lsqpack_dec_enc_in(&ends->dec, ends->instructions, ends->instructions_len))
        abort();
}

/* Decodes and acknowledges the block; its fields. */
size_t ringway_lsqpack_decode(struct ends *ends)
{
    const unsigned char *block = ends->block + ends->start;
    size_t len = ends->end - ends->start;
    ends->used = ends->fields = 0;
    ends->acknowledgement_len = ROOM;
    if (lsqpack_dec_header_in(&ends->dec, ends, 4, len, &block, len, ends->acknowledgement,
                              &ends->acknowledgement_len) != LQRHS_DONE)
        abort();
    return ends->fields;
}

/* The encoder learns what the decoder has acknowledged. */
void ringway_lsqpack_acknowledge(struct ends *ends)
{
    if (lsqpack_enc_decoder_in(&ends->enc, ends->acknowledgement, ends->acknowledgement_len))
        abort();
}
