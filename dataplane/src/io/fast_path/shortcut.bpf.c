// SPDX-License-Identifier: MIT OR Apache-2.0
// The usual packets of established flows, carried by the kernel alone.
//
// Runs where frames arrive on each of adit's interfaces (TCX, ingress). What `buckets` know is
// rewritten and sent on; everything else goes to adit by `inboxes`, as if this program were not
// there. It decides nothing: adit writes every slot, in place, and a slot counts only while its
// epoch is the one in force. Any doubt (a flag, an option, a fragment, a length) makes a packet
// adit's.
//
// Layouts and the hash are those of `slot.rs`, all fields in the byte order of packets where they
// hold what packets hold. Built by `cargo xtask bpf`, which compares it with the object beside it.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

// What BPF programs commonly take from libbpf's headers: the forms of sections and maps, and the
// kernel's functions by their numbers in linux/bpf.h.
#define SEC(name) __attribute__((section(name), used))
#define inlined inline __attribute__((always_inline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define bpf_htons(value) __builtin_bswap16(value)
#define bpf_ntohs(value) __builtin_bswap16(value)

static void *(*bpf_map_lookup_elem)(void *, const void *) = (void *)1;
static __u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_l4_csum_replace)(struct __sk_buff *, __u32, __u64, __u64, __u64) = (void *)11;
static long (*bpf_clone_redirect)(struct __sk_buff *, __u32, __u64) = (void *)13;
static long (*bpf_redirect)(__u32, __u64) = (void *)23;
static long (*bpf_skb_pull_data)(struct __sk_buff *, __u32) = (void *)39;
static long (*bpf_redirect_peer)(__u32, __u64) = (void *)155;
static __u64 (*bpf_ktime_get_coarse_ns)(void) = (void *)160;

#define DONT_FRAGMENT 0x4000
#define HEADERS_END (sizeof(struct ethhdr) + sizeof(struct iphdr))
#define barrier() asm volatile("" ::: "memory")
// FIN, SYN, RST and URG, of the byte that holds the flags: whatever may change a flow's state.
#define UNUSUAL_FLAGS 0x27
#define ACK 0x10
// Places of interfaces: a power of two.
#define INBOXES 4096
#define SLOTS_PER_BUCKET 4
#define BUCKETS (1 << 16)
// Two directions of every account.
#define CELLS_PER_PROCESSOR (2 << 16)

// An interface under this program, at the place that is its number modulo that of places.
struct inbox {
	__u32 of;        // its number
	__u32 scope;     // its virtual network
	__u32 interface; // where adit reads what arrives here
	__u8 station[6]; // adit's own address there
	__u16 by_peer;   // whether what leaves here goes straight to the other end of a veth
};

struct key {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 domain; // scope << 8 | protocol
};

// What becomes of the packets of one direction of a flow. One cache line.
struct slot {
	__u32 serial; // another one whenever adit has written here; odd while it does
	__u32 epoch;  // 0: the slot is free
	struct key key;
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 from[6];    // the station that must have sent it; zeros: whichever
	__u8 to[6];      // the one that it goes to
	__u16 account;
	__u16 leaves;    // the place of the interface that it leaves by, and flags
	__u16 arrives;   // that of the one that it must have come by
	__u16 mtu;
	__u64 last_used_ns; // as of the last timer interrupt; written here
};

// Flags of `leaves`, above the place.
#define RETURNS (1 << 12) // counted as the direction of answers
#define COUNTS (1 << 13)  // what is carried is counted for the slot, too
#define ANYWHERE (1 << 14) // whichever interface of the scope it came by

struct bucket {
	struct slot slots[SLOTS_PER_BUCKET];
};

struct settings {
	__u32 epoch; // the one in force
	__u32 unused;
	__u64 seeds[2]; // of the hash
};

// Of one processor, or one slot.
struct passed {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INBOXES);
	__type(key, __u32);
	__type(value, struct inbox);
} inboxes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BUCKETS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");

// What was carried by each slot that counts.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BUCKETS * SLOTS_PER_BUCKET);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct passed);
} carried SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct passed);
} account SEC(".maps");

// What was carried by account and direction, for each processor. adit reads it in place.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); // adit says how many
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct passed);
} accounts SEC(".maps");

// What was found for a packet: a copy of the slot, and where that is.
struct found {
	struct slot slot;
	struct slot *place;
	__u32 number;
};

static inlined int same_station(const __u8 *a, const __u8 *b)
{
	return *(const __u32 *)a == *(const __u32 *)b &&
	       *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

// Whether the frame has a station that may be anybody's own.
static inlined int is_from(const __u8 *station, const __u8 *wanted)
{
	const __u8 nobody[6] = {};

	if (same_station(wanted, nobody))
		return !(station[0] & 1) && !same_station(station, nobody);
	return same_station(station, wanted);
}

static inlined int same_key(const struct key *a, const struct key *b)
{
	return a->source == b->source && a->destination == b->destination &&
	       a->source_port == b->source_port && a->destination_port == b->destination_port &&
	       a->domain == b->domain;
}

// The two buckets that a key may be in, in the upper and the lower half.
static inlined __u32 buckets_of(const struct settings *settings, const struct key *key)
{
	__u64 addresses = (__u64)key->source << 32 | key->destination;
	__u64 rest = (__u64)key->source_port << 48 | (__u64)key->destination_port << 32 |
		     key->domain;
	__u64 hash = (addresses ^ settings->seeds[0]) * 0x9fb21c651e98df25;

	hash ^= hash >> 32;
	hash = (hash ^ rest ^ settings->seeds[1]) * 0xd6e8feb86659fd93;
	hash ^= hash >> 32;
	hash *= 0x9fb21c651e98df25;
	return hash >> 32;
}

// Finds a key in a bucket and takes a copy. adit may write the slot meanwhile; so a copy counts
// only if it is whole (nobody wrote before and behind it, read in the order of writing reversed)
// and this key's.
static inlined int find_in(__u32 number, const struct key *key, struct found *found)
{
	struct bucket *bucket = bpf_map_lookup_elem(&buckets, &number);

	if (!bucket)
		return 0;
#pragma unroll
	for (int at = 0; at < SLOTS_PER_BUCKET; at++) {
		struct slot *slot = &bucket->slots[at];
		__u32 serial;

		if (!same_key(&slot->key, key))
			continue;
		serial = *(volatile __u32 *)&slot->serial;
		barrier();
		found->slot = *slot;
		barrier();
		if (serial & 1 || serial != *(volatile __u32 *)&slot->serial ||
		    !same_key(&found->slot.key, key) || !found->slot.epoch)
			continue;
		found->place = slot;
		found->number = number * SLOTS_PER_BUCKET + at;
		return 1;
	}
	return 0;
}

// To adit, and on to the host's own stack, as frames of an interface with a packet socket do.
static inlined int leave_to_adit(struct __sk_buff *frame, const struct inbox *inbox)
{
	bpf_clone_redirect(frame, inbox->interface, 0);
	return TC_ACT_UNSPEC;
}

static inlined void add(struct passed *passed, __u32 bytes)
{
	if (passed) {
		passed->packets += 1;
		passed->bytes += bytes;
	}
}

// Nobody else counts on this processor meanwhile.
static inlined void count(const struct found *found, __u32 bytes)
{
	__u32 zero = 0, cell = found->slot.account * 2 + !!(found->slot.leaves & RETURNS);
	__u32 at = bpf_get_smp_processor_id() * CELLS_PER_PROCESSOR + cell;
	struct passed *own;

	add(bpf_map_lookup_elem(&account, &zero), bytes);
	add(bpf_map_lookup_elem(&accounts, &at), bytes);
	if (!(found->slot.leaves & COUNTS))
		return;
	own = bpf_map_lookup_elem(&carried, &found->number);
	if (own) {
		// One direction of a flow may arrive at several processors.
		__sync_fetch_and_add(&own->packets, 1);
		__sync_fetch_and_add(&own->bytes, (__u64)bytes);
	}
}

// What changes in a sum when a word of a packet is another one: RFC 1624, of 32 bits.
static inlined __u32 difference(__u64 old_words, __u64 new_words)
{
	__u64 sum = old_words + new_words;

	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static inlined __u32 inverse(__u32 word)
{
	return ~word;
}

// Everything but the transport's sum, which the kernel's own helpers change, because they know
// whether it is partial. Fails only if the headers were not there, which the caller has seen.
static inlined int rewrite(struct __sk_buff *frame, const struct slot *slot, const __u8 *own,
			   __u32 addresses)
{
	void *data = (void *)(long)frame->data;
	void *end = (void *)(long)frame->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = data + sizeof(*ethernet);
	__be16 *port = data + HEADERS_END;
	__u32 sum;

	if (data + HEADERS_END + 4 > end)
		return 0;
	__builtin_memcpy(ethernet->h_dest, slot->to, sizeof(slot->to));
	__builtin_memcpy(ethernet->h_source, own, sizeof(ethernet->h_source));
	// The sum with other addresses and one hop less: RFC 1624, equation 3.
	sum = (__u16)~ip->check + (addresses & 0xffff) + (addresses >> 16);
	sum += (__u16)~bpf_htons(0x0100);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->ttl -= 1;
	ip->saddr = slot->source;
	ip->daddr = slot->destination;
	port[0] = slot->source_port;
	port[1] = slot->destination_port;
	return 1;
}

SEC("classifier")
int shortcut(struct __sk_buff *frame)
{
	__u32 interface = frame->ifindex, zero = 0, sum_at, wire, places, addresses, ports;
	__u32 place = interface % INBOXES;
	void *data, *end;
	struct ethhdr *ethernet;
	struct iphdr *ip;
	struct inbox *inbox = bpf_map_lookup_elem(&inboxes, &place), *leaves, exit;
	struct settings *in_force = bpf_map_lookup_elem(&settings, &zero);
	struct found found;
	struct slot *slot = &found.slot;
	struct key key;
	__u64 udp = 0;

	if (!inbox || inbox->of != interface || !in_force)
		return TC_ACT_UNSPEC;
	data = (void *)(long)frame->data;
	end = (void *)(long)frame->data_end;
	// With the ports, and with a UDP header for both protocols.
	if (data + HEADERS_END + sizeof(struct udphdr) > end) {
		if (bpf_skb_pull_data(frame, HEADERS_END + sizeof(struct tcphdr)))
			return leave_to_adit(frame, inbox);
		data = (void *)(long)frame->data;
		end = (void *)(long)frame->data_end;
		if (data + HEADERS_END + sizeof(struct udphdr) > end)
			return leave_to_adit(frame, inbox);
	}
	ethernet = data;
	ip = data + sizeof(*ethernet);
	if (frame->vlan_present || ethernet->h_proto != bpf_htons(ETH_P_IP) ||
	    !same_station(ethernet->h_dest, inbox->station) || ip->version != 4 || ip->ihl != 5 ||
	    ip->frag_off != bpf_htons(DONT_FRAGMENT) || ip->ttl <= 1)
		return leave_to_adit(frame, inbox);
	wire = frame->len - sizeof(*ethernet);
	if (bpf_ntohs(ip->tot_len) != wire)
		return leave_to_adit(frame, inbox);
	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + HEADERS_END;
		__u8 flags;

		if ((void *)(tcp + 1) > end)
			return leave_to_adit(frame, inbox);
		flags = ((__u8 *)tcp)[13];
		if ((flags & (UNUSUAL_FLAGS | ACK)) != ACK || tcp->doff < 5)
			return leave_to_adit(frame, inbox);
		sum_at = HEADERS_END + 16;
		if (frame->gso_size)
			wire = sizeof(*ip) + tcp->doff * 4 + frame->gso_size;
	} else if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *datagram = data + HEADERS_END;

		if (!frame->gso_size && bpf_ntohs(datagram->len) != wire - sizeof(*ip))
			return leave_to_adit(frame, inbox);
		sum_at = HEADERS_END + 6;
		udp = BPF_F_MARK_MANGLED_0;
		if (frame->gso_size)
			wire = sizeof(*ip) + sizeof(*datagram) + frame->gso_size;
	} else {
		return leave_to_adit(frame, inbox);
	}
	key.source = ip->saddr;
	key.destination = ip->daddr;
	key.source_port = ((__be16 *)(data + HEADERS_END))[0];
	key.destination_port = ((__be16 *)(data + HEADERS_END))[1];
	key.domain = inbox->scope << 8 | ip->protocol;
	places = buckets_of(in_force, &key);
	if (!find_in(places >> 16, &key, &found) && !find_in(places & 0xffff, &key, &found))
		return leave_to_adit(frame, inbox);
	if (wire > slot->mtu || (!(slot->leaves & ANYWHERE) && slot->arrives != place) ||
	    !is_from(ethernet->h_source, slot->from))
		return leave_to_adit(frame, inbox);
	place = slot->leaves % INBOXES;
	leaves = bpf_map_lookup_elem(&inboxes, &place);
	if (!leaves)
		return leave_to_adit(frame, inbox);
	exit = *leaves;
	// Looked at last: adit begins another epoch before it changes what an epoch relies on.
	barrier();
	if (slot->epoch != *(volatile __u32 *)&in_force->epoch)
		return leave_to_adit(frame, inbox);
	found.place->last_used_ns = bpf_ktime_get_coarse_ns();
	addresses = difference((__u64)inverse(key.source) + inverse(key.destination),
			       (__u64)slot->source + slot->destination);
	ports = difference((__u64)inverse(key.source_port | (__u32)key.destination_port << 16),
			   slot->source_port | (__u32)slot->destination_port << 16);
	// Nothing has been changed if this fails.
	if (bpf_l4_csum_replace(frame, sum_at, 0, addresses, BPF_F_PSEUDO_HDR | udp))
		return leave_to_adit(frame, inbox);
	bpf_l4_csum_replace(frame, sum_at, 0, ports, udp);
	if (!rewrite(frame, slot, exit.station, addresses))
		return TC_ACT_SHOT;
	count(&found, frame->len);
	if (exit.by_peer)
		return bpf_redirect_peer(exit.of, 0);
	return bpf_redirect(exit.of, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
