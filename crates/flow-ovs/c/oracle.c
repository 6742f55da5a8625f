/* Runs one packet through Open vSwitch's C or through ours, and hands out everything that either may write. */
#include <config.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "dp-packet.h"
#include "flow.h"
#include "odp-util.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/ofpbuf.h"
#include "packets.h"
#include "util.h"

struct ringway_case {
    const uint8_t *bytes;
    const uint8_t *metadata;
    uint64_t junk;
    uint32_t size;
    uint32_t slack;
    uint32_t packet_type;
    uint32_t vlan_limit;
    uint32_t has_hash;
    uint32_t rss_hash;
    uint32_t offloads;
    uint32_t basis;
    uint16_t checksum_start;
    uint16_t checksum_offset;
};

struct ringway_side {
    uint64_t map[2];
    uint64_t values[FLOW_U64S];
    uint8_t packet[sizeof(struct dp_packet)];
    uint32_t miniflow_hash;
    uint32_t flow_hash;
    uint32_t rss_hash;
    uint32_t padding;
};

void plain_miniflow_extract(struct dp_packet *, struct miniflow *);
uint32_t plain_miniflow_hash_5tuple(const struct miniflow *, uint32_t basis);
uint32_t plain_flow_hash_5tuple(const struct flow *, uint32_t basis);
uint32_t plain_flow_hash_symmetric_l3l4(const struct flow *, uint32_t basis, bool udp);
uint32_t plain_flow_hash_symmetric_l2(const struct flow *, uint32_t basis);
extern int plain_flow_vlan_limit;
void crc_miniflow_extract(struct dp_packet *, struct miniflow *);
uint32_t crc_miniflow_hash_5tuple(const struct miniflow *, uint32_t basis);
uint32_t crc_flow_hash_5tuple(const struct flow *, uint32_t basis);
extern int crc_flow_vlan_limit;
void ringway_ovs_miniflow_extract(struct dp_packet *, struct miniflow *);
uint32_t ringway_ovs_miniflow_hash_5tuple(const struct miniflow *, uint32_t basis);
uint32_t ringway_ovs_flow_hash_5tuple(const struct flow *, uint32_t basis);
uint32_t ringway_flow_miniflow_hash_crc32c(const struct miniflow *, uint32_t basis);
uint32_t ringway_flow_flow_hash_crc32c(const struct flow *, uint32_t basis);

size_t ringway_oracle_side_size(void);
size_t ringway_oracle_flow_words(void);
int ringway_oracle_version(void);
void ringway_oracle_run(const struct ringway_case *, int which, struct ringway_side *);
void ringway_oracle_hashes(const uint64_t *words, uint32_t basis, uint32_t out[8]);
void ringway_oracle_text(const uint64_t *words, char *ofctl, char *dpctl, size_t room);
void ringway_oracle_repeat(const struct ringway_case *, size_t n_cases, const uint32_t *order, size_t n_order,
                           size_t times, int which);

enum { ARENA = 1 << 18 };

size_t
ringway_oracle_side_size(void)
{
    return sizeof(struct ringway_side);
}

size_t
ringway_oracle_flow_words(void)
{
    return FLOW_U64S;
}

int
ringway_oracle_version(void)
{
    return RINGWAY_OVS_VERSION;
}

/* The end of memory behind which nothing can be read or written. */
static uint8_t *
arena_end(void)
{
    static uint8_t *end;
    if (!end) {
        uint8_t *arena = mmap(NULL, ARENA + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (arena == MAP_FAILED || mprotect(arena + ARENA, 4096, PROT_NONE)) {
            abort();
        }
        end = arena + ARENA;
    }
    return end;
}

static void
set_vlan_limit(int limit)
{
    flow_vlan_limit = limit;
    plain_flow_vlan_limit = limit;
    crc_flow_vlan_limit = limit;
}

/* Makes a packet of a case. Whatever extraction has to write holds junk before. */
static void
make_packet(const struct ringway_case *c, void *data, struct dp_packet *packet)
{
    memset(packet, 0, sizeof *packet);
    dp_packet_set_base(packet, data);
    dp_packet_set_allocated(packet, 0xfff0);
    dp_packet_set_data(packet, data);
    dp_packet_set_size(packet, c->size);
    packet->packet_type = (OVS_FORCE ovs_be32) c->packet_type;
    packet->l2_pad_size = packet->l2_5_ofs = packet->l3_ofs = packet->l4_ofs = (uint16_t) c->junk;
    memcpy(&packet->md, c->metadata, sizeof packet->md);
#if RINGWAY_OVS_VERSION >= 305
    packet->inner_l3_ofs = packet->inner_l4_ofs = (uint16_t) c->junk;
#endif
#if RINGWAY_OVS_VERSION >= 306
    packet->offloads = c->offloads;
    packet->has_hash = c->has_hash;
    packet->rss_hash = c->rss_hash;
#else
    *dp_packet_ol_flags_ptr(packet) = c->offloads & DP_PACKET_OL_SUPPORTED_MASK & ~DP_PACKET_OL_RSS_HASH;
#if RINGWAY_OVS_VERSION >= 305
    packet->csum_start = c->checksum_start;
    packet->csum_offset = c->checksum_offset;
#endif
    packet->rss_hash = c->rss_hash;
    if (c->has_hash) {
        dp_packet_set_rss_hash(packet, c->rss_hash);
    }
#endif
}

/* 'which': 0 for the C, 1 for ours, 2 for the C with the CRC32C kind of hash (its hashes only). */
void
ringway_oracle_run(const struct ringway_case *c, int which, struct ringway_side *side)
{
    struct {
        struct miniflow mf;
        uint64_t values[FLOW_U64S];
    } m;
    struct dp_packet packet;
    struct flow flow;
    uint8_t *data = arena_end() - c->slack - c->size;

    memcpy(data, c->bytes, c->size);
    memset(data + c->size, 0xff, c->slack);
    set_vlan_limit(c->vlan_limit);
    make_packet(c, data, &packet);
    for (size_t i = 0; i < FLOW_U64S; i++) {
        m.values[i] = c->junk;
    }
    m.mf.map.bits[0] = m.mf.map.bits[1] = c->junk;
    if (which == 0) {
        plain_miniflow_extract(&packet, &m.mf);
    } else if (which == 1) {
        ringway_ovs_miniflow_extract(&packet, &m.mf);
    } else {
        crc_miniflow_extract(&packet, &m.mf);
    }
    size_t n = count_1bits(m.mf.map.bits[0]) + count_1bits(m.mf.map.bits[1]);
    memset(&side->values, 0, sizeof side->values);
    memcpy(side->values, m.values, n * 8);
    memcpy(side->map, &m.mf.map, 16);
    memcpy(side->packet, &packet, sizeof packet);
    side->rss_hash = dp_packet_get_rss_hash(&packet);
    miniflow_expand(&m.mf, &flow);
    if (which == 0) {
        side->miniflow_hash = plain_miniflow_hash_5tuple(&m.mf, c->basis);
        side->flow_hash = plain_flow_hash_5tuple(&flow, c->basis);
    } else if (which == 1) {
        side->miniflow_hash = ringway_ovs_miniflow_hash_5tuple(&m.mf, c->basis);
        side->flow_hash = ringway_ovs_flow_hash_5tuple(&flow, c->basis);
    } else {
        side->miniflow_hash = crc_miniflow_hash_5tuple(&m.mf, c->basis);
        side->flow_hash = crc_flow_hash_5tuple(&flow, c->basis);
    }
}

/* The C's other hashes of a flow: symmetric l4, l3, l2, l3l4 without and with UDP ports; source address of
 * Ethernet and network, destination of network. */
void
ringway_oracle_hashes(const uint64_t *words, uint32_t basis, uint32_t out[8])
{
    struct flow flow;
    memcpy(&flow, words, sizeof flow);
    out[0] = flow_hash_symmetric_l4(&flow, basis);
    out[1] = flow_hash_fields(&flow, NX_HASH_FIELDS_SYMMETRIC_L3, (uint16_t) basis);
    out[2] = plain_flow_hash_symmetric_l2(&flow, basis);
    out[3] = plain_flow_hash_symmetric_l3l4(&flow, basis, false);
    out[4] = plain_flow_hash_symmetric_l3l4(&flow, basis, true);
    out[5] = flow_hash_fields(&flow, NX_HASH_FIELDS_ETH_SRC, (uint16_t) basis);
    out[6] = flow_hash_fields(&flow, NX_HASH_FIELDS_NW_SRC, (uint16_t) basis);
    out[7] = flow_hash_fields(&flow, NX_HASH_FIELDS_NW_DST, (uint16_t) basis);
}

/* The flow in the syntaxes of ovs-ofctl and ovs-dpctl. */
void
ringway_oracle_text(const uint64_t *words, char *ofctl, char *dpctl, size_t room)
{
    struct flow flow;
    struct ds ds = DS_EMPTY_INITIALIZER;
    struct ofpbuf key;
    struct odp_flow_key_parms parms = { .flow = &flow };

    memcpy(&flow, words, sizeof flow);
    set_vlan_limit(FLOW_MAX_VLAN_HEADERS);
    flow_format(&ds, &flow, NULL);
    ovs_strlcpy(ofctl, ds_cstr(&ds), room);
    ds_clear(&ds);

    memset(&parms.support, 1, sizeof parms.support);
    parms.support.max_vlan_headers = FLOW_MAX_VLAN_HEADERS;
    parms.support.max_mpls_depth = FLOW_MAX_MPLS_LABELS;
    ofpbuf_init(&key, 1024);
    odp_flow_key_from_flow(&parms, &key);
    odp_flow_key_format(key.data, key.size, &ds);
    ovs_strlcpy(dpctl, ds_cstr(&ds), room);
    ofpbuf_uninit(&key);
    ds_destroy(&ds);
}

/* Extracts the cases in the given order, 'times' over: for measuring. 'which' 3 does all but the extraction. As in the
 * switch's own loop, the next packet and its metadata are prefetched. */
void __attribute__((noinline))
ringway_oracle_repeat(const struct ringway_case *cases, size_t n_cases, const uint32_t *order, size_t n_order,
                      size_t times, int which)
{
    struct {
        struct miniflow mf;
        uint64_t values[FLOW_U64S];
    } m;
    struct dp_packet *packets = xcalloc(n_cases, sizeof *packets);
    uint8_t *bytes = xcalloc(n_cases, 2048);

    for (size_t i = 0; i < n_cases; i++) {
        memcpy(bytes + i * 2048, cases[i].bytes, cases[i].size);
        make_packet(&cases[i], bytes + i * 2048, &packets[i]);
        set_vlan_limit(cases[i].vlan_limit);
    }
    while (times--) {
        for (size_t i = 0; i < n_order; i++) {
            struct dp_packet *packet = &packets[order[i]];
            struct dp_packet *next = &packets[order[i + 1 < n_order ? i + 1 : 0]];
            OVS_PREFETCH(dp_packet_data(next));
            pkt_metadata_prefetch_init(&next->md);
            /* Keeps the compiler from moving anything out of the loop. */
            __asm__ volatile("" : : "r" (packet), "r" (&m) : "memory");
            if (which == 0) {
                plain_miniflow_extract(packet, &m.mf);
            } else if (which == 1) {
                ringway_ovs_miniflow_extract(packet, &m.mf);
            }
        }
    }
    free(bytes);
    free(packets);
}
