// SPDX-License-Identifier: Apache-2.0
/*
 * as UID GID[,GID] read|create|list|enter PATH: does it as that user and those groups (the first is the
 * effective one). Prints what it has read. Exit: the errno.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	gid_t groups[2] = { 0, 0 };
	char text[64];
	int count, fd;
	ssize_t got;

	if (argc != 5)
		return 200;
	count = sscanf(argv[2], "%u,%u", &groups[0], &groups[1]);
	if (count < 1 || setgroups(count, groups) || setgid(groups[0]) || setuid(atoi(argv[1])))
		return 201;
	if (!strcmp(argv[3], "enter"))
		return chdir(argv[4]) ? errno : 0;
	if (!strcmp(argv[3], "list"))
		return opendir(argv[4]) ? 0 : errno;
	fd = open(argv[4], !strcmp(argv[3], "create") ? O_CREAT | O_WRONLY : O_RDONLY, 0600);
	if (fd < 0)
		return errno;
	got = read(fd, text, sizeof(text));
	if (got > 0)
		fwrite(text, 1, got, stdout);
	return 0;
}
