// SPDX-License-Identifier: Apache-2.0
/*
 * Devices for people's hands that only programs have: HID over uhid, for each loaded driver one of the
 * devices it knows by number, a touch screen and sensors; reports of every number come in, and what
 * drivers ask is answered. Then an input device over uinput, read and asked over evdev.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/hidraw.h>
#include <linux/input.h>
#include <linux/uhid.h>
#include <linux/uinput.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "load.h"

#define DEVICES_PER_DRIVER 2

static const unsigned char basic[] = {
	/* 1: keyboard, with lamps */
	0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x85, 1, 0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0, 0x25, 1, 0x75, 1, 0x95, 8, 0x81, 2,
	0x05, 0x08, 0x19, 1, 0x29, 5, 0x95, 8, 0x91, 2, 0x05, 0x07, 0x19, 0, 0x29, 0x65, 0x25, 0x65, 0x75, 8, 0x95, 6, 0x81, 0, 0xc0,
	/* 2: mouse with wheels that have a finer resolution */
	0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x85, 2, 0x09, 0x01, 0xa1, 0, 0x05, 0x09, 0x19, 1, 0x29, 8, 0x15, 0, 0x25, 1, 0x75, 1, 0x95, 8, 0x81, 2,
	0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x75, 8, 0x95, 3, 0x81, 6,
	0xa1, 2, 0x09, 0x48, 0x15, 0, 0x25, 1, 0x35, 1, 0x45, 4, 0x75, 8, 0x95, 1, 0xb1, 2, 0xc0, 0xc0, 0xc0,
	/* 3: keys of a media player, 4: game pad with a hat and force, 5: battery and power */
	0x05, 0x0c, 0x09, 0x01, 0xa1, 0x01, 0x85, 3, 0x15, 0, 0x26, 0xff, 3, 0x19, 0, 0x2a, 0xff, 3, 0x75, 16, 0x95, 2, 0x81, 0, 0xc0,
	0x05, 0x01, 0x09, 0x05, 0xa1, 0x01, 0x85, 4, 0x09, 0x30, 0x09, 0x31, 0x09, 0x32, 0x09, 0x35, 0x15, 0, 0x26, 0xff, 0, 0x75, 8, 0x95, 4, 0x81, 2,
	0x09, 0x39, 0x15, 0, 0x25, 7, 0x95, 1, 0x81, 0x42, 0x05, 0x09, 0x19, 1, 0x29, 16, 0x25, 1, 0x75, 1, 0x95, 16, 0x81, 2,
	0x06, 0, 0xff, 0x09, 1, 0x26, 0xff, 0, 0x75, 8, 0x95, 7, 0x91, 2, 0xc0,
	0x05, 0x01, 0x09, 0x80, 0xa1, 0x01, 0x85, 5, 0x19, 0x81, 0x29, 0x83, 0x15, 0, 0x25, 1, 0x75, 1, 0x95, 8, 0x81, 2,
	0x05, 0x06, 0x09, 0x20, 0x26, 100, 0, 0x75, 8, 0x95, 1, 0x81, 2, 0x09, 0x20, 0xb1, 2, 0xc0,
	/* 6 and 7: the vendor's own, long ones, in all directions */
	0x06, 0, 0xff, 0x09, 1, 0xa1, 0x01, 0x85, 6, 0x15, 0, 0x26, 0xff, 0, 0x75, 8, 0x95, 63, 0x09, 1, 0x81, 2, 0x09, 2, 0x91, 2, 0x09, 3, 0xb1, 2,
	0x85, 7, 0x95, 31, 0x09, 4, 0x81, 2, 0x09, 5, 0x91, 2, 0x09, 6, 0xb1, 2, 0xc0,
};
static const unsigned char touch[] = {
	0x05, 0x0d, 0x09, 0x04, 0xa1, 0x01, 0x85, 1,
#define FINGER 0x09, 0x22, 0xa1, 2, 0x09, 0x42, 0x09, 0x32, 0x09, 0x47, 0x15, 0, 0x25, 1, 0x75, 1, 0x95, 3, 0x81, 2, 0x95, 5, 0x81, 3, 0x09, 0x51, 0x25, 15, 0x75, 8, 0x95, 1, 0x81, 2, \
	0x05, 0x01, 0x26, 0xff, 0x0f, 0x75, 16, 0x09, 0x30, 0x81, 2, 0x09, 0x31, 0x81, 2, 0x05, 0x0d, 0x09, 0x48, 0x81, 2, 0x09, 0x49, 0x81, 2, 0xc0
	FINGER, FINGER,
	0x09, 0x56, 0x27, 0xff, 0xff, 0, 0, 0x75, 16, 0x95, 1, 0x81, 2, 0x09, 0x54, 0x25, 10, 0x75, 8, 0x81, 2, 0x09, 0x55, 0x85, 2, 0xb1, 2,
	0x06, 0, 0xff, 0x09, 0xc5, 0x85, 3, 0x15, 0, 0x26, 0xff, 0, 0x75, 8, 0x96, 0, 1, 0xb1, 2, 0xc0,
	0x05, 0x0d, 0x09, 0x0e, 0xa1, 0x01, 0x85, 4, 0x09, 0x22, 0xa1, 2, 0x09, 0x52, 0x25, 10, 0x75, 8, 0x95, 1, 0xb1, 2, 0xc0,
	0x09, 0x22, 0xa1, 0, 0x85, 5, 0x09, 0x57, 0x09, 0x58, 0x25, 1, 0x75, 1, 0x95, 2, 0xb1, 2, 0x95, 6, 0xb1, 3, 0xc0, 0xc0,
};
static const unsigned char sensors[] = {
	0x05, 0x20, 0x09, 0x01, 0xa1, 0x01,
	/* an acceleration and one of a kind of its own */
	0x09, 0x73, 0xa1, 0, 0x85, 1, 0x05, 0x20, 0x0a, 0x16, 3, 0x15, 0, 0x25, 5, 0x75, 8, 0x95, 1, 0xa1, 2, 0x0a, 0x40, 8, 0x0a, 0x41, 8, 0xb1, 0, 0xc0,
	0x0a, 0x0e, 3, 0x27, 0xff, 0xff, 0xff, 0x7f, 0x75, 32, 0xb1, 2, 0x0a, 0x01, 2, 0x25, 6, 0x75, 8, 0x81, 2, 0x0a, 0x53, 4, 0x16, 1, 0x80, 0x26, 0xff, 0x7f, 0x75, 16, 0x81, 2, 0x0a, 0x54, 4, 0x81, 2, 0xc0,
	0x09, 0xe1, 0xa1, 0, 0x85, 2, 0x0a, 0x0e, 3, 0x15, 0, 0x27, 0xff, 0xff, 0xff, 0x7f, 0x75, 32, 0x95, 1, 0xb1, 2, 0x0a, 0x44, 5, 0x26, 0xff, 0, 0x75, 8, 0x81, 2, 0x0a, 0x45, 5, 0x95, 4, 0x81, 2, 0xc0,
	0xc0,
};

static void answer(int device, const struct uhid_event *asked)
{
	struct uhid_event event = { 0 };

	if (asked->type == UHID_GET_REPORT) {
		event.type = UHID_GET_REPORT_REPLY;
		event.u.get_report_reply.id = asked->u.get_report.id;
		event.u.get_report_reply.size = 64;
		event.u.get_report_reply.data[0] = asked->u.get_report.rnum;
		memset(event.u.get_report_reply.data + 1, 5, 63);
		write(device, &event, sizeof(event));
	} else if (asked->type == UHID_SET_REPORT) {
		event.type = UHID_SET_REPORT_REPLY;
		event.u.set_report_reply.id = asked->u.set_report.id;
		write(device, &event, sizeof(event));
	}
}

static void answer_for(int device, int ms)
{
	struct pollfd ready = { .fd = device, .events = POLLIN };
	struct uhid_event event;
	int rounds;

	for (rounds = 0; rounds < 200 && poll(&ready, 1, ms) > 0; rounds++)
		if (read(device, &event, sizeof(event)) > 0)
			answer(device, &event);
}

/* Of the files that a device brought: asked for everything, kept open while reports come. */
static int open_all(const char *directory, const char *prefix, int *files, int n)
{
	DIR *list = opendir(directory);
	struct dirent *entry;
	char path[300];

	while (list && n < 16 && (entry = readdir(list))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		files[n] = open(path, O_RDWR | O_NONBLOCK);
		if (files[n] >= 0)
			n++;
	}
	if (list)
		closedir(list);
	return n;
}

static void ask_event_device(int fd)
{
	static char text[1024];
	struct input_event event = { .type = EV_LED, .code = LED_CAPSL, .value = 1 };
	struct ff_effect effect = { .type = FF_RUMBLE, .id = -1, .u.rumble = { 0x8000, 0x4000 }, .replay = { 100, 0 } };
	unsigned int i;

	for (i = 1; i < 0x40; i++) {
		ioctl(fd, _IOC(_IOC_READ, 'E', i, 256), text);
		ioctl(fd, EVIOCGABS(i), text);
	}
	ioctl(fd, EVIOCSREP, ((unsigned int[]){ 300, 40 }));
	ioctl(fd, EVIOCSMASK, &(struct input_mask){ EV_KEY, 8, (unsigned long)text });
	if (ioctl(fd, EVIOCSFF, &effect) == 0) {
		struct input_event play = { .type = EV_FF, .code = effect.id, .value = 1 };

		write(fd, &play, sizeof(play));
		ioctl(fd, EVIOCRMFF, effect.id);
	}
	write(fd, &event, sizeof(event));
	ioctl(fd, EVIOCGRAB, 1);
	ioctl(fd, EVIOCGRAB, 0);
}

static int uhid_device(const char *name, unsigned int bus, unsigned int vendor, unsigned int product, const unsigned char *descriptor, size_t size)
{
	struct uhid_event event = { .type = UHID_CREATE2 };
	int device = open("/dev/uhid", O_RDWR | O_CLOEXEC), files[16], n, i;
	unsigned char report[64] = { 0 };
	unsigned int number, round;
	pid_t child;

	if (device < 0)
		return -1;
	snprintf((char *)event.u.create2.name, sizeof(event.u.create2.name), "load %s", name);
	snprintf((char *)event.u.create2.uniq, sizeof(event.u.create2.uniq), "00:11:22:33:44:%02x", product & 255);
	memcpy(event.u.create2.rd_data, descriptor, size);
	event.u.create2.rd_size = size;
	event.u.create2.bus = bus;
	event.u.create2.vendor = vendor;
	event.u.create2.product = product;
	if (write(device, &event, sizeof(event)) < 0) {
		close(device);
		return -1;
	}
	answer_for(device, 120);
	child = fork();
	if (child == 0) {
		/* Asks, while the parent answers. */
		alarm(2);
		n = open_all("/dev/input", "event", files, 0);
		for (i = 0; i < n; i++)
			ask_event_device(files[i]);
		n = open_all("/dev", "hidraw", files, 0);
		for (i = 0; i < n; i++) {
			int length = 0;
			struct hidraw_report_descriptor described;

			ioctl(files[i], HIDIOCGRDESCSIZE, &length);
			described.size = length;
			ioctl(files[i], HIDIOCGRDESC, &described);
			ioctl(files[i], HIDIOCGRAWNAME(64), report);
			report[0] = 6;
			ioctl(files[i], HIDIOCSFEATURE(64), report);
			ioctl(files[i], HIDIOCGFEATURE(64), report);
			write(files[i], report, 64);
			read(files[i], report, 64);
		}
		system("for file in /sys/bus/hid/devices/*/* /sys/bus/hid/devices/*/leds/*/brightness /sys/kernel/debug/hid/*/rdesc /sys/class/power_supply/hid*/*; do [ ! -f $file ] || head -c 300 $file; done > /dev/null 2>&1");
		_exit(0);
	}
	answer_for(device, 150);
	n = open_all("/dev/input", "", files, 0);
	for (round = 0; round < 6; round++)
		for (number = 1; number <= 8; number++) {
			memset(&event, 0, sizeof(event));
			event.type = UHID_INPUT2;
			event.u.input2.size = number >= 6 ? 64 : size == sizeof(touch) ? 24 : 9;
			for (i = 1; i < 64; i++)
				event.u.input2.data[i] = size == sizeof(touch) && round < 5 ? (unsigned char)(i % 10 == 1 ? 7 : i % 10 + round) : (unsigned char)(i * round);
			event.u.input2.data[0] = number;
			write(device, &event, sizeof(event));
		}
	answer_for(device, 50);
	for (i = 0; i < n; i++) {
		read(files[i], &event, sizeof(event));
		close(files[i]);
	}
	event.type = UHID_DESTROY;
	write(device, &event, sizeof(event));
	close(device);
	return 0;
}

/* "alias hid:b0003g*v0000054Cp00000CE6 hid_playstation" of modules that are loaded. */
static int of_drivers(void)
{
	static char loaded[65536];
	char path[300], line[300], module[100], last[100] = "", search[104];
	unsigned int bus, vendor, product, same = 0;
	struct utsname name;
	FILE *aliases;
	int file = open("/proc/modules", O_RDONLY), length = 0, got;

	while ((got = (int)read(file, loaded + 1 + length, sizeof(loaded) - 2 - length)) > 0)
		length += got;
	close(file);
	loaded[0] = '\n';
	uname(&name);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.alias", name.release);
	aliases = fopen(path, "r");
	while (aliases && fgets(line, sizeof(line), aliases)) {
		char *of = strstr(line, "hid:b"), *at = of ? strchr(of, 'v') : NULL;

		if (!at || sscanf(of, "hid:b%4x", &bus) != 1 || sscanf(at, "v%8xp%8x %99s", &vendor, &product, module) != 3)
			continue;
		snprintf(search, sizeof(search), "\n%s ", module);
		same = strcmp(module, last) ? 0 : same + 1;
		strcpy(last, module);
		if (same < DEVICES_PER_DRIVER && strstr(loaded, search))
			uhid_device(module, bus, vendor, product, basic, sizeof(basic));
	}
	if (aliases)
		fclose(aliases);
	return 0;
}

static int of_kinds(void)
{
	uhid_device("touch", BUS_USB, 0x0eef, 0x7224, touch, sizeof(touch));
	uhid_device("touch", BUS_I2C, 0x1234, 0x5678, touch, sizeof(touch));
	uhid_device("sensors", BUS_USB, 0x8086, 0x22d8, sensors, sizeof(sensors));
	uhid_device("basic", BUS_USB, 0x1234, 0x0001, basic, sizeof(basic));
	uhid_device("basic", BUS_BLUETOOTH, 0x1234, 0x0002, basic, sizeof(basic));
	uhid_device("broken", BUS_USB, 0x1234, 0x0003, basic, sizeof(basic) - 7);
	return 0;
}

static int input_device(void)
{
	struct uinput_user_dev device = { .name = "load", .id = { BUS_USB, 1, 2, 3 }, .ff_effects_max = 4 };
	struct input_event event;
	int fd = open("/dev/uinput", O_RDWR | O_NONBLOCK), files[16], n, i, wrong = 0, keys = 0;

	if (fd < 0)
		return 0;
	for (i = 1; i < 0x16; i++)
		ioctl(fd, UI_SET_EVBIT, i);
	for (i = 1; i < 600; i++)
		ioctl(fd, UI_SET_KEYBIT, i);
	for (i = 0; i < 16; i++)
		ioctl(fd, UI_SET_RELBIT, i), ioctl(fd, UI_SET_MSCBIT, i), ioctl(fd, UI_SET_LEDBIT, i), ioctl(fd, UI_SET_SWBIT, i);
	for (i = 0; i < 0x3e; i++) {
		if (i == 0x28)
			continue;
		ioctl(fd, UI_SET_ABSBIT, i);
		device.absmax[i] = i == ABS_MT_SLOT ? 9 : 1000;
	}
	ioctl(fd, UI_SET_FFBIT, FF_RUMBLE);
	ioctl(fd, UI_SET_PROPBIT, INPUT_PROP_DIRECT);
	write(fd, &device, sizeof(device));
	if (ioctl(fd, UI_DEV_CREATE))
		return 0;
	usleep(100000);
	n = open_all("/dev/input", "", files, 0);
	for (i = 0; i < n; i++)
		ask_event_device(files[i]);
	for (i = 0; i < 60; i++) {
		static const unsigned short codes[][2] = { { EV_KEY, KEY_A }, { EV_REL, REL_X }, { EV_ABS, ABS_MT_SLOT }, { EV_ABS, ABS_MT_TRACKING_ID }, { EV_ABS, ABS_MT_POSITION_X }, { EV_MSC, MSC_SCAN } };

		event = (struct input_event){ .type = codes[i % 6][0], .code = codes[i % 6][1], .value = i % 6 ? i : i / 6 % 2 };
		write(fd, &event, sizeof(event));
		event = (struct input_event){ .type = EV_SYN };
		write(fd, &event, sizeof(event));
	}
	for (i = 0; i < n; i++) {
		while (read(files[i], &event, sizeof(event)) == sizeof(event))
			keys += event.type == EV_KEY && event.code == KEY_A;
		close(files[i]);
	}
	ioctl(fd, UI_DEV_DESTROY);
	close(fd);
	return wrong;
}

int load_hid(void)
{
	return apart(of_kinds, 15) + apart(input_device, 5) + apart(of_drivers, 20);
}
