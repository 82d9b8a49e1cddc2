// SPDX-License-Identifier: Apache-2.0
/* A guest in the guest, where the processor can: some instructions of it, and its state read and written back. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load.h"

#define MEMORY (1 << 20)

/* Real mode at 0x1000: out, in, a byte to where no memory is, cpuid, rdmsr, wrmsr, rdtsc, hlt, again. */
static const unsigned char code[] = {
	0xba, 0xf8, 0x03, 0xb0, 'x', 0xee, 0xec, 0x31, 0xc0, 0x8e, 0xd8, 0xbb, 0x00, 0x00, 0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xc6, 0x07, 5, 0x8a, 0x07,
	0x66, 0x31, 0xc0, 0x0f, 0xa2, 0x66, 0xb9, 0x1b, 0, 0, 0, 0x0f, 0x32, 0x66, 0xb9, 0x10, 0, 0, 0, 0x0f, 0x32, 0x0f, 0x30, 0x0f, 0x31,
	0x0f, 0x01, 0xd9, /* a call of the hypervisor */ 0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0x0f, 0x23, 0xc0, 0x0f, 0x08, 0xf3, 0x90, 0xfb, 0xf4, 0xba, 0xf4, 0x00, 0xee, 0xf4,
};

static void state_of(int system, int machine, int cpu)
{
	static struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entries[200]; } ids = { { .nent = 200 }, { { 0 } } };
	static struct { struct kvm_msr_list head; uint32_t more[500]; } list = { { .nmsrs = 500 }, { 0 } };
	static struct { struct kvm_msrs head; struct kvm_msr_entry entries[500]; } msrs;
	static char space[16384];
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	static const unsigned long pairs[][2] = { { KVM_GET_REGS, KVM_SET_REGS }, { KVM_GET_SREGS, KVM_SET_SREGS }, { KVM_GET_FPU, KVM_SET_FPU }, { KVM_GET_LAPIC, KVM_SET_LAPIC }, { KVM_GET_XSAVE, KVM_SET_XSAVE },
		{ KVM_GET_XCRS, KVM_SET_XCRS }, { KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS }, { KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS }, { KVM_GET_MP_STATE, KVM_SET_MP_STATE }, { KVM_GET_SREGS2, KVM_SET_SREGS2 } };
	unsigned int i;

	ioctl(system, KVM_GET_SUPPORTED_CPUID, &ids);
	ioctl(cpu, KVM_SET_CPUID2, &ids);
	ioctl(system, KVM_GET_MSR_INDEX_LIST, &list);
	for (i = 0; i < list.head.nmsrs && i < 500; i++)
		msrs.entries[i].index = list.head.indices[i];
	msrs.head.nmsrs = i;
	ioctl(cpu, KVM_GET_MSRS, &msrs);
	ioctl(cpu, KVM_SET_MSRS, &msrs);
	for (i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		if (ioctl(cpu, pairs[i][0], space) >= 0)
			ioctl(cpu, pairs[i][1], space);
	for (i = 0; i < 3; i++) {
		chip.chip_id = i;
		if (ioctl(machine, KVM_GET_IRQCHIP, &chip) == 0)
			ioctl(machine, KVM_SET_IRQCHIP, &chip);
	}
	if (ioctl(machine, KVM_GET_PIT2, space) == 0)
		ioctl(machine, KVM_SET_PIT2, space);
	if (ioctl(machine, KVM_GET_CLOCK, space) == 0)
		ioctl(machine, KVM_SET_CLOCK, space);
	for (i = 0; i < 230; i++)
		ioctl(machine, KVM_CHECK_EXTENSION, i);
	ioctl(cpu, KVM_NMI, 0);
	ioctl(cpu, KVM_TRANSLATE, space);
	ioctl(cpu, KVM_GET_STATS_FD, 0);
	ioctl(cpu, KVM_SET_GUEST_DEBUG, &(struct kvm_guest_debug){ .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP });
}

static int machine_of(int with_chips)
{
	int system = open("/dev/kvm", O_RDWR), machine, cpu, event = eventfd(0, 0), rounds, size, wrong = 0;
	struct kvm_userspace_memory_region region = { .slot = 0, .flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = MEMORY / 2 };
	struct kvm_ioeventfd port = { .addr = 0xf4, .len = 1, .fd = event, .flags = KVM_IOEVENTFD_FLAG_PIO };
	struct kvm_irqfd line = { .fd = (unsigned int)eventfd(0, 0), .gsi = 5 };
	struct { struct kvm_irq_routing head; struct kvm_irq_routing_entry entries[2]; } routes = { { .nr = 2 }, { { .gsi = 5, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { 0, 5 } },
		{ .gsi = 24, .type = KVM_IRQ_ROUTING_MSI } } };
	static unsigned char dirty[MEMORY / 4096 / 8];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = dirty };
	struct kvm_sregs segments;
	struct kvm_regs registers = { .rip = 0x1000, .rsp = 0x800, .rflags = 2 };
	struct kvm_run *run;
	char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (system < 0)
		return 0;
	machine = ioctl(system, KVM_CREATE_VM, 0);
	if (machine < 0)
		return 0;
	region.userspace_addr = (unsigned long)memory;
	memcpy(memory + 0x1000, code, sizeof(code));
	ioctl(machine, KVM_SET_TSS_ADDR, 0xfffbd000);
	ioctl(machine, KVM_SET_IDENTITY_MAP_ADDR, &(uint64_t){ 0xfffbc000 });
	if (with_chips) {
		ioctl(machine, KVM_CREATE_IRQCHIP, 0);
		ioctl(machine, KVM_CREATE_PIT2, &(struct kvm_pit_config){ 0 });
		ioctl(machine, KVM_SET_GSI_ROUTING, &routes);
		ioctl(machine, KVM_IRQFD, &line);
	}
	ioctl(machine, KVM_IOEVENTFD, &port);
	ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region);
	cpu = ioctl(machine, KVM_CREATE_VCPU, 0);
	size = ioctl(system, KVM_GET_VCPU_MMAP_SIZE, 0);
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	if (cpu < 0 || run == MAP_FAILED)
		return 0;
	state_of(system, machine, cpu);
	ioctl(cpu, KVM_SET_GUEST_DEBUG, &(struct kvm_guest_debug){ 0 });
	ioctl(cpu, KVM_GET_SREGS, &segments);
	segments.cs.base = segments.cs.selector = 0;
	ioctl(cpu, KVM_SET_SREGS, &segments);
	ioctl(cpu, KVM_SET_REGS, &registers);
	for (rounds = 0; rounds < 40; rounds++) {
		if (ioctl(cpu, KVM_RUN, 0) < 0 || run->exit_reason == KVM_EXIT_HLT || run->exit_reason == KVM_EXIT_SHUTDOWN || run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
			break;
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT && run->io.port == 0x3f8)
			wrong += *((char *)run + run->io.data_offset) != 'x';
		if (with_chips && rounds == 3)
			eventfd_write((int)line.fd, 1), ioctl(machine, KVM_IRQ_LINE, &(struct kvm_irq_level){ { 4 }, 1 });
	}
	ioctl(machine, KVM_GET_DIRTY_LOG, &log);
	ioctl(machine, KVM_SIGNAL_MSI, &(struct kvm_msi){ .address_lo = 0xfee00000, .data = 0x30 });
	region.memory_size = 0;
	ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region);
	close(cpu), close(machine), close(system);
	return wrong;
}

static int plain(void) { return machine_of(0); }
static int whole(void) { return machine_of(1); }

int load_kvm(void)
{
	return apart(plain, 4) + apart(whole, 4);
}
