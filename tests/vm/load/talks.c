// SPDX-License-Identifier: Apache-2.0
/* Protocols in depth: what sockets of one kind do that the common echo of sockets.c does not. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/if_packet.h>
#include <linux/kcm.h>
#include <linux/mroute.h>
#include <linux/mroute6.h>
#include <linux/rds.h>
#include <linux/sctp.h>
#include <linux/tipc.h>
#include <linux/tls.h>
#include <linux/udp.h>
#include <linux/vm_sockets.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"


static char out[70000], in[70000];
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
static const int one = 1;

static socklen_t loopback(struct sockaddr_in6 *to, int family, int port)
{
	struct sockaddr_in *four = (struct sockaddr_in *)to;

	memset(to, 0, sizeof(*to));
	to->sin6_family = family;
	to->sin6_port = htons((unsigned short)port);
	if (family == AF_INET6) {
		to->sin6_addr = in6addr_loopback;
		return sizeof(*to);
	}
	four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(*four);
}

/* Listening, connecting and accepted socket; a hook sets options before they know each other. */
static int meet(int family, int type, int protocol, int port, void (*prepare)(int socket), int *ends)
{
	struct sockaddr_in6 address;
	socklen_t size = loopback(&address, family, port);
	struct timeval limit = { 0, 300000 };
	int server = socket(family, type, protocol);

	ends[0] = socket(family, type, protocol);
	ends[1] = -1;
	if (server < 0 || ends[0] < 0)
		return -1;
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (prepare)
		prepare(server), prepare(ends[0]);
	if (bind(server, (struct sockaddr *)&address, size) || listen(server, 5) || connect(ends[0], (struct sockaddr *)&address, size)) {
		close(server);
		return -1;
	}
	ends[1] = accept(server, NULL, NULL);
	setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	close(server);
	return ends[1] < 0 ? -1 : 0;
}

static int carries(int from, int to, size_t bytes, int flags)
{
	size_t have = 0;
	ssize_t got;

	memset(in, 0, bytes);
	if (send(from, out, bytes, flags | MSG_NOSIGNAL) != (ssize_t)bytes)
		return 0;
	while (have < bytes && (got = recv(to, in + have, bytes - have, 0)) > 0)
		have += got;
	return have == bytes && memcmp(in, out, bytes);
}

static int encrypted(void)
{
	static const struct { unsigned short version, cipher; unsigned int size; } kinds[] = { { 0x0303, TLS_CIPHER_AES_GCM_128, sizeof(struct tls12_crypto_info_aes_gcm_128) },
		{ 0x0304, TLS_CIPHER_AES_GCM_256, sizeof(struct tls12_crypto_info_aes_gcm_256) }, { 0x0304, TLS_CIPHER_AES_CCM_128, sizeof(struct tls12_crypto_info_aes_ccm_128) },
		{ 0x0304, TLS_CIPHER_CHACHA20_POLY1305, sizeof(struct tls12_crypto_info_chacha20_poly1305) }, { 0x0304, TLS_CIPHER_AES_GCM_128, sizeof(struct tls12_crypto_info_aes_gcm_128) } };
	unsigned int i;
	int wrong = 0, ends[2], file, pipes[2];

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct { struct tls_crypto_info info; char more[80]; } keys = { { kinds[i].version, kinds[i].cipher }, "0123456789abcdef0123456789abcdef0123456789" };
		char control[CMSG_SPACE(1)], type = 100;
		struct iovec part = { out, 100 };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		socklen_t size = sizeof(keys);

		if (meet(i & 1 ? AF_INET6 : AF_INET, SOCK_STREAM, 0, 7100 + i, NULL, ends))
			continue;
		setsockopt(ends[0], IPPROTO_TCP, TCP_ULP, "tls", 3);
		setsockopt(ends[1], IPPROTO_TCP, TCP_ULP, "tls", 3);
		setsockopt(ends[0], SOL_TLS, TLS_TX, &keys, kinds[i].size);
		setsockopt(ends[1], SOL_TLS, TLS_RX, &keys, kinds[i].size);
		if (i == 4) {
			setsockopt(ends[0], SOL_TLS, 3 /* TX_ZEROCOPY_RO */, &one, sizeof(one));
			setsockopt(ends[1], SOL_TLS, 4 /* RX_EXPECT_NO_PAD */, &one, sizeof(one));
		}
		wrong += carries(ends[0], ends[1], 100, 0) + carries(ends[0], ends[1], 40000, 0) + carries(ends[0], ends[1], 10, MSG_MORE);
		file = open("/share/kcare.ko", O_RDONLY);
		sendfile(ends[0], file, NULL, 30000);
		if (pipe(pipes) == 0) {
			splice(ends[1], NULL, pipes[1], NULL, 10000, SPLICE_F_NONBLOCK);
			close(pipes[0]), close(pipes[1]);
		}
		recv(ends[1], in, 1000, MSG_PEEK | MSG_DONTWAIT);
		recv(ends[1], in, sizeof(in), MSG_DONTWAIT);
		head->cmsg_level = SOL_TLS;
		head->cmsg_type = TLS_SET_RECORD_TYPE;
		head->cmsg_len = CMSG_LEN(1);
		*CMSG_DATA(head) = type;
		sendmsg(ends[0], &message, MSG_NOSIGNAL);
		while (recv(ends[1], in, sizeof(in), MSG_DONTWAIT) > 0)
			;
		message.msg_controllen = sizeof(control);
		part.iov_base = in;
		recvmsg(ends[1], &message, 0);
		getsockopt(ends[0], SOL_TLS, TLS_TX, &keys, &size);
		poll(&(struct pollfd){ .fd = ends[1], .events = POLLIN | POLLOUT }, 1, 0);
		shutdown(ends[0], SHUT_WR);
		close(ends[0]), close(ends[1]), close(file);
	}
	return wrong;
}

static void all_of_sctp(int socket)
{
	struct sctp_event_subscribe events;
	struct sctp_initmsg start = { 10, 10, 3, 1000 };
	int two = 2, i;

	memset(&events, 1, sizeof(events));
	setsockopt(socket, IPPROTO_SCTP, SCTP_EVENTS, &events, sizeof(events));
	setsockopt(socket, IPPROTO_SCTP, SCTP_INITMSG, &start, sizeof(start));
	setsockopt(socket, IPPROTO_SCTP, SCTP_FRAGMENT_INTERLEAVE, &two, sizeof(two));
	for (i = 113; i < 130; i++) { /* what both have to support, by its own number */
		struct { int association; unsigned int value; } value = { 0, 1 };

		setsockopt(socket, IPPROTO_SCTP, i, &value, sizeof(value));
	}
	setsockopt(socket, IPPROTO_SCTP, SCTP_AUTH_CHUNK, &(unsigned char){ 0 }, 1);
	setsockopt(socket, IPPROTO_SCTP, SCTP_NODELAY, &one, sizeof(one));
}

static int associations(void)
{
	int ends[2], wrong = 0, i, many = socket(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP), peeled;
	struct sockaddr_in6 to;
	char control[CMSG_SPACE(sizeof(struct sctp_sndrcvinfo))];

	for (i = 0; i < 2; i++) {
		if (meet(i ? AF_INET6 : AF_INET, SOCK_STREAM, IPPROTO_SCTP, 7200 + i, all_of_sctp, ends) == 0) {
			struct iovec part = { out, 5000 };
			struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
			struct cmsghdr *head = CMSG_FIRSTHDR(&message);
			struct sctp_sndrcvinfo info = { .sinfo_stream = 3, .sinfo_flags = SCTP_UNORDERED, .sinfo_ppid = 7, .sinfo_timetolive = 100 };
			struct { int association; unsigned short flags, count; unsigned short list[2]; } reset = { 0, 3, 0, { 0 } };
			struct { int association; unsigned short in, out; } add = { 0, 2, 2 };
			struct sctp_status status = { 0 };
			struct sctp_paddrparams peer = { .spp_hbinterval = 50, .spp_flags = SPP_HB_ENABLE | SPP_PMTUD_ENABLE };
			socklen_t size = sizeof(status);

			recv(ends[1], in, sizeof(in), 0);
			head->cmsg_level = IPPROTO_SCTP;
			head->cmsg_type = SCTP_SNDRCV;
			head->cmsg_len = CMSG_LEN(sizeof(info));
			memcpy(CMSG_DATA(head), &info, sizeof(info));
			sendmsg(ends[0], &message, MSG_NOSIGNAL);
			recv(ends[1], in, sizeof(in), 0);
			setsockopt(ends[0], IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &peer, sizeof(peer));
			setsockopt(ends[0], IPPROTO_SCTP, 119 /* RESET_STREAMS */, &reset, sizeof(reset));
			setsockopt(ends[0], IPPROTO_SCTP, 121 /* ADD_STREAMS */, &add, sizeof(add));
			setsockopt(ends[0], IPPROTO_SCTP, 120 /* RESET_ASSOC */, &one, sizeof(one));
			getsockopt(ends[0], IPPROTO_SCTP, SCTP_STATUS, &status, &size);
			loopback(&to, i ? AF_INET6 : AF_INET, 0);
			((struct sockaddr_in *)&to)->sin_addr.s_addr = htonl(i ? 0 : 0x0a090001);
			setsockopt(ends[0], IPPROTO_SCTP, SCTP_SOCKOPT_BINDX_ADD, &to, i ? sizeof(to) : 16);
			setsockopt(ends[0], IPPROTO_SCTP, SCTP_SOCKOPT_BINDX_REM, &to, i ? sizeof(to) : 16);
			for (int scheduler = 0; scheduler < 5; scheduler++)
				setsockopt(ends[0], IPPROTO_SCTP, 123, &(struct sctp_assoc_value){ 0, scheduler }, 8), send(ends[0], out, 2000, MSG_NOSIGNAL | MSG_DONTWAIT);
			usleep(120000);
			while (recv(ends[1], in, sizeof(in), MSG_DONTWAIT) > 0)
				;
			if (i)
				setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
			else
				shutdown(ends[0], SHUT_WR), usleep(10000);
		}
		close(ends[0]), close(ends[1]);
	}
	/* One to many: to oneself, peeled off, aborted. */
	loopback(&to, AF_INET, 7209);
	if (many >= 0 && bind(many, (struct sockaddr *)&to, 16) == 0 && listen(many, 3) == 0) {
		int other = socket(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP);
		struct { int association, fd; } peel = { 0, 0 };
		socklen_t size = sizeof(peel);

		all_of_sctp(other);
		sendto(other, out, 100, MSG_DONTWAIT, (struct sockaddr *)&to, 16);
		usleep(20000);
		recv(many, in, sizeof(in), MSG_DONTWAIT);
		peel.association = 1;
		peeled = getsockopt(other, IPPROTO_SCTP, SCTP_SOCKOPT_PEELOFF, &peel, &size);
		if (peeled >= 0)
			close(peel.fd);
		close(other);
	}
	close(many);
	return wrong;
}

static int multiplexed(void)
{
	/* KCM: messages by a length in front of them; the program says how long. */
	struct { uint8_t code, regs; int16_t off; int32_t imm; } code[] = { { 0xbf, 0x16, 0, 0 }, { 0x28, 0, 0, 0 }, { 0x95, 0, 0, 0 } };
	struct { uint32_t type, count; uint64_t code, license; char more[100]; } load = { 1, 3, (unsigned long)code, (unsigned long)"GPL", "" };
	int program = (int)syscall(321, 5, &load, 48), ends[2], kcm = socket(AF_KCM, SOCK_DGRAM, KCMPROTO_CONNECTED), other;
	struct kcm_attach attach = { 0 };
	struct kcm_clone clone_ = { 0 };

	if (kcm < 0 || program < 0 || meet(AF_INET, SOCK_STREAM, 0, 7300, NULL, ends))
		return 0;
	attach.fd = ends[1];
	attach.bpf_fd = program;
	if (ioctl(kcm, SIOCKCMATTACH, &attach) == 0) {
		ioctl(kcm, SIOCKCMCLONE, &clone_);
		other = clone_.fd;
		out[0] = 0, out[1] = 100;
		send(ends[0], out, 100, 0);
		send(ends[0], out, 60, 0);
		usleep(10000);
		send(ends[0], out, 40, 0);
		recv(kcm, in, 1000, MSG_DONTWAIT);
		recv(other, in, 1000, MSG_DONTWAIT);
		send(kcm, out, 100, MSG_DONTWAIT | MSG_NOSIGNAL);
		send(kcm, out, 50, MSG_MORE | MSG_DONTWAIT);
		setsockopt(kcm, 281 /* SOL_KCM */, KCM_RECV_DISABLE, &one, sizeof(one));
		close(open("/proc/net/kcm", O_RDONLY));
		ioctl(kcm, SIOCKCMUNATTACH, &(struct kcm_unattach){ ends[1] });
		close(other);
	}
	close(kcm), close(ends[0]), close(ends[1]), close(program);
	return 0;
}

static void before_tcp(int socket)
{
	setsockopt(socket, IPPROTO_TCP, TCP_FASTOPEN, &(int){ 5 }, sizeof(int));
	setsockopt(socket, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof(one));
	setsockopt(socket, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
	setsockopt(socket, SOL_SOCKET, SO_INCOMING_CPU, &one, sizeof(one));
	setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &(int){ 1000 }, sizeof(int));
	setsockopt(socket, IPPROTO_TCP, TCP_SAVE_SYN, &one, sizeof(one));
}

static int streams(void)
{
	static const char *const controls[] = { "cubic", "bbr", "dctcp", "cdg", "nv", "lp", "yeah", "veno", "bic", "hybla", "scalable", "highspeed" };
	struct tcp_md5sig key = { .tcpm_keylen = 5, .tcpm_key = "hello", .tcpm_flags = TCP_MD5SIG_FLAG_PREFIX, .tcpm_prefixlen = 8 };
	struct { struct sock_extended_err error; char more[100]; } told;
	struct msghdr message = { .msg_control = &told, .msg_controllen = sizeof(told) };
	struct tcp_repair_window window;
	int ends[2], wrong = 0, fast, client, info_size;
	struct sockaddr_in6 to;
	socklen_t size;
	unsigned int i;

	for (i = 0; i < sizeof(controls) / sizeof(*controls); i++) {
		if (meet(i & 1 ? AF_INET6 : AF_INET, SOCK_STREAM, i % 5 == 4 ? 262 : 0, 7400 + i, before_tcp, ends) == 0) {
			setsockopt(ends[0], IPPROTO_TCP, TCP_CONGESTION, controls[i], strlen(controls[i]));
			wrong += carries(ends[0], ends[1], 100, 0) + carries(ends[0], ends[1], 60000, 0);
			wrong += carries(ends[1], ends[0], 20000, MSG_ZEROCOPY);
			recvmsg(ends[1], &message, MSG_ERRQUEUE | MSG_DONTWAIT);
			send(ends[0], out, 1, MSG_OOB);
			recv(ends[1], in, 1, MSG_OOB | MSG_DONTWAIT);
			for (info_size = 1; info_size < 45; info_size++) {
				size = 1000;
				if (info_size != TCP_REPAIR)
					getsockopt(ends[1], IPPROTO_TCP, info_size, in, &size);
			}
			setsockopt(ends[0], IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one));
			size = sizeof(window);
			getsockopt(ends[0], IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &size);
			setsockopt(ends[0], IPPROTO_TCP, TCP_REPAIR, &(int){ 0 }, sizeof(int));
			setsockopt(ends[0], SOL_SOCKET, SO_MAX_PACING_RATE, &(int){ 10000000 }, sizeof(int));
			setsockopt(ends[0], SOL_SOCKET, SO_TIMESTAMPING, &(int){ 0x3ff }, sizeof(int));
			carries(ends[0], ends[1], 30000, 0);
			if (i % 3 == 2) { /* reset, with data that nobody reads */
				send(ends[0], out, 1000, 0);
				setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
				close(ends[1]);
				usleep(2000);
				send(ends[0], out, 1000, MSG_NOSIGNAL);
				ends[1] = -1;
			}
		}
		close(ends[0]), close(ends[1]);
	}
	/* Fast open, keys of BGP, a listener that is full, one that is gone. */
	size = loopback(&to, AF_INET, 7450);
	fast = socket(AF_INET, SOCK_STREAM, 0);
	before_tcp(fast);
	memcpy(&key.tcpm_addr, &to, 16);
	bind(fast, (struct sockaddr *)&to, size);
	listen(fast, 1);
	for (i = 0; i < 5; i++) {
		client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (i == 3)
			setsockopt(fast, IPPROTO_TCP, TCP_MD5SIG_EXT, &key, sizeof(key)), setsockopt(client, IPPROTO_TCP, TCP_MD5SIG_EXT, &key, sizeof(key));
		sendto(client, out, 500, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&to, size);
		usleep(3000);
		if (i == 1 || i == 3)
			close(accept4(fast, NULL, NULL, SOCK_NONBLOCK));
		connect(client, &(struct sockaddr){ AF_UNSPEC }, 16);
		close(client);
	}
	close(fast);
	return wrong;
}

static int datagrams(void)
{
	struct sockaddr_in6 to, many = { .sin6_family = AF_INET6 };
	int wrong = 0, i, values[] = { IP_RECVERR, IP_PKTINFO, IP_RECVOPTS, IP_RECVTOS, IP_RECVTTL, IP_RECVORIGDSTADDR, IP_TRANSPARENT, IP_FREEBIND, IP_CHECKSUM, IP_RECVFRAGSIZE };
	struct ip_mreqn group = { .imr_multiaddr.s_addr = htonl(0xef010203) };
	struct ipv6_mreq group6 = { .ipv6mr_multiaddr = { { { 0xff, 2, [15] = 0x77 } } } };
	struct group_source_req source = { 0 };
	struct mmsghdr lots[4] = { 0 };
	struct iovec part = { out, 3000 };
	static unsigned char options[] = { 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	static unsigned char routing[] = { 0, 2, 4, 1, 0, 0, 0, 0, [23] = 1 };

	for (i = 0; i < 2; i++) {
		int family = i ? AF_INET6 : AF_INET, server = socket(family, SOCK_DGRAM, 0), client = socket(family, SOCK_DGRAM, 0), number;
		socklen_t size = loopback(&to, family, 7500 + i);
		struct timeval limit = { 0, 100000 };

		bind(server, (struct sockaddr *)&to, size);
		setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		for (number = 0; number < 10; number++)
			setsockopt(server, i ? IPPROTO_IPV6 : IPPROTO_IP, i ? 49 + number : values[number], &one, sizeof(one));
		setsockopt(server, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
		setsockopt(server, SOL_UDP, UDP_GRO, &one, sizeof(one));
		setsockopt(client, SOL_UDP, UDP_SEGMENT, &(int){ 1000 }, sizeof(int));
		connect(client, (struct sockaddr *)&to, size);
		wrong += carries(client, server, 900, 0);
		send(client, out, 9000, 0);
		recv(server, in, sizeof(in), 0);
		setsockopt(client, SOL_UDP, UDP_SEGMENT, &(int){ 0 }, sizeof(int));
		send(client, out, 500, MSG_MORE);
		setsockopt(client, SOL_UDP, UDP_CORK, &one, sizeof(one));
		send(client, out, 1000, 0);
		setsockopt(client, SOL_UDP, UDP_CORK, &(int){ 0 }, sizeof(int));
		recv(server, in, sizeof(in), 0);
		wrong += carries(client, server, 40000, 0);
		for (number = 0; number < 4; number++)
			lots[number].msg_hdr.msg_iov = &part, lots[number].msg_hdr.msg_iovlen = 1;
		sendmmsg(client, lots, 4, 0);
		recvmmsg(server, lots, 4, MSG_WAITFORONE, NULL);
		if (i)
			setsockopt(client, IPPROTO_IPV6, IPV6_RTHDR, routing, sizeof(routing)), setsockopt(client, IPPROTO_IPV6, IPV6_DSTOPTS, &(uint64_t){ 0x40100 }, 8);
		else
			setsockopt(client, IPPROTO_IP, IP_OPTIONS, options, sizeof(options));
		send(client, out, 100, 0);
		recv(server, in, sizeof(in), 0);
		/* To one that is not there: told by ICMP. */
		close(server);
		setsockopt(client, i ? IPPROTO_IPV6 : IPPROTO_IP, i ? IPV6_RECVERR : IP_RECVERR, &one, sizeof(one));
		send(client, out, 10, 0);
		recv(client, in, 100, MSG_ERRQUEUE | MSG_DONTWAIT);
		setsockopt(client, i ? IPPROTO_IPV6 : IPPROTO_IP, i ? IPV6_JOIN_GROUP : IP_ADD_MEMBERSHIP, i ? (void *)&group6 : &group, i ? sizeof(group6) : sizeof(group));
		source.gsr_interface = 1;
		memcpy(&source.gsr_source, &to, size);
		if (i)
			many.sin6_addr = group6.ipv6mr_multiaddr, memcpy(&source.gsr_group, &many, sizeof(many));
		else
			((struct sockaddr_in *)&source.gsr_group)->sin_family = AF_INET, ((struct sockaddr_in *)&source.gsr_group)->sin_addr = group.imr_multiaddr;
		for (number = MCAST_JOIN_GROUP; number <= MCAST_LEAVE_SOURCE_GROUP; number++)
			setsockopt(client, i ? IPPROTO_IPV6 : IPPROTO_IP, number, &source, sizeof(source));
		close(client);
	}
	return wrong;
}

static int routes_of_many(void)
{
	int four = socket(AF_INET, SOCK_RAW, IPPROTO_IGMP), six = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), i, sender = socket(AF_INET, SOCK_DGRAM, 0);
	struct vifctl device = { .vifc_vifi = 0, .vifc_flags = VIFF_USE_IFINDEX, .vifc_threshold = 1, .vifc_lcl_ifindex = (int)if_nametoindex("near") };
	struct mif6ctl device6 = { .mif6c_mifi = 0, .vifc_threshold = 1, .mif6c_pifi = (unsigned short)if_nametoindex("near") };
	struct mfcctl route = { .mfcc_origin.s_addr = htonl(0x0a090001), .mfcc_mcastgrp.s_addr = htonl(0xef010203), .mfcc_ttls = { 1 } };
	struct mf6cctl route6 = { .mf6cc_parent = 0 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xef010204) };

	setsockopt(four, IPPROTO_IP, MRT_INIT, &one, sizeof(one));
	setsockopt(six, IPPROTO_IPV6, MRT6_INIT, &one, sizeof(one));
	setsockopt(four, IPPROTO_IP, MRT_ASSERT, &one, sizeof(one));
	setsockopt(four, IPPROTO_IP, MRT_ADD_VIF, &device, sizeof(device));
	device.vifc_vifi = 1;
	device.vifc_flags |= VIFF_REGISTER;
	setsockopt(four, IPPROTO_IP, MRT_ADD_VIF, &device, sizeof(device));
	setsockopt(six, IPPROTO_IPV6, MRT6_ADD_MIF, &device6, sizeof(device6));
	setsockopt(four, IPPROTO_IP, MRT_ADD_MFC, &route, sizeof(route));
	setsockopt(six, IPPROTO_IPV6, MRT6_ADD_MFC, &route6, sizeof(route6));
	for (i = 0; i < 3; i++)
		sendto(sender, out, 100, 0, (struct sockaddr *)&to, sizeof(to)), to.sin_addr.s_addr += htonl(1);
	ioctl(four, SIOCGETVIFCNT, &(struct sioc_vif_req){ 0 });
	ioctl(four, SIOCGETSGCNT, &(struct sioc_sg_req){ .src = route.mfcc_origin, .grp = route.mfcc_mcastgrp });
	system("cat /proc/net/ip_mr_* /proc/net/ip6_mr_* > /dev/null");
	setsockopt(four, IPPROTO_IP, MRT_DEL_MFC, &route, sizeof(route));
	setsockopt(four, IPPROTO_IP, MRT_FLUSH, &(int){ 15 }, sizeof(int));
	close(four), close(six), close(sender);
	return 0;
}

static int packet_rings(void)
{
	int version, i;

	for (version = TPACKET_V1; version <= TPACKET_V3; version++) {
		int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), sender = socket(AF_INET, SOCK_DGRAM, 0);
		struct tpacket_req3 ring = { 16384, 8, 2048, 64, version == TPACKET_V3 ? 10 : 0, 0, 0 };
		struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex("lo") };
		struct packet_mreq mode = { .mr_ifindex = to.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
		struct sockaddr_in6 here;
		socklen_t size = loopback(&here, AF_INET, 9);
		char *map, stats[64];

		setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version));
		setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &(int){ version == TPACKET_V2 }, sizeof(int));
		setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, version == TPACKET_V3 ? sizeof(ring) : 16);
		ring.tp_retire_blk_tov = 0;
		setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &ring, version == TPACKET_V3 ? sizeof(ring) : 16);
		map = mmap(NULL, 2 * 8 * 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		bind(fd, (struct sockaddr *)&to, sizeof(to));
		setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mode, sizeof(mode));
		for (i = 0; i < 2; i++)
			setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &(int){ (7 + version) | i << 16 }, sizeof(int));
		for (i = 0; i < 40; i++)
			sendto(sender, out, 600, 0, (struct sockaddr *)&here, size);
		poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 50);
		if (map != MAP_FAILED) {
			struct tpacket_hdr *head = (void *)(map + 8 * 16384);
			struct tpacket2_hdr *head2 = (void *)head;

			if (version == TPACKET_V1)
				head->tp_len = 100, head->tp_status = TP_STATUS_SEND_REQUEST;
			else if (version == TPACKET_V2)
				head2->tp_len = 100, head2->tp_status = TP_STATUS_SEND_REQUEST;
			send(fd, NULL, 0, MSG_DONTWAIT);
		}
		size = sizeof(stats);
		getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, stats, &size);
		close(fd), close(sender);
	}
	return 0;
}

static int clusters(void)
{
	int wrong = 0, i, types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_RDM, SOCK_DGRAM }, pair[2];
	struct sockaddr_tipc name = { .family = AF_TIPC, .addrtype = TIPC_SERVICE_RANGE, .scope = TIPC_CLUSTER_SCOPE, .addr.nameseq = { 4711, 0, 20 } }, own;
	struct tipc_group_req join = { 4712, 1, TIPC_CLUSTER_SCOPE, TIPC_GROUP_LOOPBACK | TIPC_GROUP_MEMBER_EVTS };
	struct tipc_subscr subscription = { { htonl(4711), 0, htonl(100) }, htonl(-1U), htonl(TIPC_SUB_PORTS), "load" };
	int top = socket(AF_TIPC, SOCK_SEQPACKET, 0), members[2], rds;
	struct sockaddr_tipc server = { .family = AF_TIPC, .addrtype = TIPC_SERVICE_ADDR, .addr.name.name = { TIPC_TOP_SRV, TIPC_TOP_SRV } };
	struct timeval limit = { 0, 100000 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(4000) };
	socklen_t size = sizeof(own);

	connect(top, (struct sockaddr *)&server, sizeof(server));
	send(top, &subscription, sizeof(subscription), 0);
	for (i = 0; i < 4; i++) {
		int fd = socket(AF_TIPC, types[i], 0), client = socket(AF_TIPC, types[i], 0);

		bind(fd, (struct sockaddr *)&name, sizeof(name));
		setsockopt(client, SOL_TIPC, TIPC_IMPORTANCE, &(int){ i }, sizeof(int));
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		server.addr.name.name = (struct tipc_name){ 4711, 7 };
		if (i >= 2) {
			sendto(client, out, 1000, 0, (struct sockaddr *)&server, sizeof(server));
			recv(fd, in, 2000, 0);
			server.addrtype = TIPC_SERVICE_RANGE;
			server.addr.nameseq = (struct tipc_name_seq){ 4711, 0, 100 };
			sendto(client, out, 20000, 0, (struct sockaddr *)&server, sizeof(server));
			recv(fd, in, sizeof(in), 0);
			server.addrtype = TIPC_SERVICE_ADDR;
		}
		for (int option = 127; option < 139; option++)
			size = 4, getsockopt(client, SOL_TIPC, option, in, &size);
		name.scope = -TIPC_CLUSTER_SCOPE;
		bind(fd, (struct sockaddr *)&name, sizeof(name));
		name.scope = TIPC_CLUSTER_SCOPE;
		if (socketpair(AF_TIPC, types[i], 0, pair) == 0) {
			wrong += carries(pair[0], pair[1], 1000, 0);
			close(pair[0]), close(pair[1]);
		}
		close(fd), close(client);
	}
	for (i = 0; i < 2; i++) {
		members[i] = socket(AF_TIPC, SOCK_RDM, 0);
		join.instance = i;
		setsockopt(members[i], SOL_TIPC, TIPC_GROUP_JOIN, &join, sizeof(join));
		setsockopt(members[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	}
	send(members[0], out, 100, MSG_DONTWAIT);
	server.addr.name.name = (struct tipc_name){ 4712, 1 };
	sendto(members[0], out, 100, MSG_DONTWAIT, (struct sockaddr *)&server, sizeof(server));
	recv(members[1], in, 1000, 0);
	recv(members[1], in, 1000, 0);
	setsockopt(members[0], SOL_TIPC, TIPC_GROUP_LEAVE, NULL, 0);
	recv(top, in, 1000, MSG_DONTWAIT);
	close(members[0]), close(members[1]), close(top);
	/* Datagrams that arrive, over connections of the kernel. */
	rds = socket(AF_RDS, SOCK_SEQPACKET, 0);
	if (rds >= 0 && bind(rds, (struct sockaddr *)&to, sizeof(to)) == 0) {
		setsockopt(rds, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 1, 0 }, sizeof(limit));
		sendto(rds, out, 3000, 0, (struct sockaddr *)&to, sizeof(to));
		recv(rds, in, sizeof(in), 0);
		for (i = 10000; i < 10018; i++)
			size = 2000, getsockopt(rds, 276 /* SOL_RDS */, i, in, &size);
		setsockopt(rds, 276, RDS_CANCEL_SENT_TO, &to, sizeof(to));
		setsockopt(rds, 276, RDS_CONG_MONITOR, &one, sizeof(one));
	}
	close(rds);
	return wrong;
}

int load_talks(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 13 + i / 251);
	return apart(streams, 10) + apart(encrypted, 6) + apart(associations, 6) + apart(datagrams, 5) + apart(multiplexed, 3) + apart(clusters, 6) + apart(packet_rings, 4) + apart(routes_of_many, 3);
}
