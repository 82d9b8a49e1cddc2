// SPDX-License-Identifier: Apache-2.0
/*
 * kcare_call switch|preflight MODULE | unswitch [-t MS] [-f FREEZER] [-F]: one
 * ioctl, its answer in one line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kcare_ioctl.h"

int main(int argc, char **argv)
{
	static struct kcare_ioc_switch arg = { .size = sizeof(arg) };
	unsigned long command;
	int option, device, result;

	while ((option = getopt(argc, argv, "t:f:F")) != -1) {
		if (option == 't')
			arg.timeout_ms = atoi(optarg);
		else if (option == 'f')
			arg.freezer = atoi(optarg);
		else if (option == 'F')
			arg.flags |= KCARE_SWITCH_FORCE;
		else
			return 2;
	}
	if (optind >= argc)
		return 2;
	if (!strcmp(argv[optind], "switch"))
		command = KCARE_IOC_SWITCH;
	else if (!strcmp(argv[optind], "preflight"))
		command = KCARE_IOC_PREFLIGHT;
	else if (!strcmp(argv[optind], "unswitch"))
		command = KCARE_IOC_UNSWITCH;
	else
		return 2;
	if (optind + 1 < argc)
		strncpy(arg.module, argv[optind + 1], sizeof(arg.module) - 1);
	device = open(KCARE_DEVICE, O_RDWR);
	if (device < 0) {
		perror(KCARE_DEVICE);
		return 1;
	}
	result = ioctl(device, command, &arg) ? errno : 0;
	printf("%s: %s stop_ns=%llu attempts=%u functions=%u walked=%u%s%s\n", argv[optind],
	       result ? strerror(result) : "ok", (unsigned long long)arg.stop_ns, arg.attempts,
	       arg.functions, arg.tasks_walked, arg.reason[0] ? "\n" : "", arg.reason);
	return result ? 1 : 0;
}
