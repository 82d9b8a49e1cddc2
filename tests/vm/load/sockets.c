// SPDX-License-Identifier: Apache-2.0
/* Every family and protocol that loopback carries: connected, with options, messages, errors, ends. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/if_alg.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/tipc.h>
#include <linux/vm_sockets.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define CHUNK 60000
#define ROUNDS 20

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_vm vm;
	struct sockaddr_tipc tipc;
};

struct kind {
	int family, type, protocol;
	unsigned short port;
};

static char out[CHUNK], in[CHUNK];

static socklen_t address_of(const struct kind *kind, union address *to)
{
	memset(to, 0, sizeof(*to));
	to->any.sa_family = kind->family;
	switch (kind->family) {
	case AF_INET:
		to->in.sin_port = htons(kind->port);
		to->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(to->in);
	case AF_INET6:
		to->in6.sin6_port = htons(kind->port);
		to->in6.sin6_addr = in6addr_loopback;
		return sizeof(to->in6);
	case AF_UNIX:
		snprintf(to->un.sun_path + 1, 100, "load%d", kind->type);
		return offsetof(struct sockaddr_un, sun_path) + 10;
	case AF_VSOCK:
		to->vm.svm_port = kind->port;
		to->vm.svm_cid = VMADDR_CID_LOCAL;
		return sizeof(to->vm);
	case AF_TIPC:
		to->tipc.addrtype = TIPC_SERVICE_RANGE;
		to->tipc.scope = TIPC_NODE_SCOPE;
		to->tipc.addr.nameseq.type = kind->port;
		to->tipc.addr.nameseq.upper = 10;
		return sizeof(to->tipc);
	}
	return sizeof(to->any);
}

/* Whatever number means, it may be asked for and set to what it is. */
static void options_of(int socket)
{
	static const int levels[] = { SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, 132, 136, 269, 271, 281, 284, 286 };
	static char value[4096];
	struct ifreq request = { .ifr_name = "lo" };
	unsigned int i, option;

	for (i = 0; i < sizeof(levels) / sizeof(*levels); i++)
		for (option = 0; option < 60; option++) {
			socklen_t size = sizeof(value);

			if (levels[i] == IPPROTO_TCP && option == 19 /* TCP_REPAIR */)
				continue;
			memset(value, 0, 64);
			if (getsockopt(socket, levels[i], option, value, &size) == 0 && size <= 64)
				setsockopt(socket, levels[i], option, value, size);
		}
	ioctl(socket, SIOCGIFADDR, &request);
	ioctl(socket, SIOCGIFFLAGS, &request);
	ioctl(socket, FIONREAD, &i);
}

static void serve(int listening, int is_stream)
{
	int peer = is_stream ? accept4(listening, NULL, NULL, SOCK_CLOEXEC) : listening;
	struct pollfd ready = { .fd = peer, .events = POLLIN };
	union address from;
	int rounds;

	for (rounds = 0; rounds < 10000 && poll(&ready, 1, 2000) > 0; rounds++) {
		socklen_t size = sizeof(from);
		ssize_t got = recvfrom(peer, in, sizeof(in), 0, &from.any, &size);

		if (got <= 0)
			break;
		if (sendto(peer, in, got, MSG_NOSIGNAL, is_stream ? NULL : &from.any, is_stream ? 0 : size) < 0)
			break;
	}
	_exit(0);
}

static int echo(int socket, int is_stream, size_t bytes)
{
	struct pollfd ready = { .fd = socket, .events = POLLIN };
	struct iovec parts[2] = { { out, bytes / 2 }, { out + bytes / 2, bytes - bytes / 2 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	size_t have = 0;

	memset(in, 0, bytes);
	if (sendmsg(socket, &message, MSG_NOSIGNAL) != (ssize_t)bytes)
		return 0;
	while (have < bytes && poll(&ready, 1, 1000) > 0) {
		ssize_t got = recv(socket, in + have, bytes - have, 0);

		if (got <= 0)
			return 0;
		have += got;
		if (!is_stream)
			break;
	}
	return have == bytes && memcmp(in, out, bytes);
}

static int talk(const struct kind *kind)
{
	int is_stream = kind->type == SOCK_STREAM || kind->type == SOCK_SEQPACKET || kind->type == SOCK_DCCP;
	int server = socket(kind->family, kind->type, kind->protocol);
	int client = socket(kind->family, kind->type, kind->protocol), one = 1, wrong = 0, i;
	union address address;
	socklen_t size = address_of(kind, &address);
	pid_t child;

	if (server < 0 || client < 0)
		goto out;
	options_of(server);
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(client, IPPROTO_TCP, TCP_ULP, "tls", 4);
	if (bind(server, &address.any, size) || (is_stream && listen(server, 5)))
		goto out;
	child = fork();
	if (!child)
		serve(server, is_stream);
	if (kind->family == AF_TIPC) {
		address.tipc.addrtype = TIPC_SERVICE_ADDR;
		address.tipc.addr.name.name.type = kind->port;
		address.tipc.addr.name.name.instance = 1;
	}
	if (connect(client, &address.any, size) == 0) {
		if (kind->type != SOCK_STREAM)
			options_of(client);
		for (i = 0; i < ROUNDS; i++)
			wrong += echo(client, is_stream, kind->type == SOCK_STREAM ? (size_t)i * 3000 + 1 : (size_t)i * 60 + 1);
		if (kind->type == SOCK_STREAM) {
			options_of(client);
			send(client, "urgent", 6, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT);
		}
		shutdown(client, SHUT_WR);
	}
	close(client);
	client = -1;
	kill(child, 9);
	waitpid(child, NULL, 0);
out:
	close(server);
	close(client);
	return wrong;
}

static void pairs(void)
{
	int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET }, i, pair[2], got;
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { "x", 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	for (i = 0; i < 3; i++) {
		if (socketpair(AF_UNIX, types[i], 0, pair))
			continue;
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &pair[1], sizeof(int));
		sendmsg(pair[0], &message, 0);
		message.msg_iov->iov_base = in;
		recvmsg(pair[1], &message, 0);
		memcpy(&got, CMSG_DATA(head), sizeof(int));
		if (got > 2)
			close(got);
		/* One that is in flight to itself is left to the collector. */
		memcpy(CMSG_DATA(head), &pair[1], sizeof(int));
		sendmsg(pair[0], &message, 0);
		options_of(pair[0]);
		close(pair[0]);
		close(pair[1]);
	}
}

static void netlink_dumps(void)
{
	static const int types[] = { RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE, RTM_GETQDISC, RTM_GETTCLASS,
				     RTM_GETTFILTER, RTM_GETNEIGHTBL, RTM_GETNETCONF, RTM_GETMDB, RTM_GETNSID, RTM_GETSTATS, RTM_GETNEXTHOP,
				     RTM_GETADDRLABEL, RTM_GETDCB, RTM_GETACTION, RTM_GETMULTICAST, RTM_GETANYCAST, RTM_GETCHAIN, RTM_GETLINKPROP };
	struct { struct nlmsghdr head; struct rtgenmsg body; char more[64]; } request;
	unsigned int i, protocol;

	for (protocol = 0; protocol < 23; protocol++) {
		int socket_ = socket(AF_NETLINK, SOCK_RAW, protocol);
		struct timeval limit = { 0, 50000 };

		if (socket_ < 0)
			continue;
		options_of(socket_);
		setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		for (i = 0; i < sizeof(types) / sizeof(*types) && (protocol == NETLINK_ROUTE || i < 2); i++) {
			memset(&request, 0, sizeof(request));
			request.head.nlmsg_len = sizeof(request);
			request.head.nlmsg_type = types[i];
			request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
			send(socket_, &request, sizeof(request), 0);
			while (recv(socket_, in, sizeof(in), 0) > 0 && ((struct nlmsghdr *)in)->nlmsg_type != NLMSG_DONE &&
			       ((struct nlmsghdr *)in)->nlmsg_type != NLMSG_ERROR)
				;
		}
		close(socket_);
	}
}

static int cipher(const char *type, const char *name, unsigned int key_bytes)
{
	struct sockaddr_alg address = { .salg_family = AF_ALG };
	int listening = socket(AF_ALG, SOCK_SEQPACKET, 0), work, wrong = 0;
	char control[CMSG_SPACE(4) + CMSG_SPACE(20)] = { 0 };
	struct iovec part = { out, 256 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	int encrypt = ALG_OP_ENCRYPT, iv_size = 16;

	strcpy((char *)address.salg_type, type);
	strcpy((char *)address.salg_name, name);
	if (listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof(address)))
		goto out;
	if (key_bytes)
		setsockopt(listening, SOL_ALG, ALG_SET_KEY, out + 100, key_bytes);
	if (!strcmp(type, "aead"))
		setsockopt(listening, SOL_ALG, ALG_SET_AEAD_AUTHSIZE, NULL, 16);
	work = accept(listening, NULL, 0);
	if (work < 0)
		goto out;
	if (!strcmp(type, "hash")) {
		send(work, out, 1000, MSG_MORE);
		send(work, out, 1000, 0);
		recv(work, in, 64, 0);
		send(work, out, 1000, MSG_MORE);
		send(work, out, 1000, 0);
		recv(work, in + 64, 64, 0);
		wrong = !!memcmp(in, in + 64, 16);
	} else if (strcmp(type, "rng")) {
		head->cmsg_level = SOL_ALG;
		head->cmsg_type = ALG_SET_OP;
		head->cmsg_len = CMSG_LEN(4);
		memcpy(CMSG_DATA(head), &encrypt, 4);
		head = CMSG_NXTHDR(&message, head);
		head->cmsg_level = SOL_ALG;
		head->cmsg_type = ALG_SET_IV;
		head->cmsg_len = CMSG_LEN(20);
		memcpy(CMSG_DATA(head), &iv_size, 4);
		sendmsg(work, &message, 0);
		recv(work, in, 272, MSG_DONTWAIT);
	} else {
		recv(work, in, 32, 0);
	}
	close(work);
out:
	close(listening);
	return wrong;
}

static void packets(void)
{
	int raw = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), cooked = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
	struct tpacket_req ring = { 4096 * 4, 4, 2048, 32 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_halen = 6 };
	int one = 1, fanout = 7;

	to.sll_ifindex = (int)if_nametoindex("lo");
	bind(raw, (struct sockaddr *)&to, sizeof(to));
	options_of(raw);
	setsockopt(raw, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one));
	setsockopt(raw, SOL_PACKET, PACKET_FANOUT, &fanout, sizeof(fanout));
	sendto(cooked, "0123456789012345678901234567890123456789", 40, 0, (struct sockaddr *)&to, sizeof(to));
	recv(raw, in, sizeof(in), MSG_DONTWAIT);
	setsockopt(cooked, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring));
	close(raw);
	close(cooked);
}

int load_sockets(void)
{
	static const struct kind kinds[] = {
		{ AF_INET, SOCK_STREAM, 0, 7001 }, { AF_INET6, SOCK_STREAM, 0, 7002 },
		{ AF_INET, SOCK_DGRAM, 0, 7003 }, { AF_INET6, SOCK_DGRAM, 0, 7004 },
		{ AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE, 7005 }, { AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE, 7006 },
		{ AF_INET, SOCK_STREAM, IPPROTO_SCTP, 7007 }, { AF_INET6, SOCK_STREAM, IPPROTO_SCTP, 7008 },
		{ AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP, 7009 }, { AF_INET, SOCK_STREAM, IPPROTO_MPTCP, 7010 },
		{ AF_INET6, SOCK_STREAM, IPPROTO_MPTCP, 7011 }, { AF_INET, SOCK_DCCP, IPPROTO_DCCP, 7012 },
		{ AF_SMC, SOCK_STREAM, 0, 7013 }, { AF_VSOCK, SOCK_STREAM, 0, 7014 }, { AF_VSOCK, SOCK_SEQPACKET, 0, 7015 },
		{ AF_VSOCK, SOCK_DGRAM, 0, 7016 }, { AF_TIPC, SOCK_STREAM, 0, 7017 }, { AF_TIPC, SOCK_SEQPACKET, 0, 7018 },
		{ AF_TIPC, SOCK_RDM, 0, 7019 }, { AF_TIPC, SOCK_DGRAM, 0, 7020 },
		{ AF_UNIX, SOCK_STREAM, 0, 0 }, { AF_UNIX, SOCK_SEQPACKET, 0, 0 },
	};
	static const int families[] = { AF_RDS, AF_RXRPC, AF_KCM, AF_LLC, AF_KEY, AF_PPPOX, AF_CAN, AF_XDP, AF_QIPCRTR, AF_PHONET,
					AF_IEEE802154, AF_X25, AF_NFC, AF_MCTP, AF_BLUETOOTH, AF_APPLETALK };
	int wrong = 0, type;
	unsigned int i;

	for (i = 0; i < CHUNK; i++)
		out[i] = (char)(i * 11 + i / 250);
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		wrong += talk(&kinds[i]);
	for (i = 0; i < sizeof(families) / sizeof(*families); i++)
		for (type = 1; type <= 5; type++) {
			int one = socket(families[i], type, families[i] == AF_KEY ? 2 : 0);

			if (one < 0)
				continue;
			options_of(one);
			bind(one, (struct sockaddr *)&(struct sockaddr_in){ .sin_family = families[i] }, 16);
			close(one);
		}
	for (type = 1; type < 256; type += 1) {
		int raw = socket(AF_INET, SOCK_RAW, type), raw6 = socket(AF_INET6, SOCK_RAW, type);

		if (type < 3 || type == IPPROTO_ICMPV6) {
			options_of(raw);
			options_of(raw6);
		}
		close(raw);
		close(raw6);
	}
	pairs();
	packets();
	netlink_dumps();
	wrong += cipher("hash", "sha256", 0) + cipher("hash", "hmac(sha512)", 32) + cipher("hash", "crc32c", 4);
	cipher("skcipher", "cbc(aes)", 16);
	cipher("skcipher", "xts(aes)", 32);
	cipher("skcipher", "ctr(aes)", 16);
	cipher("aead", "gcm(aes)", 16);
	cipher("aead", "authenc(hmac(sha1),cbc(aes))", 44);
	cipher("rng", "stdrng", 0);
	return wrong;
}
