/* Takes 'struct dp_packet' apart for the Rust half and puts the results back.
 *
 * Compiled against the headers of the Open vSwitch that the library goes into: nothing here or on the Rust side
 * mirrors 'struct dp_packet'. What the Rust side does mirror, the places of fields in 'struct flow' and
 * 'struct pkt_metadata', is compared below; a difference doesn't compile.
 */
#include <config.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dp-packet.h"
#include "flow.h"
#include "hash.h"
#include "packets.h"
#include "util.h"
#include "ringway_constants.h"

#define WORD(FIELD, NAME) \
    _Static_assert(offsetof(struct flow, FIELD) == RINGWAY_AT_##NAME * 8, "place of " #FIELD " in struct flow")
#define SECOND_HALF(FIELD, NAME) \
    _Static_assert(offsetof(struct flow, FIELD) == RINGWAY_AT_##NAME * 8 + 4, "place of " #FIELD " in struct flow")
#define METADATA(FIELD, NAME) \
    _Static_assert(offsetof(struct pkt_metadata, FIELD) == RINGWAY_METADATA_##NAME, \
                   "place of " #FIELD " in struct pkt_metadata")

_Static_assert(FLOW_WC_SEQ == RINGWAY_SEQUENCE, "FLOW_WC_SEQ");
_Static_assert(FLOW_N_REGS == RINGWAY_REGISTERS, "FLOW_N_REGS");
_Static_assert(FLOW_U64S == RINGWAY_AT_END, "FLOW_U64S");
_Static_assert(FLOW_MAX_PACKET_U64S == RINGWAY_MAX_PACKET_WORDS, "FLOW_MAX_PACKET_U64S");
_Static_assert(FLOW_MAX_VLAN_HEADERS == 2 && FLOW_MAX_MPLS_LABELS == 3, "VLAN and MPLS depth");
_Static_assert(sizeof(struct miniflow) == 16 && FLOWMAP_UNITS == 2 && MAP_T_BITS == 64, "struct miniflow");
_Static_assert(PT_ETH == 0, "packet type of Ethernet");
WORD(tunnel, TUNNEL);
WORD(tunnel.metadata, TUNNEL_OPTIONS);
WORD(metadata, METADATA);
WORD(regs, REGISTERS);
WORD(skb_priority, PRIORITY);
SECOND_HALF(pkt_mark, PRIORITY);
WORD(dp_hash, INPUT);
SECOND_HALF(in_port, INPUT);
WORD(recirc_id, RECIRCULATION);
SECOND_HALF(ct_state, RECIRCULATION);
_Static_assert(offsetof(struct flow, ct_nw_proto) == offsetof(struct flow, ct_state) + 1, "ct_nw_proto");
_Static_assert(offsetof(struct flow, ct_zone) == offsetof(struct flow, ct_state) + 2, "ct_zone");
WORD(ct_mark, PACKET_TYPE);
SECOND_HALF(packet_type, PACKET_TYPE);
WORD(ct_label, CT_LABEL);
WORD(conj_id, CONJUNCTION);
WORD(dl_dst, ETHERNET);
_Static_assert(offsetof(struct flow, dl_src) == offsetof(struct flow, dl_dst) + 6, "dl_src");
SECOND_HALF(dl_type, ETHERNET_TYPE);
WORD(vlans, VLANS);
WORD(mpls_lse, MPLS);
WORD(nw_src, IPV4);
SECOND_HALF(nw_dst, IPV4);
WORD(ct_nw_src, CT_IPV4);
SECOND_HALF(ct_nw_dst, CT_IPV4);
WORD(ipv6_src, IPV6);
_Static_assert(offsetof(struct flow, ipv6_dst) == offsetof(struct flow, ipv6_src) + 16, "ipv6_dst");
WORD(ct_ipv6_src, CT_IPV6);
_Static_assert(offsetof(struct flow, ct_ipv6_dst) == offsetof(struct flow, ct_ipv6_src) + 16, "ct_ipv6_dst");
WORD(ipv6_label, NETWORK);
SECOND_HALF(nw_frag, NETWORK);
_Static_assert(offsetof(struct flow, nw_tos) == offsetof(struct flow, nw_frag) + 1, "nw_tos");
_Static_assert(offsetof(struct flow, nw_ttl) == offsetof(struct flow, nw_frag) + 2, "nw_ttl");
_Static_assert(offsetof(struct flow, nw_proto) == offsetof(struct flow, nw_frag) + 3, "nw_proto");
WORD(nd_target, ND_TARGET);
WORD(arp_sha, ARP);
_Static_assert(offsetof(struct flow, arp_tha) == offsetof(struct flow, arp_sha) + 6, "arp_tha");
SECOND_HALF(tcp_flags, TCP_FLAGS);
WORD(nsh, NSH);
_Static_assert(sizeof(struct ovs_key_nsh) == 24 && offsetof(struct ovs_key_nsh, path_hdr) == 4, "nsh");
WORD(tp_src, TRANSPORT);
_Static_assert(offsetof(struct flow, tp_dst) == offsetof(struct flow, tp_src) + 2, "tp_dst");
SECOND_HALF(ct_tp_src, TRANSPORT);
_Static_assert(offsetof(struct flow, ct_tp_dst) == offsetof(struct flow, ct_tp_src) + 2, "ct_tp_dst");
WORD(igmp_group_ip4, IGMP);
METADATA(recirc_id, RECIRC_ID);
METADATA(dp_hash, DP_HASH);
METADATA(skb_priority, SKB_PRIORITY);
METADATA(pkt_mark, PKT_MARK);
METADATA(ct_state, CT_STATE);
METADATA(ct_orig_tuple_ipv6, CT_TUPLE_IPV6);
METADATA(ct_zone, CT_ZONE);
METADATA(ct_mark, CT_MARK);
METADATA(ct_label, CT_LABEL);
METADATA(in_port, IN_PORT);
METADATA(ct_orig_tuple, CT_TUPLE);
METADATA(tunnel, TUNNEL);
_Static_assert(sizeof(struct pkt_metadata) >= RINGWAY_METADATA_TUNNEL + RINGWAY_TUNNEL_SIZE, "pkt_metadata");
_Static_assert(RINGWAY_METADATA_SIZE <= sizeof(struct pkt_metadata), "size of struct pkt_metadata");
_Static_assert(offsetof(struct ovs_key_ct_tuple_ipv4, ipv4_dst) == 4
               && offsetof(struct ovs_key_ct_tuple_ipv4, src_port) == 8
               && offsetof(struct ovs_key_ct_tuple_ipv4, dst_port) == 10
               && offsetof(struct ovs_key_ct_tuple_ipv4, ipv4_proto) == 12, "IPv4 connection tuple");
_Static_assert(offsetof(struct ovs_key_ct_tuple_ipv6, ipv6_dst) == 16
               && offsetof(struct ovs_key_ct_tuple_ipv6, src_port) == 32
               && offsetof(struct ovs_key_ct_tuple_ipv6, dst_port) == 34
               && offsetof(struct ovs_key_ct_tuple_ipv6, ipv6_proto) == 36, "IPv6 connection tuple");
_Static_assert(sizeof(struct flow_tnl) == RINGWAY_TUNNEL_SIZE
               && offsetof(struct flow_tnl, ipv6_dst) == 4
               && offsetof(struct flow_tnl, ip_src) == 20
               && offsetof(struct flow_tnl, ipv6_src) == 24
               && offsetof(struct flow_tnl, tun_id) == 40
               && offsetof(struct flow_tnl, flags) == 48
               && offsetof(struct flow_tnl, ip_tos) == 50
               && offsetof(struct flow_tnl, tp_src) == 52
               && offsetof(struct flow_tnl, gbp_id) == 56
               && offsetof(struct flow_tnl, erspan_idx) == 60
               && offsetof(struct flow_tnl, gtpu_msgtype) == 67
               && offsetof(struct flow_tnl, metadata) == RINGWAY_TUNNEL_PRESENT
               && offsetof(struct flow_tnl, metadata.opts) == RINGWAY_TUNNEL_OPTIONS, "struct flow_tnl");
_Static_assert(FLOW_TNL_F_UDPIF == 1 << 4, "FLOW_TNL_F_UDPIF");

/* Preloading puts the library into every process, a shell among them. In those without Open vSwitch this isn't
 * there, and nothing calls us. */
#pragma weak flow_vlan_limit

/* What the Rust half returns: 'Extraction' there. */
struct ringway_extraction {
    uint16_t l2_pad_size;
    uint16_t l2_5_ofs;
    uint16_t l3_ofs;
    uint16_t l4_ofs;
    uint8_t protocols;
    uint8_t reason;
    uint32_t offset;
};
_Static_assert(sizeof(struct ringway_extraction) == 16, "two registers");
/* The four offsets lie in 'struct dp_packet' in the same order. */
_Static_assert(offsetof(struct dp_packet, l2_5_ofs) == offsetof(struct dp_packet, l2_pad_size) + 2
               && offsetof(struct dp_packet, l3_ofs) == offsetof(struct dp_packet, l2_pad_size) + 4
               && offsetof(struct dp_packet, l4_ofs) == offsetof(struct dp_packet, l2_pad_size) + 6,
               "layer offsets");
#if RINGWAY_OVS_VERSION >= 305
_Static_assert(offsetof(struct dp_packet, inner_l4_ofs) == offsetof(struct dp_packet, inner_l3_ofs) + 2,
               "layer offsets of an inner packet");
#endif

enum { RINGWAY_IPV4 = 1, RINGWAY_IPV6 = 2, RINGWAY_TCP = 4, RINGWAY_UDP = 8, RINGWAY_SCTP = 16 };

extern struct ringway_extraction
ringway_flow_extract(const struct pkt_metadata *, struct miniflow *, uint32_t vlan_limit, uint32_t packet_type,
                     const void *data, size_t size);
#ifdef __SSE4_2__
#define RINGWAY_HASH(NAME) NAME##_crc32c
#else
#define RINGWAY_HASH(NAME) NAME##_murmur
#endif
extern uint32_t RINGWAY_HASH(ringway_flow_rss_hash)(const void *data, size_t size, struct ringway_extraction);
extern uint32_t RINGWAY_HASH(ringway_flow_miniflow_hash)(const struct miniflow *, uint32_t basis);
extern uint32_t RINGWAY_HASH(ringway_flow_flow_hash)(const struct flow *, uint32_t basis);

void ringway_ovs_miniflow_extract(struct dp_packet *, struct miniflow *);
uint32_t ringway_ovs_miniflow_hash_5tuple(const struct miniflow *, uint32_t basis);
uint32_t ringway_ovs_flow_hash_5tuple(const struct flow *, uint32_t basis);

#ifdef RINGWAY_COUNT_CALLS
static uint64_t calls;

/* Appends process and number of calls to a file, so that a test can tell that they came here. */
static void __attribute__((destructor))
write_calls(void)
{
    const char *name = getenv("RINGWAY_FLOW_CALLS");
    uint64_t n = __atomic_load_n(&calls, __ATOMIC_RELAXED);
    FILE *file = name && n ? fopen(name, "a") : NULL;
    if (file) {
        fprintf(file, "%llu\n", (unsigned long long) n);
        fclose(file);
    }
}
#endif

#if RINGWAY_OVS_VERSION >= 306
/* What 'dp_packet_l4_proto_set_tcp()' and its like do with the bits of the packet, by Rust's set of protocols. A table,
 * since a branch on what a packet is can't be foreseen. */
#define TCP_UDP_SCTP(SET, TCP, UDP, SCTP) \
    ((SET) & RINGWAY_TCP ? (TCP) : (SET) & RINGWAY_UDP ? (UDP) : (SET) & RINGWAY_SCTP ? (SCTP) : 0)
#define CHANGE(SET) { \
    ~(uint32_t) TCP_UDP_SCTP(SET, DP_PACKET_OL_L4_PROTO_UDP, DP_PACKET_OL_L4_PROTO_TCP, 0), \
    TCP_UDP_SCTP(SET, DP_PACKET_OL_L4_PROTO_TCP, DP_PACKET_OL_L4_PROTO_UDP, DP_PACKET_OL_L4_PROTO_MASK) \
}
#define FOUR(SET) CHANGE(SET), CHANGE((SET) + 1), CHANGE((SET) + 2), CHANGE((SET) + 3)
enum { RINGWAY_PROTOCOL_SETS = 32 };
static const struct { uint32_t keep, give; } changes[RINGWAY_PROTOCOL_SETS] = {
    FOUR(0), FOUR(4), FOUR(8), FOUR(12), FOUR(16), FOUR(20), FOUR(24), FOUR(28)
};
_Static_assert(sizeof(((struct dp_packet *) 0)->offloads) == 4, "offload bits");

/* Marks what the checksum bits of the packet are about. */
static inline void
set_offloads(struct dp_packet *packet, uint8_t protocols, bool tunnel OVS_UNUSED)
{
    unsigned int set = protocols % RINGWAY_PROTOCOL_SETS;
    packet->offloads = (packet->offloads & changes[set].keep) | changes[set].give;
}
#elif RINGWAY_OVS_VERSION >= 305
/* Asks for the checksums that a sender may leave to the NIC. */
static inline void
set_offloads(struct dp_packet *packet, uint8_t protocols, bool tunnel)
{
    if (protocols & RINGWAY_IPV4) {
        bool good = dp_packet_ip_checksum_good(packet);
        if (tunnel) {
            dp_packet_hwol_set_tx_outer_ipv4(packet);
            if (good) {
                dp_packet_hwol_set_tx_outer_ipv4_csum(packet);
            }
        } else {
            dp_packet_hwol_set_tx_ipv4(packet);
            if (good) {
                dp_packet_hwol_set_tx_ip_csum(packet);
            }
        }
    } else if (protocols & RINGWAY_IPV6) {
        if (tunnel) {
            dp_packet_hwol_set_tx_outer_ipv6(packet);
        } else {
            dp_packet_hwol_set_tx_ipv6(packet);
        }
    }
    if (protocols & (RINGWAY_TCP | RINGWAY_UDP | RINGWAY_SCTP)) {
        dp_packet_ol_l4_csum_check_partial(packet);
        if (!dp_packet_l4_checksum_good(packet) && !dp_packet_ol_l4_csum_partial(packet)) {
            return;
        }
        if (protocols & RINGWAY_TCP) {
            dp_packet_hwol_set_csum_tcp(packet);
        } else if (protocols & RINGWAY_SCTP) {
            dp_packet_hwol_set_csum_sctp(packet);
        } else if (tunnel) {
            dp_packet_hwol_set_outer_udp_csum(packet);
        } else {
            dp_packet_hwol_set_csum_udp(packet);
        }
    }
}
#else
static inline void
set_offloads(struct dp_packet *packet OVS_UNUSED, uint8_t protocols OVS_UNUSED, bool tunnel OVS_UNUSED)
{
}
#endif

static inline bool
is_tunnel(struct dp_packet *packet OVS_UNUSED)
{
#if RINGWAY_OVS_VERSION >= 306
    return dp_packet_tunnel(packet);
#elif RINGWAY_OVS_VERSION >= 305
    return dp_packet_hwol_is_tunnel(packet);
#else
    return false;
#endif
}

/* The packet's first byte. A packet without memory has none: then its offset is UINT16_MAX and its size 0, and any
 * address will do that isn't null, which the Rust half wants; so that case needs no branch. */
static inline const void *
packet_data(const struct dp_packet *packet)
{
    return (const void *) ((uintptr_t) dp_packet_base(packet) + __packet_data(packet));
}

static void __attribute__((noinline, cold))
set_hash(struct dp_packet *packet, struct ringway_extraction found)
{
    if (!(found.protocols & (RINGWAY_TCP | RINGWAY_UDP))) {
        return;
    }
    dp_packet_set_rss_hash(packet, RINGWAY_HASH(ringway_flow_rss_hash)(packet_data(packet), dp_packet_size(packet),
                                                                       found));
}

void
ringway_ovs_miniflow_extract(struct dp_packet *packet, struct miniflow *dst)
{
#ifdef RINGWAY_COUNT_CALLS
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
#endif
    struct ringway_extraction found = ringway_flow_extract(&packet->md, dst, (uint32_t) flow_vlan_limit,
                                                           (OVS_FORCE uint32_t) packet->packet_type,
                                                           packet_data(packet), dp_packet_size(packet));
    bool tunnel = is_tunnel(packet);

    memcpy((char *) packet + offsetof(struct dp_packet, l2_pad_size), &found, 8);
#if RINGWAY_OVS_VERSION >= 305
    /* The offsets of an inner packet are kept for the one that is just being sent into a tunnel. */
    if (OVS_LIKELY(!tunnel)) {
        memset((char *) packet + offsetof(struct dp_packet, inner_l3_ofs), 0xff, 4);
    }
#endif
    set_offloads(packet, found.protocols, tunnel);
    /* Last, so that nothing has to be kept over the call. Who has no hash is asked first: that is the same for all
     * packets of a port, and so foreseen. */
    if (OVS_UNLIKELY(!dp_packet_rss_valid(packet))) {
        set_hash(packet, found);
    }
}

uint32_t
ringway_ovs_miniflow_hash_5tuple(const struct miniflow *flow, uint32_t basis)
{
    return flow ? RINGWAY_HASH(ringway_flow_miniflow_hash)(flow, basis) : hash_finish(basis, 42);
}

uint32_t
ringway_ovs_flow_hash_5tuple(const struct flow *flow, uint32_t basis)
{
    return flow ? RINGWAY_HASH(ringway_flow_flow_hash)(flow, basis) : hash_finish(basis, 42);
}
