// SPDX-License-Identifier: MIT OR Apache-2.0
// The usual packets of established flows, carried by the kernel alone.
//
// Runs where frames arrive on each of adit's interfaces (TCX, ingress). What `entries` knows is
// rewritten and sent on; everything else goes to adit by `inboxes`, as if this program were not
// there. It decides nothing: adit writes every entry, and an entry counts only while its epoch is
// the one in force. Any doubt (a flag, an option, a fragment, a length) makes a packet adit's.
//
// Layouts are those of `entry.rs`, all fields in the byte order of packets where they hold what
// packets hold. Built by `cargo xtask bpf`, which compares it with the object beside it.

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
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_l4_csum_replace)(struct __sk_buff *, __u32, __u64, __u64, __u64) = (void *)11;
static long (*bpf_clone_redirect)(struct __sk_buff *, __u32, __u64) = (void *)13;
static long (*bpf_redirect)(__u32, __u64) = (void *)23;
static long (*bpf_skb_pull_data)(struct __sk_buff *, __u32) = (void *)39;
static long (*bpf_redirect_peer)(__u32, __u64) = (void *)155;

#define DONT_FRAGMENT 0x4000
#define HEADERS_END (sizeof(struct ethhdr) + sizeof(struct iphdr))
#define barrier() asm volatile("" ::: "memory")
// FIN, SYN, RST and URG, of the byte that holds the flags: whatever may change a flow's state.
#define UNUSUAL_FLAGS 0x27
#define ACK 0x10
// Two directions of every account.
#define CELLS_PER_PROCESSOR (2 << 16)

// An interface under this program, by its number.
struct inbox {
	__u32 scope;     // its virtual network
	__u32 interface; // where adit reads what arrives here
	__u8 station[6]; // adit's own address there
	__u8 unused[2];
};

struct key {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 domain; // scope << 8 | protocol
};

// Written from its first byte to its last by the kernel's copy, which is why two of its fields say
// the same: a record that is being reused for another flow has different ones.
struct entry {
	__u32 serial; // no two entries that were ever written have the same
	__u32 epoch;
	struct key key;
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 stations[12]; // destination and source of the frame that leaves
	__u8 from[6];      // the station that must have sent it; zeros: whichever
	__u16 leaves_by_peer; // whether it goes straight to the other end of a veth
	__u32 arrives_by;  // the interface that it must have come by; 0: whichever of the scope
	__u32 leaves_by;
	__u32 mtu;
	__u32 addresses; // what changes in sums over addresses, and over ports
	__u32 ports;
	__u32 counts; // whether what is carried is counted here
	__u32 cell; // among those of a processor: account << 1 | direction
	__u32 serial_again;
	__u64 last_used_ns; // written here, and so are these
	__u64 packets;
	__u64 bytes;
};

// Of one processor.
struct passed {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct inbox);
} inboxes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); // adit says how many
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key);
	__type(value, struct entry);
} entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} epoch SEC(".maps");

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

// Takes a copy of an entry. The kernel may give a record that was found to another flow at any
// moment, without waiting for who still reads it; so a copy counts only if it is whole (its serial
// numbers agree, read in the reverse order of writing) and this key's.
static inlined int take(const struct entry *entry, const struct key *key,
				struct entry *copy)
{
	__u32 serial = *(volatile __u32 *)&entry->serial_again;

	barrier();
	__builtin_memcpy(copy, entry, sizeof(*copy));
	barrier();
	return serial == *(volatile __u32 *)&entry->serial && copy->key.source == key->source &&
	       copy->key.destination == key->destination &&
	       copy->key.source_port == key->source_port &&
	       copy->key.destination_port == key->destination_port &&
	       copy->key.domain == key->domain;
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
static inlined void count(__u32 cell, __u32 bytes)
{
	__u32 zero = 0, at = bpf_get_smp_processor_id() * CELLS_PER_PROCESSOR + cell;

	add(bpf_map_lookup_elem(&account, &zero), bytes);
	add(bpf_map_lookup_elem(&accounts, &at), bytes);
}

// Everything but the transport's sum, which the kernel's own helpers change, because they know
// whether it is partial. Fails only if the headers were not there, which the caller has seen.
static inlined int rewrite(struct __sk_buff *frame, const struct entry *entry)
{
	void *data = (void *)(long)frame->data;
	void *end = (void *)(long)frame->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = data + sizeof(*ethernet);
	__be16 *port = data + HEADERS_END;
	__u32 sum;

	if (data + HEADERS_END + 4 > end)
		return 0;
	__builtin_memcpy(ethernet, entry->stations, sizeof(entry->stations));
	// The sum with other addresses and one hop less: RFC 1624, equation 3.
	sum = (__u16)~ip->check + (entry->addresses & 0xffff) + (entry->addresses >> 16);
	sum += (__u16)~bpf_htons(0x0100);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->ttl -= 1;
	ip->saddr = entry->source;
	ip->daddr = entry->destination;
	port[0] = entry->source_port;
	port[1] = entry->destination_port;
	return 1;
}

SEC("classifier")
int shortcut(struct __sk_buff *frame)
{
	__u32 interface = frame->ifindex, zero = 0, sum_at, wire, *now_in_force;
	void *data, *end;
	struct ethhdr *ethernet;
	struct iphdr *ip;
	struct inbox *inbox = bpf_map_lookup_elem(&inboxes, &interface);
	struct entry *found, entry;
	struct key key;
	__u64 udp = 0;

	if (!inbox)
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
	found = bpf_map_lookup_elem(&entries, &key);
	now_in_force = bpf_map_lookup_elem(&epoch, &zero);
	if (!found || !now_in_force || !take(found, &key, &entry) ||
	    entry.epoch != *(volatile __u32 *)now_in_force || wire > entry.mtu ||
	    (entry.arrives_by && entry.arrives_by != interface) ||
	    !is_from(ethernet->h_source, entry.from))
		return leave_to_adit(frame, inbox);
	found->last_used_ns = bpf_ktime_get_ns();
	// Nothing has been changed if this fails.
	if (bpf_l4_csum_replace(frame, sum_at, 0, entry.addresses, BPF_F_PSEUDO_HDR | udp))
		return leave_to_adit(frame, inbox);
	bpf_l4_csum_replace(frame, sum_at, 0, entry.ports, udp);
	if (!rewrite(frame, &entry))
		return TC_ACT_SHOT;
	count(entry.cell, frame->len);
	if (entry.counts) {
		// One direction of a flow may arrive at several processors.
		__sync_fetch_and_add(&found->packets, 1);
		__sync_fetch_and_add(&found->bytes, (__u64)frame->len);
	}
	if (entry.leaves_by_peer)
		return bpf_redirect_peer(entry.leaves_by, 0);
	return bpf_redirect(entry.leaves_by, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
