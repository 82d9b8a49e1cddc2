// SPDX-License-Identifier: Apache-2.0
/*
 * kernel_bytes < ADDRESSES: the eight bytes of kernel memory at each hexadecimal address, a line each,
 * as /proc/kcore has them.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SEGMENTS_MAX 512

int main(void)
{
	static Elf64_Phdr segments[SEGMENTS_MAX];
	int core = open("/proc/kcore", O_RDONLY), i;
	unsigned char bytes[8];
	unsigned long address;
	Elf64_Ehdr head;

	if (pread(core, &head, sizeof(head), 0) != sizeof(head) || head.e_phnum > SEGMENTS_MAX ||
	    pread(core, segments, head.e_phnum * sizeof(*segments), (off_t)head.e_phoff) <= 0) {
		perror("/proc/kcore");
		return 1;
	}
	while (scanf("%lx", &address) == 1) {
		int found = 0;

		for (i = 0; i < head.e_phnum && !found; i++) {
			unsigned long at = address - segments[i].p_vaddr;

			if (segments[i].p_type == PT_LOAD && address >= segments[i].p_vaddr && at + sizeof(bytes) <= segments[i].p_memsz)
				found = pread(core, bytes, sizeof(bytes), (off_t)(segments[i].p_offset + at)) == sizeof(bytes);
		}
		printf("%lx ", address);
		for (i = 0; i < (int)sizeof(bytes) && found; i++)
			printf("%02x", bytes[i]);
		printf("%s\n", found ? "" : "unreadable");
	}
	return 0;
}
